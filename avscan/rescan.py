"""Verdicts that are put back to pending, so that a pass scans their builds again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from avscan.backend import discovery
from avscan.backend.pocketbase import PocketBase, check_id
from avscan.errors import BackendError, SettingsError
from avscan.records import Check, Status
from avscan.settings import Settings
from avscan.wiring import connect, explained, make_ledger


def rescan(
    settings: Settings, builds: Sequence[str], *, status: Status | None, age: timedelta
) -> Iterator[str]:
    """Put verdicts back to pending: of these builds, or all of a status and an age; tell whose.

    What somebody corrected by hand is put back only where its build is named.

    Raises:
        SettingsError: what names a build is no id.
        AvscanError: what is wrong with the installation.

    """
    try:
        builds = [check_id(build) for build in builds]
    except BackendError as error:
        raise SettingsError(str(error)) from error
    with connect(settings) as client, explained(client):
        ledger = make_ledger(settings, client)
        # Our view of the server's time is late by up to a second, and a verdict may be that young.
        before = client.server_time() + timedelta(minutes=1) - age
        for checks in _chosen(client, builds, status, before):
            for check in checks:
                if ledger.rescan(check, "an operator asked for another scan"):
                    yield check.build


def _chosen(
    client: PocketBase, builds: Sequence[str], status: Status | None, before: datetime
) -> Iterator[list[Check]]:
    """Choose verdicts; what was put back is no verdict any more, so each page is the first."""
    if builds:
        yield [
            check
            for check in discovery.checks_of(client, builds)
            if status in {None, check.status} and (check.scan_time or check.updated) < before
        ]
        return
    seen: set[str] = set()
    while page := discovery.verdicts(client, status=status, before=before):
        if seen.issuperset(check.id for check in page):
            return
        seen.update(check.id for check in page)
        yield page
