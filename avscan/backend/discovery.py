"""Find the work of a pass: builds without checks, pending checks, stuck and outdated ones.

A pass keeps no state for the next one. It lists the checks that are not settled. If all builds fit
into one page, it compares them all with all checks. Otherwise it compares only the builds that
changed lately, which is cheap at any size. A full comparison, made now and then, finds the rest:
checks that an operator deleted, and builds uploaded while avscan was off. Nothing is written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise, product

from avscan.backend import journal
from avscan.backend.answers import Row
from avscan.backend.journal import Interruption
from avscan.backend.pocketbase import PAGE, PocketBase, any_of, check_id
from avscan.backend.schema import require_one_check
from avscan.records import BUILDS, CHECKS, Build, Check, Status, expanded_build, format_time

# PocketBase sets `updated` before it saves, and an upload may take minutes to become visible.
LATELY = timedelta(minutes=15)
# A build without files counts as being uploaded for this long.
UPLOAD_TIME = timedelta(hours=1)
# Builds in one part of a full comparison: bounds its memory, and how many checks are opened before
# the first of them is scanned.
PART = 5_000
_IDS_PER_FILTER = 100
# The first two characters of PocketBase's random ids, which are uniform, in ascending order.
_PREFIXES = ["".join(pair) for pair in product("0123456789abcdefghijklmnopqrstuvwxyz", repeat=2)]
_BUILD_FIELDS = ("id", "files", "created", "updated")
_CHECK_FIELDS = (
    *("id", "build", "status", "virus_name", "scan_time", "created", "updated"),
    f"log:excerpt({journal.EXCERPT})",
)
_WITH_BUILD = (*_CHECK_FIELDS, *(f"expand.build.{name}" for name in _BUILD_FIELDS))
# Selects all checks that `is_outdated` may accept. A verdict set by hand may lack a time.
_OUTDATED = (
    '((scan_time != "" && build.updated > scan_time)'
    ' || (scan_time = "" && build.updated > updated))'
)
_UNSETTLED = f'status = "{Status.PENDING}" || status = "{Status.SCANNING}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A build that waits for its scan.

    Attributes:
        uploaded: when its `files` last changed.
        interruptions: how many of their inspections were interrupted.
        renews: the verdict that this scan renews, if it does.

    """

    build: str
    uploaded: datetime
    files: tuple[str, ...] = ()
    interruptions: int = 0
    renews: Check | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The work found, in the order in which it is to be written.

    Attributes:
        orphans: checks whose build is gone.
        stuck: checks whose scan was abandoned.
        changed: checks whose verdict is about other files.
        new: builds without a check.
        jobs: builds that wait for their scan already.

    """

    orphans: tuple[Check, ...] = ()
    stuck: tuple[tuple[Check, Build], ...] = ()
    changed: tuple[tuple[Check, Build], ...] = ()
    new: tuple[Build, ...] = ()
    jobs: tuple[Job, ...] = ()

    def only(self, wanted: Callable[[str], bool]) -> Plan:
        """Return the part of the plan that concerns builds whose ids are `wanted`."""
        return Plan(
            orphans=tuple(check for check in self.orphans if wanted(check.build)),
            stuck=tuple(pair for pair in self.stuck if wanted(pair[1].id)),
            changed=tuple(pair for pair in self.changed if wanted(pair[1].id)),
            new=tuple(build for build in self.new if wanted(build.id)),
            jobs=tuple(job for job in self.jobs if wanted(job.build)),
        )


def plans(client: PocketBase, *, stuck_after: timedelta, full: bool) -> Iterator[Plan]:
    """Yield plans, the most urgent first.

    If there are many builds, `full` adds a comparison of all builds with all checks, in parts.

    Raises:
        SchemaError: there are many builds to compare, and no unique index on their checks.

    """
    now = client.server_time()
    rows = client.page(BUILDS, fields=_BUILD_FIELDS, limit=PAGE)
    if len(rows) < PAGE:
        checks = client.rows(CHECKS, fields=_CHECK_FIELDS)
        yield plan_for(map(Build.parse, rows), checks, now=now, stuck_after=stuck_after)
        return
    yield from compare_recent(client, now=now, stuck_after=stuck_after)
    if full:
        require_one_check(client)
        yield from compare_large(client)


def compare_recent(client: PocketBase, *, now: datetime, stuck_after: timedelta) -> Iterator[Plan]:
    """Find the unsettled checks and compare the builds that changed lately with their checks.

    Makes two requests, and one more for each further `_IDS_PER_FILTER` builds that changed.
    `now` is the server's time.
    """
    since = format_time(now - LATELY)
    rows = client.list_unordered(BUILDS, where=f'updated > "{since}"', fields=_BUILD_FIELDS)
    changed = map(Build.parse, rows)
    builds = list(islice(changed, _IDS_PER_FILTER))
    where = " || ".join(filter(None, (_UNSETTLED, any_of("build", [each.id for each in builds]))))
    checks = client.list_unordered(CHECKS, where=where, fields=_WITH_BUILD, expand="build")
    yield plan_for(builds, checks, now=now, stuck_after=stuck_after)
    while part := list(islice(changed, _IDS_PER_FILTER)):
        yield compared(part, checks_of(client, [build.id for build in part]))


def plan_for(
    builds: Iterable[Build], checks: Iterable[Row], *, now: datetime, stuck_after: timedelta
) -> Plan:
    """Compare builds with their checks, and sort the unsettled ones among all `checks`.

    Each row has its build (`expand=build`), unless that is among `builds`.
    """
    listed = {build.id: build for build in builds}
    theirs: list[Check] = []
    orphans: list[Check] = []
    stuck: list[tuple[Check, Build]] = []
    jobs: list[Job] = []
    for row in checks:
        check = Check.parse(row)
        build = expanded_build(row) or listed.get(check.build)
        if check.build in listed:  # others are not kept: a backlog may be long
            theirs.append(check)
        if check.status not in {Status.PENDING, Status.SCANNING}:
            continue
        if build is None:
            orphans.append(check)
        elif check.status is Status.PENDING:
            if is_due(build, now):
                jobs.append(job_of(build, journal.interruptions_of(check.log, build.files)))
        elif check.updated < now - stuck_after:
            stuck.append((check, build))
    comparison = compared(listed.values(), theirs)
    return replace(comparison, orphans=tuple(orphans), stuck=tuple(stuck), jobs=tuple(jobs))


def compare_large(client: PocketBase) -> Iterator[Plan]:
    """Compare all builds with all checks, in parts.

    The unique index on `build` lets PocketBase find the builds without a check. Without it, this
    query takes quadratic time up to version 0.31.
    """
    for low, high in id_ranges(client.count(BUILDS) // PART + 1):
        ids = f'id >= "{low}"' + (f' && id < "{high}"' if high else "")
        yield Plan(changed=_changed(client, ids), new=_without_checks(client, ids))


def checks_of(client: PocketBase, builds: Sequence[str]) -> Iterator[Check]:
    """List the checks of the builds with these ids."""
    for start in range(0, len(builds), _IDS_PER_FILTER):
        where = any_of("build", builds[start : start + _IDS_PER_FILTER])
        rows = client.list_unordered(CHECKS, where=where, fields=_CHECK_FIELDS)
        yield from map(Check.parse, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Select verdicts by status, time, and whether av-service gave them.

    Verdicts that were corrected by hand are excluded: their status differs from the one at the
    start of their log. Logs of av-service, avscan's predecessor, are recognised by their form.
    """

    before: datetime
    status: Status | None = None
    by_av_service: bool = False

    def where(self) -> str:
        """Return the filter for PocketBase."""
        wanted = [self.status] if self.status else [each for each in Status if each.settled]
        one_of = " || ".join(map(self._with_status, wanted))
        return f'({one_of}) && scan_time != "" && scan_time < "{format_time(self.before)}"'

    def _with_status(self, status: Status) -> str:
        by_avscan = "" if self.by_av_service else f'log ~ "{status}: %" || '
        return f'(status = "{status}" && ({by_avscan}{_by_av_service(status)}))'


def _by_av_service(status: Status) -> str:
    """Return the filter that corresponds to `journal.is_by_av_service`."""
    begins = " || ".join(f'log ~ "{begin}%"' for begin in journal.AV_SERVICE[status])
    corrected = f' && log !~ "%{journal.FOUND}%"' if status is Status.CLEAN else ""
    return f"(({begins}){corrected})"


def verdicts(client: PocketBase, wanted: Verdicts, *, page: int = PAGE) -> Iterator[Check]:
    """Yield verdicts, oldest first, `page` in a request; they may change during the iteration."""
    where = wanted.where()
    while True:
        rows = client.page(
            CHECKS, where=where, sort="scan_time,id", fields=_CHECK_FIELDS, limit=page
        )
        checks = [Check.parse(row) for row in rows]
        yield from checks
        if len(rows) < page or (last := checks[-1]).scan_time is None:
            return
        time = format_time(last.scan_time)
        after = f'scan_time > "{time}" || (scan_time = "{time}" && id > "{check_id(last.id)}")'
        where = f"{wanted.where()} && ({after})"


def compared(builds: Collection[Build], checks: Iterable[Check]) -> Plan:
    """Compare builds with their checks: return the new builds and the outdated checks."""
    by_build: defaultdict[str, list[Check]] = defaultdict(list)
    for check in checks:
        by_build[check.build].append(check)
    pairs = [(check, build) for build in builds for check in by_build.get(build.id, ())]
    return Plan(
        changed=tuple((check, build) for check, build in pairs if is_outdated(check, build)),
        new=tuple(build for build in builds if build.files and build.id not in by_build),
    )


def is_outdated(check: Check, build: Build) -> bool:
    """Return whether a verdict is about other files than the build's present ones.

    A verdict without a digest is about the files that the build had at its `scan_time`.
    """
    if not check.settled:
        return False
    if digest := journal.digest_of(check.log):
        return digest != journal.digest(build.files)
    return build.updated > (check.scan_time or check.updated)


def is_due(build: Build, now: datetime) -> bool:
    """Return whether a pending build can be scanned; one without files may still be uploading."""
    return bool(build.files) or build.updated < now - UPLOAD_TIME


def waits_since(check: Check, build: Build) -> datetime:
    """Return when the files of an unsettled check's build were uploaded.

    PocketBase has one time for all changes of a build, so an edit may follow the upload. avscan
    opens a check only after the upload, so the time of opening counts if it is earlier.
    """
    opened = check.log.startswith(f"{Status.PENDING}: ")
    return min(build.updated, check.updated) if opened else build.updated


def job_of(build: Build, interruptions: Iterable[Interruption] = ()) -> Job:
    """Return the job that scans a build."""
    return Job(
        build=build.id,
        uploaded=build.updated,
        files=build.files,
        interruptions=count_interruptions(interruptions),
    )


def count_interruptions(interruptions: Iterable[Interruption]) -> int:
    """Return the sum of all files' interruptions."""
    return sum(each.times for each in interruptions)


def id_ranges(number: int) -> Iterator[tuple[str, str]]:
    """Split the range of ids into `number` ranges [low, high) of equal width; '' is unbounded."""
    inner = [_PREFIXES[len(_PREFIXES) * step // number] for step in range(1, number)]
    yield from pairwise(["", *inner, ""])


def _changed(client: PocketBase, ids: str) -> tuple[tuple[Check, Build], ...]:
    """List the outdated verdicts in a range of check ids, which is a filter."""
    where = f"{ids} && {_OUTDATED}"
    rows = client.rows(CHECKS, where=where, fields=_WITH_BUILD, expand="build")
    pairs = ((Check.parse(row), expanded_build(row)) for row in rows)
    return tuple((check, build) for check, build in pairs if build and is_outdated(check, build))


def _without_checks(client: PocketBase, ids: str) -> tuple[Build, ...]:
    """List the builds with files and without a check in a range of build ids, which is a filter."""
    where = f"{ids} && files:length > 0 && {CHECKS}_via_build.id ?= null"
    return tuple(map(Build.parse, client.rows(BUILDS, where=where, fields=_BUILD_FIELDS)))
