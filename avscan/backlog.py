"""In which order waiting builds are scanned: pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta

from avscan.discovery import Job

# From upload to verdict: what is promised.
PROMISE = timedelta(minutes=5)


class Backlog:
    """Builds that wait, each once; those that can still be in time and late ones take turns.

    Each kind goes oldest first, so a fresh upload waits for one late build at the most and neither
    kind starves. Builds whose scan was interrupted before go last among the late: what brings a
    scan down must not keep others waiting.
    """

    def __init__(self) -> None:
        self._fresh: list[tuple[datetime, str]] = []
        self._late: list[tuple[int, datetime, str]] = []
        self._known: set[tuple[str, datetime]] = set()
        self._late_turn = False

    def __len__(self) -> int:
        return len(self._fresh) + len(self._late)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add builds; one that was here before with the same upload is not taken again."""
        for job in jobs:
            key = (job.build, job.uploaded)
            if key in self._known:
                continue
            self._known.add(key)
            if job.interruptions:
                heapq.heappush(self._late, (job.interruptions, job.uploaded, job.build))
            else:
                heapq.heappush(self._fresh, (job.uploaded, job.build))

    def take(self, now: datetime) -> Job | None:
        """Take the next build to scan, at the server's time `now`; None if none waits."""
        while self._fresh and self._fresh[0][0] <= now - PROMISE:
            uploaded, build = heapq.heappop(self._fresh)
            heapq.heappush(self._late, (0, uploaded, build))
        late = bool(self._late) and (self._late_turn or not self._fresh)
        self._late_turn = not late
        if late:
            interruptions, uploaded, build = heapq.heappop(self._late)
            return Job(build=build, uploaded=uploaded, interruptions=interruptions)
        if self._fresh:
            uploaded, build = heapq.heappop(self._fresh)
            return Job(build=build, uploaded=uploaded)
        return None
