"""Terminal output: width, tables, units and colours."""

from __future__ import annotations

import io
import os
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avscan.ops.terminal import (
    RED,
    Style,
    columns,
    cut,
    format_duration,
    format_size,
    format_table,
    padded,
    style_for,
    width,
)

names = st.text(max_size=60)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "max_width", "shown"),
    [
        ("game.exe", 8, "game.exe"),
        ("game.exe", 7, "game.e…"),
        ("ゲーム.exe", 10, "ゲーム.exe"),
        ("ゲーム.exe", 6, "ゲー…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
    ],
)
def test_a_long_text_ends_with_an_ellipsis(text: str, max_width: int, shown: str) -> None:
    assert cut(text, max_width) == shown


@pytest.mark.parametrize(("size", "found"), [(60, 60), (20, 40), (0, 80)])
def test_the_width_is_that_of_the_streams_own_terminal(size: int, found: int) -> None:
    """Standard output may be another terminal, or none."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, size))
    with open(ours, "rb"), open(theirs, "w") as stream:  # noqa: PTH123 - descriptors
        assert columns(stream) == found


@given(text=names, max_width=st.integers(1, 50))
def test_cut_and_padded_text_fits_its_width(text: str, max_width: int) -> None:
    assert width(cut(text, max_width)) <= max_width
    assert width(padded(text, max_width)) == max_width


@given(
    rows=st.lists(st.tuples(names, names, names), min_size=1, max_size=5),
    max_width=st.integers(20, 99),
)
def test_a_table_fits_its_width(rows: list[tuple[str, str, str]], max_width: int) -> None:
    assert all(width(line) <= max_width for line in format_table(rows, max_width))


def test_the_widest_column_of_a_table_is_cut() -> None:
    assert format_table([("a", "b" * 30), ("long", "c")], 20) == ["a     bbbbbbbbbbbbb…", "long  c"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (86_400 * 2 + 4 * 3600, "2 d 4 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (1 << 30, "1.1 GB"), (5e12, "5.0 TB")],
)
def test_a_size_has_one_unit(number: float, text: str) -> None:
    assert format_size(number) == text


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_has_colours_unless_the_environment_disables_them(
    environment: dict[str, str], *, coloured: bool
) -> None:
    assert ("\033" in style_for(Screen(), environment)("x", RED)) is coloured


def test_a_pipe_has_no_colours() -> None:
    assert style_for(io.StringIO(), {})("x", RED) == "x"
    assert Style(colour=True)("x") == "x"
