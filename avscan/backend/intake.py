"""Write checks that need no claim: open, reopen, reclaim and remove (see the table in `ledger`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from functools import partial

from avscan.backend import journal
from avscan.backend.checks import Checks
from avscan.backend.deadline import Start
from avscan.backend.discovery import Job, count_interruptions, is_due, is_outdated, job_of
from avscan.backend.pocketbase import PocketBase, check_id
from avscan.records import BUILDS, CHECKS, Build, Check, Status, format_time

log = logging.getLogger(__name__)

# The number of checks that are created at once.
OPENINGS = 4


class Intake:
    """Opens checks and sets them to pending.

    `is_held` returns whether this pass has a live claim of a build, given its id. `start` starts
    work in another thread.
    """

    def __init__(
        self,
        client: PocketBase,
        checks: Checks,
        *,
        stuck_after: timedelta,
        is_held: Callable[[str], bool],
        start: Start,
    ) -> None:
        self._client = client
        self._checks = checks
        self._stuck_after = stuck_after
        self._is_held = is_held
        self._start = start

    def open_all(self, builds: Sequence[Build]) -> Iterator[tuple[Build, Future[Job | None]]]:
        """Open the builds' checks, a few at once. Yield each build with its outcome (see `open`)."""
        for begin in range(0, len(builds), OPENINGS):
            group = builds[begin : begin + OPENINGS]
            yield from [(build, self._start(partial(self.open, build))) for build in group]

    def open(self, build: Build) -> Job | None:
        """Create a build's pending check; None if another pass has it or the build is gone.

        Raises:
            SchemaError: the collection requires a field that avscan does not know.

        """
        if self._checks.create(build.id, lambda limit: journal.pending("new build", limit=limit)):
            log.info("check.opened", extra={"build": build.id})
            return job_of(build)
        # This pass may have created the check in a try whose answer was lost.
        view = self._checks.read(build.id)
        return job_of(view.build) if view.build and view.has_pending else None

    def reopen(self, check: Check) -> Job | None:
        """Set a verdict about other files to pending; None if there is nothing to scan."""
        view = self._checks.read(check.build)
        build = view.build
        outdated = [each for each in view.checks if build and is_outdated(each, build)]
        for each in outdated:
            self._checks.set_pending(each, "the build's files changed after its verdict")
            log.info("check.reopened", extra=_verdict_fields(each))
        if not outdated or build is None or not is_due(build, self._client.server_time()):
            return None
        return job_of(build)

    def rescan(self, check: Check, reason: str) -> Job | None:
        """Set a verdict to pending for another scan; None if it has changed."""
        view = self._checks.read(check.build)
        known = (check.id, check.updated)
        settled = [
            each for each in view.checks if (each.id, each.updated) == known and each.settled
        ]
        for each in settled:
            self._checks.set_pending(each, reason)
        return job_of(view.build) if settled and view.build else None

    def renewal(self, check: Check) -> Job | None:
        """Return the job that renews a verdict; None if the verdict or the files have changed."""
        view = self._checks.read(check.build)
        if view.build is None or not view.unchanged(check):
            return None
        return replace(job_of(view.build), renews=check)

    def reclaim(self, check: Check) -> Job | None:
        """Set an abandoned check to pending; None if it is not abandoned.

        A live claim of this pass is never abandoned, even if its heartbeats have failed for long.
        """
        if self._is_held(check.build):
            return None
        view = self._checks.read(check.build)
        current = next((each for each in view.checks if each.id == check.id), None)
        if (
            current is None
            or current.status is not Status.SCANNING
            or not self._is_abandoned(current)
        ):
            return None
        reason = f"reclaimed, no heartbeat since {format_time(current.updated)}"
        files = view.build.files if view.build else ()
        interruptions = journal.interruptions_of(current.log, files)
        file = journal.inspected(current.log, files)
        if file is not None:
            interruptions = journal.interrupt(interruptions, file, reason)
        if not self._checks.set_pending(current, reason, interruptions=interruptions):
            return None
        count = count_interruptions(interruptions)
        log.warning(
            "check.reclaimed",
            extra={"build": check.build, "check": check.id, "file": file, "interruptions": count},
        )
        return job_of(view.build, interruptions) if view.build else None

    def _is_abandoned(self, check: Check) -> bool:
        """Return whether a check has had no heartbeat for `stuck_after`, by PocketBase's clock.

        The `Date` header may come from a proxy whose clock is wrong.
        """
        last, limit = format_time(check.updated), format_time(check.updated + self._stuck_after)
        where = f'id = "{check_id(check.id)}" && updated = "{last}" && "{limit}" < @now'
        return bool(self._client.page(CHECKS, where=where, fields=("id",)))

    def remove(self, check: Check) -> bool:
        """Delete a check whose build is gone; False if the build exists."""
        if check.build and self._client.page(BUILDS, where=f'id = "{check_id(check.build)}"'):
            return False
        self._client.delete(CHECKS, check.id)
        log.info("check.removed", extra={"build": check.build, "check": check.id})
        return True


def _verdict_fields(check: Check) -> dict[str, str]:
    """Return a verdict's fields for a log event, with the author if that is not avscan."""
    by = journal.author(check.log, check.status) if check.status else ""
    fields = {"build": check.build, "check": check.id, "before": str(check.status)}
    return fields | ({"by": by} if by else {})
