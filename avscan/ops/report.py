"""Are the promises kept? The service levels, computed from a reading: pure.

A build waits from the moment when its files came: that is its `updated`, since PocketBase keeps one
moment for all changes of a record, or that at which a pass opened its check, if an edit moved
`updated` behind it. Its verdict notes the moment, so that what happens to the build afterwards makes
no late figure out of it. A build whose present files had a verdict before (a rescan, a renewal) has
waited since it was put back, and says nothing of uploads any more. A build without files is an
upload under way, and waits for nobody but its publisher.
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

# What is promised beside `PROMISE`: how long a build may be pending, which share of the scans may fail.
LONGEST_PENDING = timedelta(minutes=10)
MOST_ERRORS = 0.01


class State(enum.StrEnum):
    """How far a waiting build has come."""

    UNCHECKED = "unchecked"  # no pass has seen it yet
    CHANGED = "changed"  # its verdict is about files that were replaced
    PENDING = "pending"
    SCANNING = "scanning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A build without a verdict on its files; `again` if these very files had one before."""

    build: str
    state: State
    seconds: float
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A build that got its verdict later than promised, or has not got it yet (None)."""

    build: str
    seconds: float
    verdict: Status | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An infected build or an error of the window; the rest is there where it is known."""

    build: str
    time: datetime
    reason: str
    file: str = ""
    virus: str = ""
    cause: Cause | None = None

    @property
    def is_failure(self) -> bool:
        """Whether avscan failed, as far as the log says: what it does not say speaks against it."""
        return self.cause in {Cause.SCAN, None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Seconds from upload to verdict, of the first verdicts on their files; None without any."""

    count: int
    median: float | None = None
    p95: float | None = None
    worst: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A promise: its figure, the bound that it is held against, and in words what it is made of.

    The figure is a share from 0 to 1, or seconds where the name says so.
    """

    name: str
    kept: bool
    figure: float
    bound: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it stands at `time`; lists go from the longest wait on, or from the newest on."""

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
        """Whether every promise is kept."""
        return all(criterion.kept for criterion in self.criteria)

    @property
    def oldest_pending(self) -> float:
        """Seconds that the oldest build has waited for a pass to take it; 0 if none waits."""
        return _longest(each for each in self.waiting if each.state is not State.SCANNING)

    @property
    def oldest_scanning(self) -> float:
        """Seconds since the upload of the oldest build under scan; 0 if none is."""
        return _longest(each for each in self.waiting if each.state is State.SCANNING)


def report(reading: Reading) -> Report:
    """Compute how it stands."""
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
        delays=_spread(sorted(delays.values())),
        late=tuple(sorted(late, key=lambda each: -each.seconds)),
        verdicts={status: given[status] for status in SETTLED},
        detections=tuple(_event(each) for each in verdicts if each.status is Status.INFECTED),
        errors=errors,
        engine=_engine(reading.latest),
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
    bound = LONGEST_PENDING.total_seconds()
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
        kept=figure <= MOST_ERRORS,
        figure=figure,
        bound=MOST_ERRORS,
        detail=f"{failures} of {total} verdicts",
    )


# -- who waits ------------------------------------------------------------------------------------


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
    """Keep the longest wait of each build, the longest first."""
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
    """Give the seconds from upload to verdict where it was the first one on these files."""
    for check in verdicts:
        entry = journal.read(check.log)
        if entry and entry.uploaded and not entry.again and check.scan_time:
            yield check.build, _seconds(check.scan_time - entry.uploaded)


def _spread(seconds: Sequence[float]) -> Delays:
    """Give percentiles by the nearest rank; `seconds` are sorted."""
    if not seconds:
        return Delays(count=0)
    count = len(seconds)
    return Delays(
        count=count,
        median=seconds[math.ceil(0.5 * count) - 1],
        p95=seconds[math.ceil(0.95 * count) - 1],
        worst=seconds[-1],
    )


def _event(check: Check) -> Event:
    entry = journal.read(check.log)
    reason = entry.reason if entry else ""
    named = reason.partition(f"{check.virus_name} in ")[2] if check.virus_name else ""
    return Event(
        build=check.build,
        time=check.scan_time or check.updated,
        reason=reason,
        file=named.partition(" ")[0],
        virus=check.virus_name,
        cause=entry.cause if entry else None,
    )


def _engine(latest: Check | None) -> str:
    entry = journal.read(latest.log) if latest else None
    return entry.engine if entry else ""


def _seconds(span: timedelta) -> float:
    return max(0.0, round(span.total_seconds(), 3))
