"""Every write to `av_build_checks`, and with it the life of a check.

    from       to         written by, and on what evidence
    (none)     pending    any pass: the build has files and no check
    pending    scanning   a pass that claims it: the log names the claim and the file under inspection
    scanning   scanning   its claimant: another file is under inspection from now on, or none;
                          a heartbeat, which moves `updated` and nothing else
    scanning   settled    its claimant: it read its own claim and the very files it scanned
    scanning   pending    its claimant: the files changed, or the pass ends early;
                          any pass: no heartbeat for long, by PocketBase's own clock
    settled    pending    any pass: the verdict is about other files than the build's;
                          an operator asks for another scan
    settled    settled    any pass that renews an old verdict: it is the one that it read before
                          the scan, and the files are the same
    any        (none)     any pass: its build is proved to be gone

A renewal writes nothing before its verdict, so that a build which players have never disappears for
it. Nothing counts its interruptions either: it comes after all other work, of one build at a time.

Where a pass dies or breaks at an inspection, the way back to `pending` counts an interruption of
the file that the log records as under inspection, and of no other. A file that was interrupted
`INTERRUPTIONS` times is not inspected again.

PocketBase has no conditional update, so a claim is a mark that its claimant reads again before it
writes what follows from it. Two that claim at once both write; the later mark stands, and the
other pass finds it and leaves. What slips between reading and writing is caught by the digest of
the file names in each verdict, which every later pass compares with the build.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from avscan.backend import journal
from avscan.backend.answers import Row as Values
from avscan.backend.checks import Checks, View
from avscan.backend.discovery import (
    Job,
    count_interruptions,
    is_due,
    is_outdated,
    job_of,
    waits_since,
)
from avscan.backend.journal import Interruption
from avscan.backend.pocketbase import PocketBase, check_id
from avscan.backend.transport import RetryPolicy
from avscan.errors import BackendError, SchemaError, SignInError
from avscan.records import (
    BUILDS,
    CHECKS,
    REASON,
    Build,
    Check,
    Status,
    format_time,
)
from avscan.verdict import FileReport, Policies, Verdict, explain

log = logging.getLogger(__name__)

HEARTBEAT = RetryPolicy(attempts=1, deadline=10.0, timeout=10.0)
# A file whose inspection was begun this often and never ended is not inspected again.
INTERRUPTIONS = 3
# Seconds in which PocketBase does a write whose answer nobody waited for.
ON_ITS_WAY = 0.3
# Seconds after which what was read of a build is read again before it is claimed.
FRESH = 0.1
# What must not keep us from the other claims.
_FAILURES = (BackendError, SchemaError, SignInError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A build that is ours to scan, with all of its checks; `mark` stands in their logs.

    `interruptions` are those of its files whose inspection was interrupted, the last one first. One
    that `renews` a verdict is written nowhere, and has no heartbeat.
    """

    mark: str
    build: Build
    checks: tuple[Check, ...]
    interruptions: tuple[Interruption, ...]
    started: datetime
    renews: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """All files, in the order to inspect them in: what was interrupted before goes last."""
        times = {each.file: each.times for each in self.interruptions}
        return tuple(sorted(self.build.files, key=lambda name: times.get(name, 0)))

    @property
    def interruption(self) -> Interruption | None:
        """The last interruption; None if there was none."""
        return self.interruptions[0] if self.interruptions else None

    @property
    def given_up(self) -> dict[str, Interruption]:
        """The files that must not be inspected again, by name."""
        return {each.file: each for each in self.interruptions if each.times >= INTERRUPTIONS}

    @property
    def first(self) -> str | None:
        """The first file to inspect; None if there is none. The claim itself records it."""
        return next((name for name in self.files if name not in self.given_up), None)


class Settlement(enum.Enum):
    """How an attempt to settle a claim ended."""

    SETTLED = "settled"
    CHANGED = "changed"
    LOST = "lost"
    GONE = "gone"


class Ledger:
    """Writes checks for one pass. Its heartbeat may be called from another thread."""

    def __init__(
        self,
        client: PocketBase,
        *,
        host: str,
        stuck_after: timedelta,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._host = host
        self._stuck_after = stuck_after
        self._clock = clock
        self._sleep = sleep
        self._checks = Checks(client)
        self._held: dict[str, Claim] = {}
        self._inspected: dict[str, str | None] = {}
        self._quiet: set[str] = set()
        self._ahead: tuple[str, View, float] | None = None
        self._lock = threading.Lock()

    # -- what any pass may do -----------------------------------------------------------------

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
            self._set_pending(each, "the build's files changed after its verdict")
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
            self._set_pending(each, reason)
            log.info("check.rescan", extra=_named(each))
        return job_of(view.build) if settled and view.build else None

    def renewal(self, check: Check) -> Job | None:
        """Return the job of renewing a verdict; None if it is another now, or about other files."""
        view = self._checks.read(check.build)
        if view.build is None or not _standing(view, check):
            return None
        return replace(job_of(view.build), renews=check)

    def reclaim(self, check: Check) -> Job | None:
        """Put an abandoned check back to pending; None if it is not abandoned, after all.

        Our own claims are not abandoned, however long their heartbeats have failed.
        """
        if any(held.build.id == check.build for held in self._beating_claims()):
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
        if not self._set_pending(found, reason, interruptions=interruptions):
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

    # -- claiming and what only the claimant may do -------------------------------------------

    def claim(self, job: Job) -> Claim | None:
        """Make a waiting build ours; None if it no longer waits, or is somebody else's.

        The first file to inspect is recorded with it.
        """
        view = self._seen_ahead(job.build) or self._checks.read(job.build)
        if job.renews is not None:
            return self._renew(view, job.renews)
        statuses = {check.status for check in view.checks}
        if view.build is None or Status.PENDING not in statuses or Status.SCANNING in statuses:
            return None
        files = view.build.files
        claim = Claim(
            mark=uuid.uuid4().hex[:12],
            build=view.build,
            checks=tuple(check for check in view.checks if check.status is not None),
            interruptions=max(
                (journal.interruptions_of(check.log, files) for check in view.checks),
                key=count_interruptions,
            ),
            started=self._client.server_time(),
        )
        # No heartbeat may undo the write; and one that failed may be written all the same, and has
        # none for good, so that it is reclaimed.
        self._quiet.add(claim.mark)
        self._held[claim.mark] = claim
        ours = all(self._mark(check, claim, claim.first) for check in claim.checks)
        self._quiet.discard(claim.mark)
        if not ours:
            self._forget(claim)
            return None
        self._inspected[claim.mark] = claim.first
        return claim

    def _renew(self, view: View, check: Check) -> Claim | None:
        if view.build is None or not (standing := _standing(view, check)):
            return None
        claim = Claim(
            mark=uuid.uuid4().hex[:12],
            build=view.build,
            checks=tuple(standing),
            interruptions=(),
            started=self._client.server_time(),
            renews=True,
        )
        self._held[claim.mark] = claim
        return claim

    def inspect(self, claim: Claim, file: str | None) -> bool:
        """Record which file is under inspection from now on; False if the claim is lost.

        None says that none is: the build is paused, or between two files. What is recorded already
        is not written again.
        """
        if claim.renews or not self.holds(claim):
            return self.holds(claim)
        if self._inspected.get(claim.mark, "") == file:
            return True
        self._inspected.pop(claim.mark, None)
        self._pause_heartbeat(claim)
        try:
            checks = self._checks.read(claim.build.id).marked(claim.mark)
            ours = [self._mark(check, claim, file, mark=claim.mark) for check in checks]
        finally:
            self._quiet.discard(claim.mark)
        if not any(ours):
            self._forget(claim)
            return False
        self._inspected[claim.mark] = file
        return True

    def holds(self, claim: Claim) -> bool:
        """Return whether a claim is still ours, as far as its last heartbeat knows."""
        return claim.mark in self._held

    def beat(self) -> None:
        """Show that the pass is alive: move `updated` of all that it has claimed.

        An update without values changes nothing else, and its answer tells whose the check is.
        """
        with self._lock:
            for claim in self._beating_claims():
                try:
                    rows = [
                        self._client.update(CHECKS, check.id, {}, policy=HEARTBEAT)
                        for check in claim.checks
                    ]
                except _FAILURES as error:
                    log.warning(
                        "heartbeat.failed", extra={"build": claim.build.id, "reason": str(error)}
                    )
                    continue
                marks = {journal.claim_of(Check.parse(row).log) for row in rows if row}
                if marks != {claim.mark} and claim.mark not in self._quiet:
                    self._forget(claim)
                    log.warning("check.lost", extra={"build": claim.build.id})

    def settle(
        self,
        claim: Claim,
        verdict: Verdict,
        reports: Sequence[FileReport],
        policies: Policies,
        *,
        engine: str,
        ahead: str | None = None,
    ) -> Settlement:
        """Write a verdict, if the check is still ours and the files are those that were scanned.

        `ahead` is the build that is likely to be claimed next, which is read in the same request.

        `scan_time` is a moment before the files were read once more: whatever the build becomes
        afterwards is younger. Checks that a hook added meanwhile are settled alike.
        """
        self._pause_heartbeat(claim)
        now = self._client.server_time()
        view, *others = self._checks.read_all([claim.build.id, *([ahead] if ahead else [])])
        self._ahead = (ahead, others[0], self._clock()) if ahead else None
        settlement = self._settle(view, claim, verdict, reports, policies, engine=engine, now=now)
        self._forget(claim)
        return settlement

    def _settle(
        self,
        view: View,
        claim: Claim,
        verdict: Verdict,
        reports: Sequence[FileReport],
        policies: Policies,
        *,
        engine: str,
        now: datetime,
    ) -> Settlement:
        if view.build is None:
            return Settlement.GONE
        ours = _standing(view, claim.checks[0]) if claim.renews else view.marked(claim.mark)
        if not ours:
            return Settlement.LOST
        if journal.digest(view.build.files) != journal.digest(claim.build.files):
            self._give_back(view, claim, "the build's files changed while they were scanned")
            return Settlement.CHANGED
        scan = journal.Scan(
            uploaded=min(waits_since(check, claim.build) for check in claim.checks),
            engine=engine,
            host=self._host,
            claim=claim.mark,
            started=claim.started,
            ended=now,
        )
        waiting = [check for check in view.checks if check.status is Status.PENDING]
        written = 0
        for check in [*ours, *waiting]:

            def text(limit: int, check: Check = check) -> str:
                return journal.settled(
                    verdict,
                    reports,
                    scan,
                    policies,
                    before=journal.history(check.log, check.status),
                    limit=limit,
                )

            values: Values = {
                "status": verdict.status,
                "virus_name": verdict.virus_name,
                "scan_time": format_time(now),
                REASON: explain(reports, policies),
            }
            mark = "" if claim.renews else claim.mark
            written += self._checks.write(check, values, text, mark=mark)
        return Settlement.SETTLED if written else Settlement.LOST

    def release(
        self,
        claim: Claim,
        reason: str,
        *,
        interrupted: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Put a claimed build back to pending, if it is still ours.

        `interrupted` counts an interruption of the file under inspection, if there is one. Of a
        renewal, the verdict stands as it is.
        """
        if claim.renews:
            log.info("renewal.ended", extra={"build": claim.build.id, "reason": reason})
            self._forget(claim)
            return
        self._pause_heartbeat(claim, policy)
        view = self._checks.read(claim.build.id, policy)
        if view.waits and not view.marked(claim.mark):
            # The claim itself may be on its way still: a signal does not wait for its answer.
            self._sleep(ON_ITS_WAY)
            view = self._checks.read(claim.build.id, policy)
        self._give_back(view, claim, reason, interrupted=interrupted, policy=policy)
        self._forget(claim)

    def release_all(self, reason: str, *, interrupted: bool, policy: RetryPolicy) -> None:
        """Release all that is still claimed, within about the policy's deadline.

        What can't be released is reclaimed by a later pass.
        """
        end = self._clock() + policy.deadline
        for claim in list(self._held.values()):
            if self._clock() > end:
                log.warning("release.failed", extra={"build": claim.build.id, "reason": "no time"})
                continue
            try:
                self.release(claim, reason, interrupted=interrupted, policy=policy)
            except _FAILURES as error:
                log.warning("release.failed", extra={"build": claim.build.id, "reason": str(error)})

    # -- below --------------------------------------------------------------------------------

    def _pause_heartbeat(self, claim: Claim, policy: RetryPolicy | None = None) -> None:
        """Stop a claim's heartbeat and wait for one under way: it could undo the next write."""
        self._quiet.add(claim.mark)
        if self._lock.acquire(timeout=-1 if policy is None else policy.timeout):
            self._lock.release()

    def _beating_claims(self) -> list[Claim]:
        return [
            held
            for mark, held in self._held.copy().items()
            if mark not in self._quiet and not held.renews
        ]

    def _seen_ahead(self, build: str) -> View | None:
        """Return what was read of a build with the last verdict, if that was just now."""
        seen, self._ahead = self._ahead, None
        if seen is None or seen[0] != build or self._clock() - seen[2] > FRESH:
            return None
        return seen[1]

    def _forget(self, claim: Claim) -> None:
        self._held.pop(claim.mark, None)
        self._inspected.pop(claim.mark, None)
        self._quiet.discard(claim.mark)

    def _mark(self, check: Check, claim: Claim, file: str | None, *, mark: str = "") -> bool:
        """Write that a check is ours, and the file under inspection."""
        before = journal.history(check.log, check.status)

        def text(limit: int) -> str:
            return journal.claimed(
                claim.mark,
                self._host,
                claim.started,
                inspecting=file,
                interruptions=claim.interruptions,
                before=before,
                limit=limit,
            )

        values: Values = {"status": Status.SCANNING, "virus_name": "", "scan_time": "", REASON: ""}
        return self._checks.write(check, values, text, mark=mark)

    def _set_pending(
        self,
        check: Check,
        reason: str,
        *,
        interruptions: Sequence[Interruption] = (),
        mark: str = "",
        policy: RetryPolicy | None = None,
    ) -> bool:
        before = journal.history(check.log, check.status)

        def text(limit: int) -> str:
            return journal.pending(reason, interruptions=interruptions, before=before, limit=limit)

        values: Values = {"status": Status.PENDING, "virus_name": "", "scan_time": "", REASON: ""}
        return self._checks.write(check, values, text, mark=mark, policy=policy)

    def _give_back(
        self,
        view: View,
        claim: Claim,
        reason: str,
        *,
        interrupted: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        interruptions, file = claim.interruptions, self._inspected.get(claim.mark)
        if interrupted and file is not None:
            interruptions = journal.interrupt(interruptions, file, reason)
        for check in view.marked(claim.mark):
            self._set_pending(
                check, reason, interruptions=interruptions, mark=claim.mark, policy=policy
            )
            log.info(
                "check.released",
                extra={"build": check.build, "check": check.id, "reason": reason},
            )


def _standing(view: View, check: Check) -> list[Check]:
    """Return a verdict as it was seen before, if it still is that one and about these files."""
    return [
        each
        for each in view.checks
        if (each.id, each.updated) == (check.id, check.updated)
        and each.settled
        and view.build is not None
        and not is_outdated(each, view.build)
    ]


def _named(check: Check) -> dict[str, str]:
    """Return a verdict's fields for the log; one that avscan did not give says who did."""
    by = journal.author(check.log, check.status) if check.status else ""
    fields = {"build": check.build, "check": check.id, "before": str(check.status)}
    return fields | ({"by": by} if by else {})
