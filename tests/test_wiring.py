"""When a scheduled pass over many builds compares all of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from avscan.wiring import is_full_turn


@pytest.mark.parametrize(
    ("minute", "chance", "full"),
    [
        (0, 0.99, True),
        (35, 0.99, True),
        (7, 0.99, False),
        (7, 0.2, False),
        (7, 0.19, True),
    ],
)
def test_all_builds_are_compared_each_fifth_minute_and_by_chance(
    minute: int, chance: float, *, full: bool
) -> None:
    now = datetime(2025, 5, 1, 12, minute, tzinfo=UTC)
    assert is_full_turn(now, lambda: chance) is full
