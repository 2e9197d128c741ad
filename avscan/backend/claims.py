"""Claims: builds that this pass has claimed, and the outcomes of settling them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from avscan.backend.journal import Interruption
from avscan.records import Build, Check

# A file whose inspection was interrupted this often is not inspected again.
INTERRUPTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A build that this pass has claimed for its scan, with all of its checks.

    Attributes:
        mark: identifies the claim in the logs of the checks.
        interruptions: the files whose inspection was interrupted, the latest first.
        started: the server's time of the claim.
        renews: whether the scan renews a verdict. Such a claim is not recorded in PocketBase and
            has no heartbeat.

    """

    mark: str
    build: Build
    checks: tuple[Check, ...]
    interruptions: tuple[Interruption, ...]
    started: datetime
    renews: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """All files in the order of inspection, the least often interrupted first."""
        times = {each.file: each.times for each in self.interruptions}
        return tuple(sorted(self.build.files, key=lambda name: times.get(name, 0)))

    @property
    def interruption(self) -> Interruption | None:
        """The latest interruption, if there is one."""
        return self.interruptions[0] if self.interruptions else None

    @property
    def given_up(self) -> dict[str, Interruption]:
        """The files that were interrupted too often to be inspected again, by name."""
        return {each.file: each for each in self.interruptions if each.times >= INTERRUPTIONS}

    @property
    def first(self) -> str | None:
        """The first file to inspect, if there is one. The claim records it."""
        return next((name for name in self.files if name not in self.given_up), None)


class Settlement(enum.Enum):
    """The outcome of settling a claim."""

    SETTLED = "settled"
    CHANGED = "changed"
    LOST = "lost"
    GONE = "gone"
