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

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from avscan.backend import journal
from avscan.backend.answers import Row as Values
from avscan.backend.checks import Checks, View
from avscan.backend.claims import Claim, Settlement
from avscan.backend.discovery import (
    Job,
    count_interruptions,
    waits_since,
)
from avscan.backend.intake import Intake
from avscan.backend.pocketbase import PocketBase
from avscan.backend.transport import RetryPolicy
from avscan.errors import BackendError, SchemaError, SignInError
from avscan.records import (
    CHECKS,
    REASON,
    Check,
    Status,
    format_time,
)
from avscan.verdict import FileReport, Policies, Verdict, explain

log = logging.getLogger(__name__)

HEARTBEAT = RetryPolicy(attempts=1, deadline=10.0, timeout=10.0)
# Seconds in which PocketBase does a write whose answer nobody waited for.
ON_ITS_WAY = 0.3
# Seconds after which what was read of a build is read again before it is claimed.
FRESH = 0.1
# What must not keep us from the other claims.
_FAILURES = (BackendError, SchemaError, SignInError)


class Ledger:
    """Writes checks for one pass; `intake` those that nobody scans.

    The heartbeat may be called from another thread.
    """

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
        self._clock = clock
        self._sleep = sleep
        self._checks = Checks(client)
        self.intake = Intake(
            client, self._checks, stuck_after=stuck_after, is_held=self._is_beating
        )
        self._held: dict[str, Claim] = {}
        self._inspected: dict[str, str | None] = {}
        self._quiet: set[str] = set()
        self._ahead: tuple[str, View, float] | None = None
        self._lock = threading.Lock()

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
        if view.build is None or not (standing := view.standing(check)):
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
        ours = view.standing(claim.checks[0]) if claim.renews else view.marked(claim.mark)
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
            log.info("renewal.released", extra={"build": claim.build.id, "reason": reason})
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

    def release_all(self, reason: str, *, interrupted: bool, policy: RetryPolicy) -> list[str]:
        """Release all that is still claimed, within about the policy's deadline.

        What can't be released is reclaimed by a later pass. Return the ids of the builds that were.
        """
        end = self._clock() + policy.deadline
        released = []
        for claim in list(self._held.values()):
            if self._clock() > end:
                log.warning("release.failed", extra={"build": claim.build.id, "reason": "no time"})
                continue
            try:
                self.release(claim, reason, interrupted=interrupted, policy=policy)
                released.append(claim.build.id)
            except _FAILURES as error:
                log.warning("release.failed", extra={"build": claim.build.id, "reason": str(error)})
        return released

    # -- below --------------------------------------------------------------------------------

    def _pause_heartbeat(self, claim: Claim, policy: RetryPolicy | None = None) -> None:
        """Stop a claim's heartbeat and wait for one under way: it could undo the next write."""
        self._quiet.add(claim.mark)
        if self._lock.acquire(timeout=-1 if policy is None else policy.timeout):
            self._lock.release()

    def _is_beating(self, build: str) -> bool:
        return any(held.build.id == build for held in self._beating_claims())

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
            self._checks.set_pending(
                check, reason, interruptions=interruptions, mark=claim.mark, policy=policy
            )
            log.info(
                "check.released",
                extra={"build": check.build, "check": check.id, "reason": reason},
            )
