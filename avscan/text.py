"""Text formatting: escaping and times. This module imports nothing from avscan."""

from __future__ import annotations

from datetime import UTC, datetime


def printable(text: str) -> str:
    """Escape all non-printable characters, such as control characters and direction marks."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def rfc3339(moment: datetime) -> str:
    """Format a time by RFC 3339, in UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
