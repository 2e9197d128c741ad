"""Terminal output: width, colours, tables and human-readable units."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import TextIO

from avscan.records import Status
from avscan.text import printable

RED, GREEN, YELLOW, DIM, BOLD = "31", "32", "33", "2", "1"
COLOURS: Mapping[Status | None, tuple[str, ...]] = {
    None: (),
    Status.PENDING: (DIM,),
    Status.SCANNING: (DIM,),
    Status.CLEAN: (GREEN,),
    Status.INFECTED: (RED, BOLD),
    Status.ERROR: (YELLOW,),
}
_MIN_COLUMNS, _DEFAULT_COLUMNS = 40, 80
_UNLIMITED = 10_000
# Each unit of a duration in seconds, and the unit below it.
_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


class Style:
    """Adds colour codes to text, if colours are enabled."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, *codes: str) -> str:
        """Return the text in these colours."""
        if not (self._colour and codes):
            return text
        return f"\033[{';'.join(codes)}m{text}\033[0m"


def style_for(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Style:
    """Return a style with colours if `stream` is a terminal and `NO_COLOR` is empty (no-color.org)."""
    wanted = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return Style(colour=wanted and stream.isatty())


def columns(stream: TextIO) -> int:
    """Return the width of a terminal; for a pipe or a file, so many that nothing is cut."""
    if not stream.isatty():
        return _UNLIMITED
    # `shutil.get_terminal_size` would ask standard output, whatever the stream.
    found = os.get_terminal_size(stream.fileno()).columns or _DEFAULT_COLUMNS  # a serial line: 0
    return max(_MIN_COLUMNS, found)


def width(text: str) -> int:
    """Return the number of columns of a printable text."""
    return sum(map(_width, text))


def cut(text: str, max_width: int) -> str:
    """Cut a text to at most `max_width` columns, with an ellipsis at the end."""
    text = printable(text)
    if width(text) <= max_width:
        return text
    kept, used = "", 0
    for character in text:
        used += _width(character)
        if used > max_width - 1:
            break
        kept += character
    return kept + "…"


def padded(text: str, target_width: int) -> str:
    """Cut or pad a text to exactly `target_width` columns."""
    text = cut(text, target_width)
    return text + " " * (target_width - width(text))


def format_table(
    rows: Sequence[Sequence[str]], max_width: int, *, whole: Collection[int] = (), gap: int = 2
) -> list[str]:
    """Format rows as lines of at most `max_width` columns.

    The widest columns are cut first. Those whose index is in `whole` are never cut.
    """
    widths = [max(width(printable(cell)) for cell in column) for column in zip(*rows, strict=True)]
    spare = max_width - gap * (len(widths) - 1)
    cuttable = [index for index in range(len(widths)) if index not in whole]
    while sum(widths) > spare and any(widths[index] > 1 for index in cuttable):
        widths[max(cuttable, key=widths.__getitem__)] -= 1
    lines = ((padded(cell, most) for cell, most in zip(row, widths, strict=True)) for row in rows)
    return [(" " * gap).join(line).rstrip() for line in lines]


def format_duration(seconds: float) -> str:
    """Format a duration with at most two units: `3 min 20 s`."""
    whole = int(seconds)
    if 0 < seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    for size, unit, part, below in _UNITS:
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def format_size(number: float) -> str:
    """Format a number of bytes: `1.5 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
