"""The queries of `avscan status` and `avscan history`."""

from __future__ import annotations

from datetime import timedelta

from avscan.backend.pocketbase import check_id
from avscan.errors import BackendError, SettingsError
from avscan.ops.reading import read
from avscan.ops.report import Report, report
from avscan.records import BUILDS, CHECKS, Check
from avscan.settings import Settings
from avscan.wiring import connect, diagnose_rejection


def query_report(settings: Settings, *, window: timedelta) -> Report:
    """Return the status report for a window that ends now.

    Raises:
        AvscanError: the connection or a request fails.

    """
    with connect(settings) as client, diagnose_rejection(client):
        stuck_after = timedelta(seconds=settings.stuck_after)
        return report(read(client, window=window, stuck_after=stuck_after))


def query_checks(settings: Settings, build: str) -> list[Check]:
    """Return the checks of a build with their complete logs, newest first.

    Raises:
        SettingsError: there is no such build.
        AvscanError: the connection or a request fails.

    """
    try:
        check_id(build)
    except BackendError as error:
        raise SettingsError(str(error)) from error
    with connect(settings) as client, diagnose_rejection(client):
        rows = client.page(CHECKS, where=f'build = "{build}"', sort="-created,id")
        if not rows and not client.page(BUILDS, where=f'id = "{build}"', fields=("id",), limit=1):
            raise SettingsError(f"there is no build {build}")
        return [Check.parse(row) for row in rows]
