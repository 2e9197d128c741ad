"""In which order waiting builds are scanned: pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, zip_longest

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
        self._late_until = datetime.min.replace(tzinfo=UTC)
        self._late_turn = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def others_wait(self) -> bool:
        """Whether a build waits that was neither interrupted nor put aside."""
        return bool(self._queue)

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
        self._late_until = now - PROMISE
        job = next(self._order(), None)
        if job is None:
            return None
        if self._queue:
            self._late_turn = job.uploaded > self._late_until
            del self._queue[bisect_left(self._queue, _age(job), key=_age)]
        else:
            del self._last[0]
        self._waiting.discard(job.build)
        self._turns[job.build, job.uploaded] += 1
        return job

    def ahead(self, number: int) -> list[Job]:
        """List the next `number` builds in the order in which they would be taken now."""
        return list(islice(self._order(), number))

    def _order(self) -> Iterator[Job]:
        queue = self._queue
        split = bisect_right(queue, self._late_until, key=lambda job: job.uploaded)
        kinds = (range(split), range(split, len(queue)))
        for pair in zip_longest(*(kinds if self._late_turn else reversed(kinds))):
            yield from (queue[position] for position in pair if position is not None)
        yield from self._last


def _age(job: Job) -> tuple[datetime, str]:
    return job.uploaded, job.build


def _rank(job: Job) -> tuple[int, datetime, str]:
    return job.interruptions, job.uploaded, job.build
