"""`avscan rescan`: reset verdicts to `pending`, so that the next pass scans the builds again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from avscan.backend import discovery, journal
from avscan.backend.discovery import Verdicts
from avscan.backend.pocketbase import PocketBase, check_id
from avscan.errors import BackendError, SettingsError
from avscan.records import CHECKS, Check, Status
from avscan.settings import Settings
from avscan.wiring import connect, diagnose_rejection, make_ledger

MAX_UNCONFIRMED = 10
"""Clean builds that are reset without a confirmation. A gate hides each of them until its new verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A selection of verdicts: of the named builds, or of all builds; at most `limit`, oldest first."""

    builds: tuple[str, ...] = ()
    status: Status | None = None
    age: timedelta = timedelta(0)
    by_av_service: bool = False
    limit: int | None = None


def rescan(
    settings: Settings, selection: Selection, *, confirm: Callable[[int], None], dry_run: bool
) -> Iterator[str]:
    """Reset verdicts to pending, and yield the id of each build once.

    Verdicts that were corrected by hand are reset only if their build is named. If more than
    `MAX_UNCONFIRMED` clean builds are selected, `confirm` is called with their number before the
    first write; it may raise. With `dry_run`, nothing is written.

    Raises:
        SettingsError: a build's name is not an id.
        AvscanError: the connection or a request fails.

    """
    try:
        for build in selection.builds:
            check_id(build)
    except BackendError as error:
        raise SettingsError(str(error)) from error
    with connect(settings) as client, diagnose_rejection(client):
        # The estimate of the server's time may lag by a second, and a verdict may be that new.
        wanted = Verdicts(
            before=client.server_time() + timedelta(minutes=1) - selection.age,
            status=selection.status,
            by_av_service=selection.by_av_service,
        )
        named = list(_named(client, selection, wanted)) if selection.builds else None
        clean = 0 if dry_run else _count_clean(client, selection, wanted, named)
        if clean > MAX_UNCONFIRMED:
            confirm(clean)
        ledger = make_ledger(settings, client)
        seen: set[str] = set()
        for check in discovery.verdicts(client, wanted) if named is None else named:
            if len(seen) == selection.limit:
                return
            if dry_run or ledger.intake.rescan(check, "an operator asked for another scan"):
                if check.build not in seen:
                    yield check.build
                seen.add(check.build)


def _count_clean(
    client: PocketBase, selection: Selection, wanted: Verdicts, named: Sequence[Check] | None
) -> int:
    if named is not None:
        return sum(check.status is Status.CLEAN for check in named)
    if selection.status not in {None, Status.CLEAN}:
        return 0
    number = client.count(CHECKS, where=replace(wanted, status=Status.CLEAN).where())
    return number if selection.limit is None else min(number, selection.limit)


def _named(client: PocketBase, selection: Selection, wanted: Verdicts) -> Iterator[Check]:
    for check in discovery.checks_of(client, selection.builds):
        if (
            selection.status in {None, check.status}
            and (not selection.by_av_service or journal.is_by_av_service(check.log, check.status))
            and (check.scan_time or check.updated) < wanted.before
        ):
            yield check
