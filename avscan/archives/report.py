"""What the walk reports of an artifact, in lines that name the place."""

from __future__ import annotations

from collections.abc import Callable

from avscan.archives.lines import describe, shown
from avscan.findings import Finding, Findings, Kind

Place = tuple[str, ...]
"""The names of the archives around a member, and its own; empty for the artifact itself."""


class Reporter:
    """Reports findings on one artifact as they are made."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self._tell = tell

    def found(self, findings: Findings, place: Place) -> None:
        """Report what the engine found of a file, as far as that needs no further thought."""
        for signature in findings.signatures:
            self._tell(Finding(kind=Kind.SIGNATURE, text=signature, member=shown(place)))
        for error in findings.errors:
            self._tell(Finding(kind=Kind.ERROR, text=describe(place, error)))

    def limits(self, findings: Findings, place: Place) -> None:
        """Report the engine's limits that were hit."""
        for limit in findings.limits:
            self.incomplete(f"clamscan's limit {limit}", place)

    def incomplete(self, why: str, place: Place) -> None:
        """Report that the artifact can't be scanned whole."""
        self._tell(
            Finding(kind=Kind.ERROR, text=describe(place, f"cannot be scanned whole: {why}"))
        )

    def oversize(self, size: int, place: Place) -> None:
        """Report content that was scanned in windows."""
        self._tell(Finding(kind=Kind.OVERSIZE, text=describe(place, f"{size} bytes")))

    def note(self, what: str, place: Place) -> None:
        """Report content that could not be inspected."""
        name, what = shown(place), shown((what,))
        self._tell(Finding(kind=Kind.OPAQUE, text=f"{what}: {name}" if name else what))
