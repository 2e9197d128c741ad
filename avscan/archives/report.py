"""Findings on one artifact, as lines that name the member's place and are short enough for a log."""

from __future__ import annotations

from collections.abc import Callable

from avscan.findings import Finding, Findings, Kind
from avscan.text import printable

NAME = 120
"""Characters of a member's path that a line shows: its end."""

Place = tuple[str, ...]
"""The names of the archives around a member, and its own; empty for the artifact itself."""


class Reporter:
    """Reports findings on one artifact as they are made."""

    def __init__(self, report: Callable[[Finding], None]) -> None:
        self._report = report

    def found(self, findings: Findings, place: Place) -> None:
        """Report the signatures and the errors of a scan."""
        for signature in findings.signatures:
            self._report(Finding(kind=Kind.SIGNATURE, text=signature, member=shown(place)))
        for error in findings.errors:
            self._report(Finding(kind=Kind.ERROR, text=_describe(place, error)))

    def limits(self, findings: Findings, place: Place) -> None:
        """Report the limits of clamscan that were exceeded."""
        for limit in findings.limits:
            self.incomplete(f"clamscan's limit {limit}", place)

    def incomplete(self, reason: str, place: Place) -> None:
        """Report that the artifact cannot be scanned whole."""
        text = _describe(place, f"cannot be scanned whole: {reason}")
        self._report(Finding(kind=Kind.ERROR, text=text))

    def oversize(self, size: int, place: Place) -> None:
        """Report content that was scanned in windows; `size` is in bytes."""
        self._report(Finding(kind=Kind.OVERSIZE, text=_describe(place, f"{size} bytes")))

    def opaque(self, reason: str, place: Place) -> None:
        """Report content that could not be inspected."""
        name, reason = shown(place), shown((reason,))
        self._report(Finding(kind=Kind.OPAQUE, text=f"{reason}: {name}" if name else reason))


def shown(place: Place) -> str:
    """Return a member's place as `outer.zip/inner.tar.gz/file.exe`, or its end if it is long."""
    path = "/".join(part for part in place if part)
    tail = path[-NAME:]  # escaping makes it longer, never shorter
    text = printable(tail)
    return text if len(path) == len(tail) and len(text) <= NAME else "…" + text[1 - NAME :]


def _describe(place: Place, text: str) -> str:
    """Return a line about a member, or about the artifact itself."""
    name, text = shown(place), shown((text,))
    return f"{name}: {text}" if name else text
