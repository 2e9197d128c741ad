"""Lines for a log out of what archives say: printable, and not too many of them."""

from __future__ import annotations

from collections.abc import Sequence

from avscan.text import printable

NAME = 120  # characters of a member's path that a line shows: its end


def shown(place: Sequence[str]) -> str:
    """Return a member's place as `outer.zip/inner.tar.gz/file.exe`, its end if it is long."""
    path = "/".join(part for part in place if part)
    tail = path[-NAME:]  # escaping makes it longer, never shorter
    text = printable(tail)
    return text if len(path) == len(tail) and len(text) <= NAME else "…" + text[1 - NAME :]


def describe(place: Sequence[str], what: str) -> str:
    """Return a line about a member, or about the artifact itself."""
    name, what = shown(place), shown((what,))
    return f"{name}: {what}" if name else what
