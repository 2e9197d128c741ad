"""The state machine of checks: all writes to `av_build_checks`.

    from       to         written by, and under which condition
    (none)     pending    any pass: the build has files and no check
    pending    scanning   a pass that claims it; the log has the claim and the file under inspection
    scanning   scanning   its claimant: another file is under inspection, or none;
                          a heartbeat, which changes only `updated`
    scanning   settled    its claimant: the check has its mark, the build has the scanned files
    scanning   pending    its claimant: the files changed, or the pass ends early;
                          any pass: no heartbeat for `stuck_after`, by PocketBase's clock
    settled    pending    any pass: the verdict is about other files than the build's;
                          an operator requests another scan
    settled    settled    a pass that renews an old verdict: the verdict and the files are the same
                          as before the scan
    any        (none)     any pass: the build is proved to be gone

A renewal writes only its verdict, so a published build stays available during the scan. Its
interruptions are not counted: renewals come after all other work, one build at a time.

If a pass dies or fails during an inspection, the check's return to `pending` counts an interruption
of the file that the log records as under inspection. A file that was interrupted `INTERRUPTIONS`
times is not inspected again.

PocketBase has no conditional update, so a claim is a mark in the log that its claimant reads again
before each further write. If two passes claim at once, both write, the later mark remains, and the
other pass drops its claim when it reads it. The digest of the file names in each verdict reveals
what changes between a read and a write: every later pass compares it with the build.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta

from avscan.backend import deadline, journal
from avscan.backend.answers import Row as Values
from avscan.backend.checks import Checks, View
from avscan.backend.claims import Claim, Settlement
from avscan.backend.deadline import Start
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
# Seconds in which PocketBase completes a write whose request was cut off.
WRITE_TIME = 0.3
# A failure of one claim must not affect the others.
_FAILURES = (BackendError, SchemaError, SignInError)


class Ledger:
    """Claims and settles builds for one pass. `intake` has the writes that need no claim.

    `beat` may be called from another thread.
    """

    def __init__(
        self,
        client: PocketBase,
        *,
        host: str,
        stuck_after: timedelta,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        start: Start = deadline.start,
    ) -> None:
        self._client = client
        self._host = host
        self._clock = clock
        self._sleep = sleep
        self._start = start
        self._checks = Checks(client)
        self.intake = Intake(
            client,
            self._checks,
            stuck_after=stuck_after,
            is_held=self._has_live_claim,
            start=start,
        )
        self._held: dict[str, Claim] = {}
        self._inspected: dict[str, str | None] = {}
        self._paused: set[str] = set()
        self._claimed_ahead: dict[str, Future[Claim | None]] = {}
        self._lock = threading.Lock()

    # -- claims -------------------------------------------------------------------------------

    def claim(self, job: Job) -> Claim | None:
        """Claim a waiting build; None if it no longer waits or another pass has claimed it.

        The claim records the first file to inspect.
        """
        if (ahead := self._claimed_ahead.pop(job.build, None)) is not None:
            claim = ahead.result()
        else:
            claim = self._new_claim(job, self._checks.read(job.build))
            claim = claim and self._write_claim(claim)
        if claim is not None:
            self._inspected[claim.mark] = claim.first
        return claim

    def _new_claim(self, job: Job, view: View) -> Claim | None:
        """Hold a claim of a build that can be claimed, and return it; it is not written yet."""
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
        # A heartbeat could undo the write. If the write fails, PocketBase may still complete it:
        # the heartbeat stays paused, so that a later pass reclaims the check.
        self._paused.add(claim.mark)
        self._held[claim.mark] = claim
        return claim

    def _write_claim(self, claim: Claim) -> Claim | None:
        """Write a new claim to its checks; None if the build is gone."""
        if claim.renews:
            return claim
        claimed = all(self._mark(check, claim, claim.first) for check in claim.checks)
        self._paused.discard(claim.mark)
        if not claimed:
            self._forget(claim)
            return None
        return claim

    def _renew(self, view: View, check: Check) -> Claim | None:
        if view.build is None or not (checks := view.unchanged(check)):
            return None
        claim = Claim(
            mark=uuid.uuid4().hex[:12],
            build=view.build,
            checks=tuple(checks),
            interruptions=(),
            started=self._client.server_time(),
            renews=True,
        )
        self._held[claim.mark] = claim
        return claim

    def inspect(self, claim: Claim, file: str | None) -> bool:
        """Record which file is under inspection; False if the claim is lost.

        None means no file: the build is paused, or between two files. A file that is recorded
        already causes no write.
        """
        if claim.renews or not self.holds(claim):
            return self.holds(claim)
        if self._inspected.get(claim.mark, "") == file:
            return True
        self._inspected.pop(claim.mark, None)
        self._pause_heartbeat(claim)
        try:
            checks = self._checks.read(claim.build.id).claimed_by(claim.mark)
            written = [self._mark(check, claim, file, mark=claim.mark) for check in checks]
        finally:
            self._paused.discard(claim.mark)
        if not any(written):
            self._forget(claim)
            return False
        self._inspected[claim.mark] = file
        return True

    def holds(self, claim: Claim) -> bool:
        """Return whether this pass has the claim, according to its last heartbeat or write."""
        return claim.mark in self._held

    def beat(self) -> None:
        """Send a heartbeat for each claim: update `updated` of its checks.

        An update without values changes only `updated`. Its answer has the log, and with it the
        mark of the current claim.
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
                if marks != {claim.mark} and claim.mark not in self._paused:
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
        following: Job | None = None,
    ) -> Settlement:
        """Write a verdict if the claim holds and the build still has the files that were scanned.

        `following` is the build that is claimed next. It is read in the same request and claimed
        while the verdict is written; `claim` returns that claim.

        `scan_time` is taken before the build is read again, so any later change of the build is
        newer. Pending checks that a hook added since the claim are settled too.
        """
        self._pause_heartbeat(claim)
        now = self._client.server_time()
        builds = [claim.build.id, *([following.build] if following else [])]
        view, *others = self._checks.read_all(builds)
        if following and (new := self._new_claim(following, others[0])) is not None:
            self._claimed_ahead[following.build] = self._start(lambda: self._write_claim(new))
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
        claimed = view.unchanged(claim.checks[0]) if claim.renews else view.claimed_by(claim.mark)
        if not claimed:
            return Settlement.LOST
        if journal.digest(view.build.files) != journal.digest(claim.build.files):
            self._set_pending(view, claim, "the build's files changed while they were scanned")
            return Settlement.CHANGED
        scan = journal.Scan(
            uploaded=min(waits_since(check, claim.build) for check in claim.checks),
            engine=engine,
            host=self._host,
            claim=claim.mark,
            started=claim.started,
            ended=now,
        )
        pending = [check for check in view.checks if check.status is Status.PENDING]
        written = 0
        for check in [*claimed, *pending]:

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
        """Set a claimed build to pending, if the claim holds.

        `interrupted` counts an interruption of the file under inspection, if there is one. The
        release of a renewal keeps its verdict.
        """
        if claim.renews:
            log.info("renewal.released", extra={"build": claim.build.id, "reason": reason})
            self._forget(claim)
            return
        self._pause_heartbeat(claim, policy)
        view = self._checks.read(claim.build.id, policy)
        if view.has_pending and not view.claimed_by(claim.mark):
            # A signal may have cut off the claim's request, which PocketBase may still complete.
            self._sleep(WRITE_TIME)
            view = self._checks.read(claim.build.id, policy)
        self._set_pending(view, claim, reason, interrupted=interrupted, policy=policy)
        self._forget(claim)

    def release_all(self, reason: str, *, interrupted: bool, policy: RetryPolicy) -> list[str]:
        """Release all claims within about the policy's deadline; return their builds' ids.

        A later pass reclaims those that can't be released.
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

    # -- internals ----------------------------------------------------------------------------

    def _pause_heartbeat(self, claim: Claim, policy: RetryPolicy | None = None) -> None:
        """Pause a claim's heartbeat and wait for a running one, which could undo the next write."""
        self._paused.add(claim.mark)
        if self._lock.acquire(timeout=-1 if policy is None else policy.timeout):
            self._lock.release()

    def _has_live_claim(self, build: str) -> bool:
        return any(held.build.id == build for held in self._beating_claims())

    def _beating_claims(self) -> list[Claim]:
        return [
            held
            for mark, held in self._held.copy().items()
            if mark not in self._paused and not held.renews
        ]

    def _forget(self, claim: Claim) -> None:
        self._held.pop(claim.mark, None)
        self._inspected.pop(claim.mark, None)
        self._paused.discard(claim.mark)

    def _mark(self, check: Check, claim: Claim, file: str | None, *, mark: str = "") -> bool:
        """Write a claim to a check, with the file under inspection; False if it is gone or lost."""
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
        for check in view.claimed_by(claim.mark):
            self._checks.set_pending(
                check, reason, interruptions=interruptions, mark=claim.mark, policy=policy
            )
            log.info(
                "check.released",
                extra={"build": check.build, "check": check.id, "reason": reason},
            )
