"""A build that this pass has claimed, and how that ends."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from avscan.backend.journal import Interruption
from avscan.records import Build, Check

# A file whose inspection was begun this often and never ended is not inspected again.
INTERRUPTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A build that is ours to scan, with all of its checks; `mark` stands in their logs.

    `interruptions` are those of its files whose inspection was interrupted, the last one first. One
    that `renews` a verdict is written nowhere, and has no heartbeat.
    """

    mark: str
    build: Build
    checks: tuple[Check, ...]
    interruptions: tuple[Interruption, ...]
    started: datetime
    renews: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """All files, in the order to inspect them in: what was interrupted before goes last."""
        times = {each.file: each.times for each in self.interruptions}
        return tuple(sorted(self.build.files, key=lambda name: times.get(name, 0)))

    @property
    def interruption(self) -> Interruption | None:
        """The last interruption; None if there was none."""
        return self.interruptions[0] if self.interruptions else None

    @property
    def given_up(self) -> dict[str, Interruption]:
        """The files that must not be inspected again, by name."""
        return {each.file: each for each in self.interruptions if each.times >= INTERRUPTIONS}

    @property
    def first(self) -> str | None:
        """The first file to inspect; None if there is none. The claim itself records it."""
        return next((name for name in self.files if name not in self.given_up), None)


class Settlement(enum.Enum):
    """How an attempt to settle a claim ended."""

    SETTLED = "settled"
    CHANGED = "changed"
    LOST = "lost"
    GONE = "gone"
