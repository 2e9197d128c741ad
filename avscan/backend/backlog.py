"""In which order waiting builds are scanned: pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from avscan.backend.discovery import Job

# From upload to verdict: what is promised.
PROMISE = timedelta(minutes=5)
# A build that was taken and waits again is taken this often by one pass, which is to end some time.
TURNS = 4


class Backlog:
    """Builds that wait, each once, oldest first.

    Those that can still be in time and those that are late take turns, so that neither kind
    starves. All others go before a build that this pass has begun already. Those whose inspection
    was interrupted before are the very last, the least interrupted first.
    """

    def __init__(self) -> None:
        self._queue: list[Job] = []  # by age: the late ones are at its head
        self._last: list[Job] = []  # put aside, then interrupted
        self._turns: Counter[tuple[str, datetime]] = Counter()
        self._waiting: set[str] = set()
        self._late_turn = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add builds; not those that wait here already, nor those that have had their turns."""
        for job in jobs:
            turns = self._turns[job.build, job.uploaded]
            if job.build in self._waiting or turns >= TURNS:
                continue
            if turns or job.interruptions:
                self.put_aside(job)
            else:
                self._waiting.add(job.build)
                insort(self._queue, job, key=_age)

    def put_aside(self, job: Job) -> None:
        """Add a build that was begun already, and lets others go first."""
        self._waiting.add(job.build)
        insort(self._last, job, key=_rank)

    def take(self, now: datetime) -> Job | None:
        """Take the next build to scan, at the server's time `now`; None if none waits."""
        if not self._waiting:
            return None
        if self._queue:
            fresh = bisect_right(self._queue, now - PROMISE, key=lambda job: job.uploaded)
            is_late = fresh > 0 and (self._late_turn or fresh == len(self._queue))
            job = self._queue.pop(0 if is_late else fresh)
            self._late_turn = not is_late
        else:
            job = self._last.pop(0)
        self._waiting.discard(job.build)
        self._turns[job.build, job.uploaded] += 1
        return job


def _age(job: Job) -> tuple[datetime, str]:
    return job.uploaded, job.build


def _rank(job: Job) -> tuple[int, datetime, str]:
    return job.interruptions, job.uploaded, job.build
