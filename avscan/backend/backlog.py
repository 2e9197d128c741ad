"""The order in which waiting builds are scanned."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from avscan.backend.discovery import Job

# The promised time from upload to verdict.
PROMISE = timedelta(minutes=5)
# One pass takes the same files of a build at most this often, so that the pass ends.
MAX_TAKES = 4


class Backlog:
    """Builds that wait for a scan, each once.

    Builds within the promised time and late builds alternate, oldest first, so that neither kind
    starves. After them come the builds that this pass has taken before and those with
    interruptions: fewest interruptions first, then oldest first.
    """

    def __init__(self) -> None:
        self._queue: list[Job] = []  # oldest first, so late builds are at its start
        self._deferred: list[Job] = []  # by `_rank`
        self._takes: Counter[tuple[str, datetime]] = Counter()
        self._waiting: set[str] = set()
        self._late_next = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add builds, except those that wait already and those taken `MAX_TAKES` times."""
        for job in jobs:
            takes = self._takes[job.build, job.uploaded]
            if job.build in self._waiting or takes >= MAX_TAKES:
                continue
            if takes or job.interruptions:
                self.put_aside(job)
            else:
                self._waiting.add(job.build)
                insort(self._queue, job, key=_age)

    def put_aside(self, job: Job) -> None:
        """Add a build that this pass has taken before; it goes after the others."""
        self._waiting.add(job.build)
        insort(self._deferred, job, key=_rank)

    def take(self, now: datetime) -> Job | None:
        """Remove and return the next job, if there is one. `now` is the server's time."""
        if not self._waiting:
            return None
        if self._queue:
            first_fresh = bisect_right(self._queue, now - PROMISE, key=lambda job: job.uploaded)
            is_late = first_fresh > 0 and (self._late_next or first_fresh == len(self._queue))
            job = self._queue.pop(0 if is_late else first_fresh)
            self._late_next = not is_late
        else:
            job = self._deferred.pop(0)
        self._waiting.discard(job.build)
        self._takes[job.build, job.uploaded] += 1
        return job


def _age(job: Job) -> tuple[datetime, str]:
    return job.uploaded, job.build


def _rank(job: Job) -> tuple[int, datetime, str]:
    return job.interruptions, job.uploaded, job.build
