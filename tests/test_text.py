"""Escaping of text, and the format of times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avscan.text import printable, rfc3339


@given(text=st.text(max_size=60))
def test_every_text_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("game.exe", "game.exe"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\rc\x07", "a\\nb\\rc\\x07"),
        ("exe.\u202etxt", "exe.\\u202etxt"),
        ("игра", "игра"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 5, 1, 12, tzinfo=UTC), "2026-05-01T12:00:00.000Z"),
        (datetime(2026, 5, 1, 12, 0, 0, 999_999, tzinfo=UTC), "2026-05-01T12:00:00.999Z"),
        (
            datetime(2026, 5, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            "2026-04-30T23:00:00.000Z",
        ),
    ],
)
def test_a_time_is_formatted_in_utc(moment: datetime, written: str) -> None:
    assert rfc3339(moment) == written
