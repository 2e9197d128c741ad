"""What there is to do: which builds need a check, which checks wait, which are stuck.

A pass has no memory. So each asks for the checks that are not settled, and compares all builds with
all checks where that is one page of builds. Beyond it, it compares those that changed lately: that
costs PocketBase next to nothing at any size. What this misses (a check that an operator deleted,
builds from before a long absence) a comparison of all finds; that is for now and then. Nothing is
written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise

from avscan.backend import journal
from avscan.backend.answers import Row
from avscan.backend.journal import Interruption
from avscan.backend.pocketbase import PAGE, PocketBase, any_of, check_id
from avscan.backend.schema import require_one_check
from avscan.records import BUILDS, CHECKS, Build, Check, Status, expanded_build, format_time

# `updated` is stamped before a save, and an upload may take minutes to be seen after that.
LATELY = timedelta(minutes=15)
# A build without files is an upload under way for as long as this.
UPLOAD_TIME = timedelta(hours=1)
# Builds compared at once: bounds the memory of a comparison, whatever the backend's size, and how
# many checks are opened before the first of them is scanned.
PART = 5_000
_IDS_A_FILTER = 100
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_BUILD_FIELDS = ("id", "files", "created", "updated")
_CHECK_FIELDS = (
    *("id", "build", "status", "virus_name", "scan_time", "created", "updated"),
    f"log:excerpt({journal.EXCERPT})",
)
_WITH_BUILD = (*_CHECK_FIELDS, *(f"expand.build.{name}" for name in _BUILD_FIELDS))
# What `is_outdated` may say yes to. A verdict given by hand need not have a time.
_OUTDATED = (
    '((scan_time != "" && build.updated > scan_time)'
    ' || (scan_time = "" && build.updated > updated))'
)
_UNSETTLED = f'status = "{Status.PENDING}" || status = "{Status.SCANNING}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A build that waits for its scan.

    `uploaded` is when its `files` last came, `interruptions` how many inspections of them were begun
    and never ended. `renews` is the verdict that stands until there is a newer one.
    """

    build: str
    uploaded: datetime
    files: tuple[str, ...] = ()
    interruptions: int = 0
    renews: Check | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, in the order in which it is to be written.

    `orphans` are checks whose build is gone, `stuck` those whose scan was begun and abandoned,
    `changed` those whose verdict is about other files, `new` the builds without a check, `jobs`
    the builds that wait already.
    """

    orphans: tuple[Check, ...] = ()
    stuck: tuple[tuple[Check, Build], ...] = ()
    changed: tuple[tuple[Check, Build], ...] = ()
    new: tuple[Build, ...] = ()
    jobs: tuple[Job, ...] = ()

    def only(self, wanted: Callable[[str], bool]) -> Plan:
        """Keep what concerns the builds whose ids are `wanted`."""
        return Plan(
            orphans=tuple(check for check in self.orphans if wanted(check.build)),
            stuck=tuple(pair for pair in self.stuck if wanted(pair[1].id)),
            changed=tuple(pair for pair in self.changed if wanted(pair[1].id)),
            new=tuple(build for build in self.new if wanted(build.id)),
            jobs=tuple(job for job in self.jobs if wanted(job.build)),
        )


def plans(
    client: PocketBase,
    *,
    stuck_after: timedelta,
    full: bool,
) -> Iterator[Plan]:
    """Find what there is to do, the first of it in the first plan.

    Where there are many builds, `full` compares all of them with all checks, part by part, after the
    first plan.

    Raises:
        SchemaError: there are many builds to compare, and no unique index on their checks.

    """
    now = client.server_time()
    rows = client.page(BUILDS, sort="id", fields=_BUILD_FIELDS, limit=PAGE)
    if len(rows) < PAGE:
        builds = [Build.parse(row) for row in rows]
        yield compare_all(client, builds, now=now, stuck_after=stuck_after)
        return
    yield from compare_recent(client, now=now, stuck_after=stuck_after)
    if full:
        require_one_check(client)
        yield from compare_large(client)


def compare_all(
    client: PocketBase, builds: Sequence[Build], *, now: datetime, stuck_after: timedelta
) -> Plan:
    """Find the checks without a verdict, and compare all builds, which are few, with all checks.

    `now` is the server's time.
    """
    waiting = client.list_unordered(CHECKS, where=_UNSETTLED, fields=_WITH_BUILD, expand="build")
    found = unsettled(waiting, now=now, stuck_after=stuck_after)
    held = compared(builds, map(Check.parse, client.rows(CHECKS, fields=_CHECK_FIELDS)))
    return replace(found, changed=held.changed, new=held.new)


def compare_recent(client: PocketBase, *, now: datetime, stuck_after: timedelta) -> Iterator[Plan]:
    """Find the checks without a verdict, and compare the builds that changed lately with theirs.

    `now` is the server's time. Two requests, unless more changed than a filter holds: then a plan
    for each part of them, since somebody may have changed all builds there are.
    """
    since = format_time(now - LATELY)
    rows = client.list_unordered(BUILDS, where=f'updated > "{since}"', fields=_BUILD_FIELDS)
    changed = map(Build.parse, rows)
    builds = {build.id: build for build in islice(changed, _IDS_A_FILTER)}
    where = " || ".join(filter(None, (_UNSETTLED, any_of("build", list(builds)))))
    theirs: list[Check] = []

    def checks() -> Iterator[Row]:
        for row in client.list_unordered(CHECKS, where=where, fields=_WITH_BUILD, expand="build"):
            if row.get("build") in builds:
                theirs.append(Check.parse(row))
            yield row

    found = unsettled(checks(), now=now, stuck_after=stuck_after)
    held = compared(builds.values(), theirs)
    yield replace(found, changed=held.changed, new=held.new)
    while part := list(islice(changed, _IDS_A_FILTER)):
        yield compared(part, checks_of(client, [build.id for build in part]))


def unsettled(rows: Iterable[Row], *, now: datetime, stuck_after: timedelta) -> Plan:
    """Sort checks without a verdict, each with its build: those that wait, are stuck, or orphans."""
    orphans: list[Check] = []
    stuck: list[tuple[Check, Build]] = []
    jobs: list[Job] = []
    for row in rows:
        check, build = Check.parse(row), expanded_build(row)
        if check.status not in {Status.PENDING, Status.SCANNING}:
            continue
        if build is None:
            orphans.append(check)
        elif check.status is Status.PENDING:
            if is_due(build, now):
                jobs.append(job_of(build, journal.interruptions_of(check.log, build.files)))
        elif check.updated < now - stuck_after:
            stuck.append((check, build))
    return Plan(orphans=tuple(orphans), stuck=tuple(stuck), jobs=tuple(jobs))


def compare_large(client: PocketBase) -> Iterator[Plan]:
    """Compare all builds with all checks, a part of them at a time.

    The unique index on `build` lets PocketBase itself say which builds have no check. Without it
    that question is quadratic up to version 0.31.
    """
    for low, high in parts(client.count(BUILDS) // PART + 1):
        yield Plan(changed=_changed(client, low, high), new=_unchecked(client, low, high))


def checks_of(client: PocketBase, builds: Sequence[str]) -> Iterator[Check]:
    """List the checks of the builds with these ids."""
    for start in range(0, len(builds), _IDS_A_FILTER):
        ids = builds[start : start + _IDS_A_FILTER]
        yield from map(
            Check.parse,
            client.list_unordered(CHECKS, where=any_of("build", ids), fields=_CHECK_FIELDS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Which verdicts to list: of a status, given before a moment, or by av-service alone.

    One that somebody corrected by hand is not among them: its status is another than the one that
    its log begins with. Those of av-service, which avscan replaces, are known by their logs.
    """

    before: datetime
    status: Status | None = None
    by_av_service: bool = False

    def where(self) -> str:
        """Return the filter for PocketBase."""
        wanted = [self.status] if self.status else [each for each in Status if each.settled]
        one_of = " || ".join(
            f'(status = "{each}" && {_by_av_service(each)})'
            if self.by_av_service
            else f'(status = "{each}" && (log ~ "{each}: %" || {_by_av_service(each)}))'
            for each in wanted
        )
        return f'({one_of}) && scan_time != "" && scan_time < "{format_time(self.before)}"'


def _by_av_service(status: Status) -> str:
    """Return the filter that says what `journal.is_by_av_service` says."""
    begins = " || ".join(f'log ~ "{begin}%"' for begin in journal.AV_SERVICE[status])
    corrected = f' && log !~ "%{journal.FOUND}%"' if status is Status.CLEAN else ""
    return f"(({begins}){corrected})"


def verdicts(client: PocketBase, wanted: Verdicts, *, page: int = PAGE) -> Iterator[Check]:
    """List verdicts, oldest first, `page` of them in a request; they may be written meanwhile."""
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


def compared(builds: Iterable[Build], checks: Iterable[Check]) -> Plan:
    """Hold builds against checks: pure."""
    by_build: defaultdict[str, list[Check]] = defaultdict(list)
    for check in checks:
        by_build[check.build].append(check)
    new: list[Build] = []
    changed: list[tuple[Check, Build]] = []
    for build in builds:
        found = by_build.get(build.id)
        if found is None:
            if build.files:
                new.append(build)
        else:
            changed += [(check, build) for check in found if is_outdated(check, build)]
    return Plan(changed=tuple(changed), new=tuple(new))


def is_outdated(check: Check, build: Build) -> bool:
    """Return whether a verdict is about other files than the build has now.

    A verdict that names no files is about those that the build had at its `scan_time`.
    """
    if not check.settled:
        return False
    if digest := journal.digest_of(check.log):
        return digest != journal.digest(build.files)
    return build.updated > (check.scan_time or check.updated)


def is_due(build: Build, now: datetime) -> bool:
    """Return whether a pending build can be judged; without files it may still be uploading."""
    return bool(build.files) or build.updated < now - UPLOAD_TIME


def waits_since(check: Check, build: Build) -> datetime:
    """Return when the files of a build came whose check is pending or under scan.

    PocketBase keeps one moment for all changes of a build. Where an edit moved it behind the
    opening of the check by a pass, which opens none before the files have come, that one counts.
    """
    opened = check.status is Status.PENDING and check.log.startswith(f"{Status.PENDING}: ")
    return min(build.updated, check.updated) if opened else build.updated


def job_of(build: Build, interruptions: Iterable[Interruption] = ()) -> Job:
    """Make the job of scanning a build."""
    return Job(
        build=build.id,
        uploaded=build.updated,
        files=build.files,
        interruptions=count_interruptions(interruptions),
    )


def count_interruptions(interruptions: Iterable[Interruption]) -> int:
    """Count the interruptions of all files of a build."""
    return sum(each.times for each in interruptions)


def parts(number: int) -> Iterator[tuple[str, str]]:
    """Split all ids into `number` ranges of equal width: [low, high), '' being open.

    PocketBase draws ids evenly from a to z and 0 to 9.
    """
    space = len(_DIGITS) ** 3
    bounds = ["", *(_id_at(space * step // number) for step in range(1, number)), ""]
    yield from pairwise(bounds)


def _id_at(position: int) -> str:
    text = ""
    for _ in range(3):
        position, digit = divmod(position, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text


def _between(name: str, low: str, high: str) -> str:
    return f'{name} >= "{low}"' + (f' && {name} < "{high}"' if high else "")


def _changed(client: PocketBase, low: str, high: str) -> tuple[tuple[Check, Build], ...]:
    """Find the outdated verdicts among a part of the checks."""
    rows = client.rows(
        CHECKS,
        where=f"{_between('id', low, high)} && {_OUTDATED}",
        fields=_WITH_BUILD,
        expand="build",
    )
    pairs = [(Check.parse(row), build) for row in rows if (build := expanded_build(row))]
    return tuple((check, build) for check, build in pairs if is_outdated(check, build))


def _unchecked(client: PocketBase, low: str, high: str) -> tuple[Build, ...]:
    """Ask which of a part of the builds have no check."""
    missing = f"{_with_files(low, high)} && {CHECKS}_via_build.id ?= null"
    return tuple(map(Build.parse, client.rows(BUILDS, where=missing, fields=_BUILD_FIELDS)))


def _with_files(low: str, high: str) -> str:
    return f"{_between('id', low, high)} && files:length > 0"
