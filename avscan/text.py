"""Texts for people and machines: what may be shown, and how a moment is written. A leaf."""

from __future__ import annotations

from datetime import UTC, datetime


def printable(text: str) -> str:
    """Escape what a terminal or a log would obey or hide: control characters, marks of direction."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def rfc3339(moment: datetime) -> str:
    """Write a moment as RFC 3339 has it, in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
