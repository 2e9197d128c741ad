"""What a report is computed from, asked of PocketBase in few requests.

What no pass has touched yet has to be found too, or a scanner that is down would look healthy:
builds without a check, and verdicts on files that were replaced. Both can only be among the builds
that changed since a pass was last seen to work, so only these are held against their checks.

It takes one request for each thousand checks that wait or were judged in the window, and about six
more, whatever the backend's size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from avscan.backend import journal
from avscan.backend.discovery import LATELY, checks_of
from avscan.backend.pocketbase import PAGE, PocketBase
from avscan.records import BUILDS, CHECKS, Build, Check, Status, expanded_build, format_time

SETTLED = tuple(status for status in Status if status.settled)
# Our view of the server's time is late by up to a second; what lies beyond this was set by hand.
_AHEAD = timedelta(minutes=1)
_EVER = datetime.fromtimestamp(0, UTC)
_BUILD_FIELDS = ("id", "files", "created", "updated")
_CHECK_FIELDS = (
    *("id", "build", "status", "virus_name", "scan_time", "created", "updated"),
    f"log:excerpt({journal.EXCERPT})",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What PocketBase says at its time `now`.

    `counts` has all verdicts by status. `unsettled` are the checks without a verdict, with their
    builds. `verdicts` are those given in the window, `latest` the newest one of all. `changed` are
    the builds that changed since a pass was last seen to work, `others` the checks of those that are
    neither in `unsettled` nor in `verdicts`.
    """

    now: datetime
    window: timedelta
    stuck_after: timedelta
    counts: Mapping[Status, int]
    unsettled: tuple[tuple[Check, Build], ...] = ()
    verdicts: tuple[Check, ...] = ()
    latest: Check | None = None
    changed: tuple[Build, ...] = ()
    others: tuple[Check, ...] = ()


def read(client: PocketBase, *, window: timedelta, stuck_after: timedelta) -> Reading:
    """Ask PocketBase; the window ends now.

    Raises:
        BackendError: PocketBase does not answer.

    """
    now = client.server_time()
    latest = _latest(client, now)
    unsettled = tuple(_unsettled(client))
    verdicts = tuple(_verdicts(client, now - window, now))
    counts = {status: client.count(CHECKS, where=_one_of([status])) for status in SETTLED}
    seen = latest.scan_time if latest else None
    since = min(now - window, seen - LATELY) if seen else _EVER
    changed = tuple(_changed(client, since))
    known = {check.build for check in verdicts} | {check.build for check, _ in unsettled}
    unknown = [build.id for build in changed if build.id not in known]
    return Reading(
        now=now,
        window=window,
        stuck_after=stuck_after,
        counts=counts,
        unsettled=unsettled,
        verdicts=verdicts,
        latest=latest,
        changed=changed,
        others=tuple(_others(client, unknown, since)) if any(counts.values()) else (),
    )


def _latest(client: PocketBase, now: datetime) -> Check | None:
    where = f'scan_time != "" && scan_time <= "{format_time(now + _AHEAD)}"'
    rows = client.page(CHECKS, where=where, sort="-scan_time", fields=_CHECK_FIELDS, limit=1)
    return Check.parse(rows[0]) if rows else None


def _unsettled(client: PocketBase) -> Iterable[tuple[Check, Build]]:
    """List the checks that have no verdict; orphans are no build's."""
    rows = client.rows(
        CHECKS,
        where=_one_of([Status.PENDING, Status.SCANNING]),
        fields=(*_CHECK_FIELDS, *(f"expand.build.{name}" for name in _BUILD_FIELDS)),
        expand="build",
    )
    return ((Check.parse(row), build) for row in rows if (build := expanded_build(row)))


def _verdicts(client: PocketBase, since: datetime, until: datetime) -> Iterable[Check]:
    times = f'scan_time >= "{format_time(since)}" && scan_time <= "{format_time(until + _AHEAD)}"'
    where = f"{times} && ({_one_of(SETTLED)})"
    return map(Check.parse, client.rows(CHECKS, where=where, fields=_CHECK_FIELDS))


def _changed(client: PocketBase, since: datetime) -> Iterable[Build]:
    where = f'updated > "{format_time(since)}"'
    return map(Build.parse, client.rows(BUILDS, where=where, fields=_BUILD_FIELDS))


def _others(client: PocketBase, builds: Sequence[str], since: datetime) -> Iterable[Check]:
    """List the checks of these builds, all of which changed after a moment.

    To ask for them by name is cheap while they are few, as they are but for a day on which somebody
    touched all builds.
    """
    if len(builds) <= PAGE:
        return checks_of(client, builds)
    where = f'build.updated > "{format_time(since)}"'
    return map(Check.parse, client.rows(CHECKS, where=where, fields=_CHECK_FIELDS))


def _one_of(statuses: Iterable[Status]) -> str:
    return " || ".join(f'status = "{status}"' for status in statuses)
