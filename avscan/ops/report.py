"""The status report: service levels, computed from a `Reading`.

A build waits from the time of its upload. That time is its `updated`, since PocketBase has only one
time for all changes of a record, or the time at which a pass opened its check, if a later edit
changed `updated`. The verdict's log stores it, so that later edits do not change the delay. A build
whose present files had a verdict before (a rescan or a renewal) waits from the time at which its
check became pending, and is not counted in the delays. A build without files is an unfinished
upload, and does not wait.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from avscan.backend import journal
from avscan.backend.backlog import PROMISE
from avscan.backend.discovery import compared, is_due, waits_since
from avscan.ops.reading import SETTLED, Reading
from avscan.records import Build, Check, Status
from avscan.verdict import Cause

# The service levels beside `PROMISE`: the longest time pending, and the share of failed scans.
MAX_PENDING = timedelta(minutes=10)
MAX_ERROR_RATIO = 0.01


class State(enum.StrEnum):
    """The state of a build that waits for a verdict."""

    UNCHECKED = "unchecked"  # it has no check yet
    CHANGED = "changed"  # its verdict is for files that were replaced
    PENDING = "pending"
    SCANNING = "scanning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A build without a verdict; `again` is true if its present files had one before."""

    build: str
    state: State
    seconds: float
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A build with a late verdict, or with none yet (None) although it is due."""

    build: str
    seconds: float
    verdict: Status | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An infected build or an error in the window. Unknown fields are empty."""

    build: str
    time: datetime
    reason: str
    file: str = ""
    virus: str = ""
    cause: Cause | None = None

    @property
    def is_failure(self) -> bool:
        """Whether avscan failed to scan the build. An unknown cause counts as a failure."""
        return self.cause in {Cause.SCAN, None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Seconds from upload to the first verdict on the files; None if there is none."""

    count: int
    median_seconds: float | None = None
    p95_seconds: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A service level: its figure, the bound, and the numbers behind the figure as text.

    The figure is in seconds if the name ends with `_seconds`, otherwise a ratio from 0 to 1.
    """

    name: str
    kept: bool
    figure: float
    bound: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report at `time`. Lists begin with the longest wait or the newest event."""

    time: datetime
    window: timedelta
    criteria: tuple[Criterion, ...]
    checks: dict[Status, int]
    waiting: tuple[Waiting, ...]
    stuck: tuple[Waiting, ...]
    delays: Delays
    late: tuple[Late, ...]
    verdicts: dict[Status, int]
    detections: tuple[Event, ...]
    errors: tuple[Event, ...]
    engine: str
    last_verdict: datetime | None

    @property
    def kept(self) -> bool:
        """Whether every criterion is kept."""
        return all(criterion.kept for criterion in self.criteria)

    @property
    def oldest_pending(self) -> float:
        """Seconds for which the oldest build has waited for a scan to begin; 0 if none waits."""
        return _longest(each for each in self.waiting if each.state is not State.SCANNING)

    @property
    def oldest_scanning(self) -> float:
        """Seconds since the upload of the oldest build under scan; 0 if there is none."""
        return _longest(each for each in self.waiting if each.state is State.SCANNING)


def report(reading: Reading) -> Report:
    """Compute the report."""
    waiting = _by_length(_waiting(reading))
    verdicts = _newest_of_each_build(reading.verdicts)
    delays = dict(_delays(verdicts))
    late = [
        *(Late(build=each.build, seconds=each.seconds) for each in waiting if _is_late(each)),
        *(
            Late(build=check.build, seconds=delays[check.build], verdict=check.status)
            for check in verdicts
            if delays.get(check.build, 0.0) > PROMISE.total_seconds()
        ),
    ]
    given = Counter(check.status for check in verdicts if check.status)
    errors = tuple(_event(each) for each in verdicts if each.status is Status.ERROR)
    unsettled = Counter(check.status for check, _ in reading.unsettled if check.status)
    return Report(
        time=reading.now,
        window=reading.window,
        criteria=(
            _in_time(len(late), len(delays) + sum(map(_is_late, waiting))),
            _pending(waiting),
            _failures(sum(each.is_failure for each in errors), given.total()),
        ),
        checks={status: unsettled[status] or reading.counts.get(status, 0) for status in Status},
        waiting=tuple(waiting),
        stuck=tuple(_by_length(_stuck(reading))),
        delays=_percentiles(sorted(delays.values())),
        late=tuple(sorted(late, key=lambda each: -each.seconds)),
        verdicts={status: given[status] for status in SETTLED},
        detections=tuple(_event(each) for each in verdicts if each.status is Status.INFECTED),
        errors=errors,
        engine=journal.read(reading.latest.log).engine if reading.latest else "",
        last_verdict=reading.latest.scan_time if reading.latest else None,
    )


# -- the criteria ---------------------------------------------------------------------------------


def _in_time(late: int, total: int) -> Criterion:
    in_time = total - late
    return Criterion(
        name="in_time_ratio",
        kept=not late,
        figure=in_time / total if total else 1.0,
        bound=1.0,
        detail=f"{in_time} of {total} builds",
    )


def _pending(waiting: Sequence[Waiting]) -> Criterion:
    pending = [each for each in waiting if each.state is not State.SCANNING]
    bound = MAX_PENDING.total_seconds()
    figure = _longest(pending)
    over = sum(each.seconds > bound for each in pending)
    return Criterion(
        name="oldest_pending_seconds",
        kept=figure <= bound,
        figure=figure,
        bound=bound,
        detail=f"{over} of {len(pending)} pending",
    )


def _failures(failures: int, total: int) -> Criterion:
    figure = failures / total if total else 0.0
    return Criterion(
        name="error_ratio",
        kept=figure <= MAX_ERROR_RATIO,
        figure=figure,
        bound=MAX_ERROR_RATIO,
        detail=f"{failures} of {total} verdicts",
    )


# -- waiting builds -------------------------------------------------------------------------------


def _waiting(reading: Reading) -> Iterator[Waiting]:
    for check, build in reading.unsettled:
        if is_due(build, reading.now):
            yield _unsettled(check, build, reading.now)
    listed = [check for check, _ in reading.unsettled]
    plan = compared(reading.changed, [*listed, *reading.verdicts, *reading.others])
    untouched = [(build, State.UNCHECKED) for build in plan.new]
    untouched += [(build, State.CHANGED) for _, build in plan.changed if build.files]
    for build, state in untouched:
        seconds = _seconds(reading.now - build.updated)
        yield Waiting(build=build.id, state=state, seconds=seconds)


def _unsettled(check: Check, build: Build, now: datetime) -> Waiting:
    again = journal.scanned_before(check.log, build.files)
    since = check.updated if again else waits_since(check, build)
    return Waiting(
        build=build.id,
        state=State(str(check.status)),
        seconds=_seconds(now - since),
        again=again,
    )


def _stuck(reading: Reading) -> Iterator[Waiting]:
    for check, build in reading.unsettled:
        silent = reading.now - check.updated
        if check.status is Status.SCANNING and silent > reading.stuck_after:
            yield Waiting(build=build.id, state=State.SCANNING, seconds=_seconds(silent))


def _by_length(waiting: Iterator[Waiting]) -> list[Waiting]:
    """Return the longest wait of each build, longest first."""
    longest: dict[str, Waiting] = {}
    for each in sorted(waiting, key=lambda each: -each.seconds):
        longest.setdefault(each.build, each)
    return list(longest.values())


def _is_late(waiting: Waiting) -> bool:
    return not waiting.again and waiting.seconds > PROMISE.total_seconds()


def _longest(waiting: Sequence[Waiting] | Iterator[Waiting]) -> float:
    return max((each.seconds for each in waiting), default=0.0)


# -- the window's verdicts ------------------------------------------------------------------------


def _newest_of_each_build(checks: Sequence[Check]) -> list[Check]:
    newest: dict[str, Check] = {}
    for check in sorted(checks, key=lambda check: str(check.scan_time), reverse=True):
        newest.setdefault(check.build, check)
    return list(newest.values())


def _delays(verdicts: Sequence[Check]) -> Iterator[tuple[str, float]]:
    """Yield each build whose verdict is the first on its files, and the seconds since upload."""
    for check in verdicts:
        entry = journal.read(check.log)
        if entry.uploaded and not entry.again and check.scan_time:
            yield check.build, _seconds(check.scan_time - entry.uploaded)


def _percentiles(seconds: Sequence[float]) -> Delays:
    """Compute percentiles by the nearest-rank method; `seconds` must be sorted."""
    if not seconds:
        return Delays(count=0)
    count = len(seconds)
    return Delays(
        count=count,
        median_seconds=seconds[math.ceil(0.5 * count) - 1],
        p95_seconds=seconds[math.ceil(0.95 * count) - 1],
        max_seconds=seconds[-1],
    )


def _event(check: Check) -> Event:
    entry = journal.read(check.log)
    named = entry.reason.partition(f"{check.virus_name} in ")[2] if check.virus_name else ""
    return Event(
        build=check.build,
        time=check.scan_time or check.updated,
        reason=entry.reason,
        file=named.partition(" ")[0],
        virus=check.virus_name,
        cause=entry.cause,
    )


def _seconds(span: timedelta) -> float:
    return max(0.0, round(span.total_seconds(), 3))
