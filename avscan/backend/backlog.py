"""In which order waiting builds are scanned: pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from avscan.backend.discovery import Job

# From upload to verdict: what is promised.
PROMISE = timedelta(minutes=5)
# A build that was taken and waits again is taken this often by one pass, which is to end some time.
TURNS = 3


class Backlog:
    """Builds that wait, each once; those that can still be in time and late ones take turns.

    Each kind goes oldest first, so a fresh upload waits for one late build at the most and neither
    kind starves. Builds that this pass has taken before take turns with the late ones. Those whose
    scan was interrupted before go last among these: what brings a scan down must not keep others
    waiting.
    """

    def __init__(self) -> None:
        self._fresh: list[tuple[datetime, str]] = []
        self._late: list[tuple[int, datetime, str]] = []
        self._again: list[tuple[int, datetime, str]] = []
        self._waiting: set[str] = set()
        self._turns: Counter[tuple[str, datetime]] = Counter()
        self._late_turn = False
        self._again_turn = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add builds; not those that wait here already, nor those that have had their turns."""
        for job in jobs:
            turns = self._turns[job.build, job.uploaded]
            if job.build in self._waiting or turns >= TURNS:
                continue
            self._waiting.add(job.build)
            if job.interruptions:
                rank = job.interruptions + turns
                heapq.heappush(self._late, (rank, job.uploaded, job.build))
            elif turns:
                heapq.heappush(self._again, (turns, job.uploaded, job.build))
            else:
                heapq.heappush(self._fresh, (job.uploaded, job.build))

    def resume(self, job: Job) -> None:
        """Add a build again, in the middle of its scan: it lets others go first."""
        self._waiting.add(job.build)
        queue = self._late if job.interruptions else self._again
        heapq.heappush(queue, (job.interruptions, job.uploaded, job.build))
        self._late_turn = self._again_turn = False

    def take(self, now: datetime) -> Job | None:
        """Take the next build to scan, at the server's time `now`; None if none waits."""
        while self._fresh and self._fresh[0][0] <= now - PROMISE:
            uploaded, build = heapq.heappop(self._fresh)
            heapq.heappush(self._late, (0, uploaded, build))
        if not self._waiting:
            return None
        behind = bool(self._late or self._again) and (self._late_turn or not self._fresh)
        self._late_turn = not behind
        rank = 0
        if not behind:
            uploaded, build = heapq.heappop(self._fresh)
        elif self._again and (self._again_turn or not self._late):
            _, uploaded, build = heapq.heappop(self._again)
            self._again_turn = False
        else:
            rank, uploaded, build = heapq.heappop(self._late)
            self._again_turn = True
        self._waiting.discard(build)
        self._turns[build, uploaded] += 1
        return Job(build=build, uploaded=uploaded, interruptions=rank)
