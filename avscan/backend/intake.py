"""What any pass may write of checks that nobody scans: see the table of `ledger`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from avscan.backend import journal
from avscan.backend.checks import Checks
from avscan.backend.discovery import Job, count_interruptions, is_due, is_outdated, job_of
from avscan.backend.pocketbase import PocketBase, check_id
from avscan.records import BUILDS, CHECKS, Build, Check, Status, format_time

log = logging.getLogger(__name__)


class Intake:
    """Opens checks, and puts them back to pending. `is_held` says whether this pass scans a build."""

    def __init__(
        self,
        client: PocketBase,
        checks: Checks,
        *,
        stuck_after: timedelta,
        is_held: Callable[[str], bool],
    ) -> None:
        self._client = client
        self._checks = checks
        self._stuck_after = stuck_after
        self._is_held = is_held

    def open(self, build: Build) -> Job | None:
        """Create a build's pending check; None if another pass has it, or the build is gone.

        Raises:
            SchemaError: the collection requires a field that avscan does not know.

        """
        if self._checks.create(build.id, lambda limit: journal.pending("new build", limit=limit)):
            log.info("check.opened", extra={"build": build.id})
            return job_of(build)
        # It may be our own, whose creation was answered with silence and tried again.
        view = self._checks.read(build.id)
        return job_of(view.build) if view.build and view.waits else None

    def reopen(self, check: Check) -> Job | None:
        """Put a verdict that is about other files back to pending; None if it is not, after all."""
        view = self._checks.read(check.build)
        build = view.build
        outdated = [each for each in view.checks if build and is_outdated(each, build)]
        for each in outdated:
            self._checks.set_pending(each, "the build's files changed after its verdict")
            log.info("check.reopened", extra=_named(each))
        if not outdated or build is None or not is_due(build, self._client.server_time()):
            return None
        return job_of(build)

    def rescan(self, check: Check, reason: str) -> Job | None:
        """Put a verdict back to pending because somebody asks for it; None if it is another now."""
        view = self._checks.read(check.build)
        known = (check.id, check.updated)
        settled = [
            each for each in view.checks if (each.id, each.updated) == known and each.settled
        ]
        for each in settled:
            self._checks.set_pending(each, reason)
        return job_of(view.build) if settled and view.build else None

    def renewal(self, check: Check) -> Job | None:
        """Return the job of renewing a verdict; None if it is another now, or about other files."""
        view = self._checks.read(check.build)
        if view.build is None or not view.standing(check):
            return None
        return replace(job_of(view.build), renews=check)

    def reclaim(self, check: Check) -> Job | None:
        """Put an abandoned check back to pending; None if it is not abandoned, after all.

        Our own claims are not abandoned, however long their heartbeats have failed.
        """
        if self._is_held(check.build):
            return None
        view = self._checks.read(check.build)
        found = next((each for each in view.checks if each.id == check.id), None)
        if found is None or found.status is not Status.SCANNING or not self._is_silent(found):
            return None
        reason = f"reclaimed, no heartbeat since {format_time(found.updated)}"
        files = view.build.files if view.build else ()
        interruptions = journal.interruptions_of(found.log, files)
        file = journal.inspected(found.log, files)
        if file is not None:
            interruptions = journal.interrupt(interruptions, file, reason)
        if not self._checks.set_pending(found, reason, interruptions=interruptions):
            return None
        count = count_interruptions(interruptions)
        log.warning(
            "check.reclaimed",
            extra={"build": check.build, "check": check.id, "file": file, "interruptions": count},
        )
        return job_of(view.build, interruptions) if view.build else None

    def _is_silent(self, check: Check) -> bool:
        """Return whether a check's last heartbeat is long ago by PocketBase's own clock.

        The `Date` of its answers may be a proxy's, and wrong.
        """
        last, limit = format_time(check.updated), format_time(check.updated + self._stuck_after)
        where = f'id = "{check_id(check.id)}" && updated = "{last}" && "{limit}" < @now'
        return bool(self._client.page(CHECKS, where=where, fields=("id",)))

    def remove(self, check: Check) -> bool:
        """Delete a check whose build is proved to be gone; False if it is there, after all."""
        if check.build and self._client.page(BUILDS, where=f'id = "{check_id(check.build)}"'):
            return False
        self._client.delete(CHECKS, check.id)
        log.info("check.removed", extra={"build": check.build, "check": check.id})
        return True


def _named(check: Check) -> dict[str, str]:
    """Return a verdict's fields for the log; one that avscan did not give says who did."""
    by = journal.author(check.log, check.status) if check.status else ""
    fields = {"build": check.build, "check": check.id, "before": str(check.status)}
    return fields | ({"by": by} if by else {})
