"""The data for a status report, read from PocketBase.

If no pass runs, new builds have no check, and replaced files keep their old verdict. The report must
show both. They can only be among the builds that changed since the last verdict, so only these are
compared with their checks.

The number of requests does not depend on the backend's size: one for each thousand checks that are
unsettled or have a verdict in the window, and about six more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from avscan.backend import journal
from avscan.backend.discovery import LATELY, checks_of
from avscan.backend.pocketbase import PAGE, PocketBase, any_of
from avscan.records import BUILDS, CHECKS, Build, Check, Status, expanded_build, format_time

SETTLED = tuple(status for status in Status if status.settled)
# The estimate of the server's time may lag by a second. A later `scan_time` was set by hand.
_AHEAD = timedelta(minutes=1)
_EVER = datetime.fromtimestamp(0, UTC)
_BUILD_FIELDS = ("id", "files", "created", "updated")
_CHECK_FIELDS = (
    *("id", "build", "status", "virus_name", "scan_time", "created", "updated"),
    f"log:excerpt({journal.EXCERPT})",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The state of the backend at the server's time `now`.

    `counts` is the number of all verdicts by status. `unsettled` lists the checks without a verdict,
    with their builds; `verdicts` the verdicts in the window; `latest` is the newest verdict.
    `changed` lists the builds that changed since the last verdict or in the window, and `others`
    those of their checks that are neither in `unsettled` nor in `verdicts`.
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
    """Read the data for a report on a window that ends now.

    Raises:
        BackendError: a request fails.

    """
    now = client.server_time()
    latest = _latest(client, now)
    unsettled = tuple(_unsettled(client))
    verdicts = tuple(_verdicts(client, now - window, now))
    counts = {status: client.count(CHECKS, where=any_of("status", [status])) for status in SETTLED}
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
    """Return the checks that have no verdict, without orphans."""
    rows = client.rows(
        CHECKS,
        where=any_of("status", [Status.PENDING, Status.SCANNING]),
        fields=(*_CHECK_FIELDS, *(f"expand.build.{name}" for name in _BUILD_FIELDS)),
        expand="build",
    )
    return ((Check.parse(row), build) for row in rows if (build := expanded_build(row)))


def _verdicts(client: PocketBase, since: datetime, until: datetime) -> Iterable[Check]:
    times = f'scan_time >= "{format_time(since)}" && scan_time <= "{format_time(until + _AHEAD)}"'
    return _checks(client, f"{times} && ({any_of('status', SETTLED)})")


def _changed(client: PocketBase, since: datetime) -> Iterable[Build]:
    where = f'updated > "{format_time(since)}"'
    return map(Build.parse, client.rows(BUILDS, where=where, fields=_BUILD_FIELDS))


def _others(client: PocketBase, builds: Sequence[str], since: datetime) -> Iterable[Check]:
    """Return the checks of these builds, all of which changed after `since`.

    Queries by id are cheap for a few builds. If all builds were edited at once, a query by time is
    cheaper.
    """
    if len(builds) <= PAGE:
        return checks_of(client, builds)
    return _checks(client, f'build.updated > "{format_time(since)}"')


def _checks(client: PocketBase, where: str) -> Iterable[Check]:
    return map(Check.parse, client.rows(CHECKS, where=where, fields=_CHECK_FIELDS))
