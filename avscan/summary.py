"""The counters of a pass."""

from __future__ import annotations

from dataclasses import dataclass

from avscan.records import Status
from avscan.verdict import Verdict


@dataclass(slots=True, kw_only=True)
class Summary:
    """The counters of a pass. `bytes` were scanned; `seconds` is the duration, `requests` went to PocketBase."""

    discovered: int = 0
    reopened: int = 0
    reclaimed: int = 0
    removed: int = 0
    renewed: int = 0
    scanned: int = 0
    clean: int = 0
    infected: int = 0
    errors: int = 0
    files: int = 0
    bytes: int = 0
    failed: int = 0
    signatures: str | None = None
    seconds: float = 0.0
    requests: int = 0

    @property
    def idle(self) -> bool:
        """Whether the pass had nothing to do."""
        opened = self.discovered or self.reopened or self.reclaimed
        return not (opened or self.removed or self.scanned or self.failed)

    def count(self, verdict: Verdict) -> None:
        """Count a verdict."""
        self.scanned += 1
        self.clean += verdict.status is Status.CLEAN
        self.infected += verdict.status is Status.INFECTED
        self.errors += verdict.status is Status.ERROR
