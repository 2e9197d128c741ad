"""When a scheduled pass over many builds compares all of them, and what would spare the server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from support.backend import Backend

from avscan.passes import is_full_turn, is_indexed

START = datetime(2025, 5, 1, 3, 7, 12, tzinfo=UTC)


def full_turns(step: timedelta, passes: int) -> list[int]:
    return [number for number in range(passes) if is_full_turn(START + step * number)]


def test_passes_of_each_minute_compare_all_builds_within_six_of_them() -> None:
    turns = full_turns(timedelta(minutes=1), 1000)
    assert len(turns) == 200
    assert max(later - earlier for earlier, later in pairwise(turns)) == 6


@pytest.mark.parametrize("minutes", [2, 3, 5, 7, 10, 15, 20, 30, 60, 120, 360, 720, 1440, 10080])
def test_one_pass_of_five_compares_all_builds_on_any_schedule(minutes: int) -> None:
    assert len(full_turns(timedelta(minutes=minutes), 100)) == 20


@pytest.mark.parametrize("minutes", [5, 10, 15, 30, 60, 1440])
@pytest.mark.parametrize("offset", range(5))
def test_no_minute_of_the_hour_keeps_a_schedule_from_comparing_all_builds(
    minutes: int, offset: int
) -> None:
    begin = START + timedelta(minutes=offset)
    assert any(is_full_turn(begin + timedelta(minutes=minutes) * number) for number in range(5))


def test_indexes_that_init_would_add_are_named_once_in_a_warning(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    client = backend.client()
    assert not is_indexed(client)
    (warning,) = caplog.records
    assert (warning.levelname, warning.msg) == ("WARNING", "index.missing")
    assert vars(warning)["columns"] == ["build", "status"]

    backend.init()
    caplog.clear()
    assert is_indexed(client)
    assert not caplog.records
