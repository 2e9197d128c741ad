"""One pass: what discovery finds, in order, through download, scan and verdict.

While clamscan scans one artifact, the next one downloads, across builds too; the scans themselves
go one after another. Nothing here prints or exits.

What breaks a pass at the scan of a file counts as an interruption of that build, so that in the end
it is an `error` and the others get on. An engine or a disk that fails counts only if it works again
without the file: a fresh clamscan finds its canary, and there is room. Otherwise it is the
installation that fails, which is no build's fault.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from avscan.backend import discovery, journal
from avscan.backend.backlog import Backlog
from avscan.backend.discovery import Job, Plan
from avscan.backend.download import Artifact
from avscan.backend.fetch import Fetch, Fetched, Fetcher
from avscan.backend.journal import Interruption
from avscan.backend.ledger import Claim, Ledger, Settlement
from avscan.backend.pocketbase import PocketBase, Rejected
from avscan.backend.transport import FAREWELL, PARTING, Patience
from avscan.errors import (
    AvscanError,
    BackendError,
    EngineError,
    Interrupted,
    WorkspaceError,
    unmasked,
)
from avscan.events import Left, Listener, Scanned, Scanning, Settled, ignore
from avscan.heartbeat import Heartbeat
from avscan.inspection import Inspector, Scanner, failure
from avscan.records import Check, Status
from avscan.verdict import FileReport, Policies, Verdict, judge
from avscan.workspace import Workspace

log = logging.getLogger(__name__)

V = TypeVar("V")
R = TypeVar("R")

# A long pass does this often what the next pass would have done, had it not lasted.
REDISCOVER = 60.0
# So long a build's files are scanned one after another, before other builds that wait get a turn.
TURN = 60.0
# Verdicts that one pass renews: few, so that new builds never wait long for old ones.
RENEWALS = 10


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a pass did; `bytes` were downloaded, `seconds` are its whole time."""

    discovered: int = 0
    reopened: int = 0
    reclaimed: int = 0
    removed: int = 0
    renewed: int = 0
    scanned: int = 0
    clean: int = 0
    infected: int = 0
    errors: int = 0
    files: int = 0
    bytes: int = 0
    failed: int = 0
    signatures: str | None = None
    seconds: float = 0.0

    def count(self, verdict: Verdict) -> None:
        """Count a settled build."""
        self.scanned += 1
        self.clean += verdict.status is Status.CLEAN
        self.infected += verdict.status is Status.INFECTED
        self.errors += verdict.status is Status.ERROR


@dataclass(slots=True, kw_only=True)
class _Scan:
    """A claimed build under scan: what is known of its files so far, and which are still to come."""

    claim: Claim
    unfetched: list[str] = field(default_factory=list)
    reports: list[FileReport] = field(default_factory=list)
    abandoned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A file that is to be scanned, on its way to the disk."""

    scan: _Scan
    fetch: Fetch


class Sweep:
    """A pass under way.

    Where there are many builds, `full_turn` is asked now and then whether to compare all of them
    with all checks, which costs more than to look at what changed lately, and `indexed` then whether
    the unique index stands. `listen` is told of what it does.
    """

    def __init__(
        self,
        *,
        client: PocketBase,
        ledger: Ledger,
        fetcher: Fetcher,
        scanner: Scanner,
        workspace: Workspace,
        policies: Policies,
        stuck_after: timedelta,
        rescan_after: timedelta = timedelta(0),
        full_turn: Callable[[], bool],
        indexed: Callable[[], bool],
        wanted: Callable[[str], bool] = lambda _: True,
        listen: Listener = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = Summary()
        self._client = client
        self._ledger = ledger
        self._fetcher = fetcher
        self._scanner = scanner
        self._inspector = Inspector(scanner, workspace, policies, clock)
        self._policies = policies
        self._stuck_after = stuck_after
        self._rescan_after = rescan_after
        self._full_turn = full_turn
        self._indexed = indexed
        self._wanted = wanted
        self._listen = listen
        self._clock = clock
        self._backlog = Backlog()
        self._aside: dict[str, _Scan] = {}
        self._looked = clock()
        self._rest: Iterator[Plan] | None = None  # of a comparison that was begun in the midst

    def run(self, *, full: bool) -> Summary:
        """Do a pass: find what there is, scan all that waits, settle each build.

        `full` compares all builds at once, whether or not it is their turn.

        Raises:
            AvscanError: what is wrong with the installation; all claims are given back.

        """
        started = self._clock()
        try:
            with unmasked(), Heartbeat(self._ledger.beat):
                for plan in self._plans(full=lambda: full or self._full_turn()):
                    self._apply(plan)
                    self._scan_backlog()
                self._renew()
        except BaseException as error:
            stopped = isinstance(error, Interrupted)
            if stopped:
                reason, patience = f"the pass was stopped: {error}", PARTING
            else:
                reason, patience = f"the pass ended early: {type(error).__name__}", FAREWELL
            self._release_all(reason, patience, interrupted=stopped)
            raise
        finally:
            self._fetcher.stop()
            self.summary.seconds = round(self._clock() - started, 3)
        return self.summary

    def _release_all(self, reason: str, patience: Patience, *, interrupted: bool) -> None:
        try:
            self._ledger.release_all(reason, interrupted=interrupted, patience=patience)
        except Interrupted as signal:  # it is told to stop while it ends by itself
            reason = f"the pass was stopped: {signal}"
            self._ledger.release_all(reason, interrupted=interrupted, patience=PARTING)
            raise

    # -- finding ------------------------------------------------------------------------------

    def _plans(self, *, full: Callable[[], bool]) -> Iterator[Plan]:
        self._looked = self._clock()
        return discovery.plans(
            self._client, stuck_after=self._stuck_after, full=full, indexed=self._indexed
        )

    def _apply(self, plan: Plan) -> None:
        """Write what a plan says for the builds that are ours, and queue what waits after it."""
        plan = plan.only(self._wanted)
        for check in plan.orphans:
            self.summary.removed += bool(self._try(check.build, self._ledger.remove, check))
        if plan.jobs or plan.stuck or plan.changed or plan.new:
            self._load_meanwhile()
        self._backlog.add(plan.jobs)
        for check, _ in plan.stuck:
            job = self._try(check.build, self._ledger.reclaim, check)
            self.summary.reclaimed += self._queue(job)
        for check, _ in plan.changed:
            job = self._try(check.build, self._ledger.reopen, check)
            self.summary.reopened += self._queue(job)
        for build in plan.new:
            self.summary.discovered += self._queue(self._try(build.id, self._ledger.open, build))

    def _renew(self) -> None:
        """Have a few of the oldest verdicts made anew, if verdicts are to be renewed.

        Each waits for its own scan only, and none does before clamscan is known to work.
        """
        if not self._rescan_after:
            return
        before = self._client.server_time() - self._rescan_after
        found = discovery.verdicts(self._client, status=None, before=before)
        old = [check for check in found if self._wanted(check.build)][:RENEWALS]
        if old:
            self._warm_up()
            self._scanner.prove()
        for check in old:
            job = self._try(check.build, self._put_back, check)
            self.summary.renewed += self._queue(job)
            self._scan_backlog()

    def _put_back(self, check: Check) -> Job | None:
        return self._ledger.rescan(check, f"renewed after {self._rescan_after.days} days")

    def _queue(self, job: Job | None) -> bool:
        if job is not None:
            self._backlog.add([job])
        return job is not None

    def _try(self, build: str, write: Callable[[V], R], value: V) -> R | None:
        """Do what concerns one build; where PocketBase fails on it, a later pass does it."""
        try:
            return write(value)
        except BackendError as error:
            self._postpone(build, error)
            return None

    # -- scanning -----------------------------------------------------------------------------

    def _scan_backlog(self) -> None:
        """Scan all that waits: each step's download runs while the step before it is scanned.

        Where nothing waits it still looks for what is new, when it is time for that.
        """
        while True:
            steps = self._steps()
            step = next(steps, None)
            while step is not None:
                following = None
                try:
                    with self._counted(step.scan.claim):
                        self._record(step.scan, step.fetch.name)
                        outcome = self._outcome(step)
                    following = next(steps, None)
                    with self._counted(step.scan.claim):
                        self._finish(step, outcome)
                finally:
                    step.fetch.target.unlink(missing_ok=True)
                step = following
            if not self._backlog:
                return

    def _steps(self) -> Iterator[_Step]:
        """Claim one build after another, and begin the download of one file after another.

        A build that has had its time lets others go first, between two of its files.
        """
        while (job := self._next_job()) is not None:
            scan = self._aside.pop(job.build, None) or self._begin(job)
            end = self._clock() + TURN
            while scan and scan.unfetched and not scan.abandoned:
                if self._clock() > end:
                    self._aside[job.build] = scan
                    self._backlog.put_aside(job)
                    break
                fetch = self._fetcher.start(scan.claim.build, scan.unfetched.pop(0))
                yield _Step(scan=scan, fetch=fetch)

    def _next_job(self) -> Job | None:
        self._look_around()
        while self._rest is not None and not self._backlog:
            self._look_around()
        return self._backlog.take(self._client.server_time())

    def _look_around(self) -> None:
        """Do what the next pass would have done by now; of a long comparison, a part each time.

        So that what it opens does not keep waiting what has come meanwhile.
        """
        try:
            if self._clock() - self._looked >= REDISCOVER:
                plans = self._plans(full=self._full_turn)
                self._apply(next(plans))
                self._rest = self._rest or plans
            if self._rest is not None:
                if (part := next(self._rest, None)) is None:
                    self._rest = None
                else:
                    self._apply(part)
        except BackendError as error:
            self._rest = None
            log.warning("discovery.failed", extra={"reason": str(error)})
            if self._client.failing:
                raise

    def _begin(self, job: Job) -> _Scan | None:
        """Claim a build and check that there is something to scan; None where there is not."""
        self._warm_up()
        claim = self._try(job.build, self._ledger.claim, job)
        if claim is None:
            return None
        log.info("build.started", extra={"build": claim.build.id, "files": len(claim.files)})
        reports = [failure(name, _given_up(each)) for name, each in claim.given_up.items()]
        unfetched = [name for name in claim.files if name not in claim.given_up]
        scan = _Scan(claim=claim, unfetched=unfetched, reports=reports)
        if unfetched:
            return scan if self._record(scan, None) else None
        self._settle(scan)
        return None

    def _record(self, scan: _Scan, file: str | None) -> bool:
        """Record the file under inspection; a build for which that fails is not scanned on."""
        if scan.abandoned:
            return False
        try:
            scan.abandoned = not self._ledger.inspect(scan.claim, file)
        except BackendError as error:
            self._abandon(scan, error)
        return not scan.abandoned

    def _warm_up(self) -> None:
        self._engine()  # what can't scan claims nothing
        self._scanner.warm_up()

    def _engine(self) -> str:
        """Ask each time: a long pass renews its clamscan, and with it the signatures."""
        self.summary.signatures = str(self._scanner.version())
        return self.summary.signatures

    def _load_meanwhile(self) -> None:
        """Begin loading the signatures while checks are written: they are, whether it works or not.

        What fails here fails again, and ends the pass, at the first scan.
        """
        with suppress(EngineError):
            self._warm_up()

    def _outcome(self, step: _Step) -> Fetched | BackendError:
        try:
            return self._fetcher.result(step.fetch)
        except BackendError as error:
            return error

    def _finish(self, step: _Step, outcome: Fetched | BackendError) -> None:
        """Scan a downloaded file; settle its build after the last one."""
        scan = step.scan
        if scan.abandoned:
            return
        if not self._ledger.holds(scan.claim):
            scan.abandoned = True
            return
        if isinstance(outcome, BackendError):
            self._abandon(scan, outcome)
            return
        scan.reports.append(self._report(step, outcome))
        if len(scan.reports) == len(scan.claim.build.files):
            self._settle(scan)
        else:
            self._record(scan, None)

    def _report(self, step: _Step, outcome: Fetched) -> FileReport:
        claim, name = step.scan.claim, step.fetch.name
        if isinstance(outcome, Artifact):
            self._listen(Scanning(build=claim.build.id, file=name, size=outcome.size))
        try:
            report = self._inspector.report(claim.build.id, name, outcome)
        except (EngineError, WorkspaceError) as error:
            step.fetch.target.unlink(missing_ok=True)
            if self._inspector.works():
                self._count(claim, error)
            raise
        if report.size is not None:
            self._listen(Scanned(build=claim.build.id, file=name))
            self.summary.files += 1
            self.summary.bytes += report.size
        return report

    @contextmanager
    def _counted(self, claim: Claim) -> Iterator[None]:
        """Count a bug that ends the pass as an interruption of the build that it was met at."""
        try:
            with unmasked():
                yield
        except AvscanError:
            raise
        except Exception as error:
            self._count(claim, error)
            raise

    def _count(self, claim: Claim, error: Exception) -> None:
        reason = f"its scan broke the pass: {type(error).__name__}"
        log.warning("build.broke_pass", extra={"build": claim.build.id, "reason": reason})
        with suppress(BackendError):
            self._ledger.release(claim, reason, interrupted=True, patience=FAREWELL)

    def _settle(self, scan: _Scan) -> None:
        build = scan.claim.build.id
        verdict = judge(scan.reports, self._policies)
        try:
            settlement = self._ledger.settle(
                scan.claim, verdict, scan.reports, self._policies, engine=self._engine()
            )
        except BackendError as error:
            self._abandon(scan, error)
            return
        fields = {"build": build, "reason": verdict.reason, "virus": verdict.virus_name or None}
        if settlement is Settlement.SETTLED:
            self.summary.count(verdict)
            log.info("build.finished", extra={"status": verdict.status, **fields})
            self._tell(scan, verdict)
        else:
            log.info("build.left", extra={"build": build, "reason": settlement})
            self._listen(Left(build=build, reason=settlement.value))

    def _tell(self, scan: _Scan, verdict: Verdict) -> None:
        claim = scan.claim
        files = claim.build.files
        known = any(journal.infected_before(check.log, files) for check in claim.checks)
        self._listen(
            Settled(
                build=claim.build,
                verdict=verdict,
                reports=tuple(scan.reports),
                at=self._client.server_time(),
                known=known,
            )
        )

    def _abandon(self, scan: _Scan, error: BackendError) -> None:
        """Give a build back that PocketBase failed on; go on with the next if there is a point."""
        scan.abandoned = True
        if not self._client.failing:
            with suppress(BackendError):
                self._ledger.release(scan.claim, "PocketBase failed while it was scanned")
        self._postpone(scan.claim.build.id, error)

    def _postpone(self, build: str, error: BackendError) -> None:
        """Leave a build to a later pass, unless what it met is no matter of one build."""
        if isinstance(error, Rejected):
            from avscan.backend.schema import require  # noqa: PLC0415 - most passes have no need of it

            require(self._client)
        self.summary.failed += 1
        log.warning("build.postponed", extra={"build": build, "reason": str(error)})
        self._listen(Left(build=build, reason=str(error)))
        if self._client.failing:
            raise error


def _given_up(interruption: Interruption) -> str:
    last = f" (last: {interruption.reason})" if interruption.reason else ""
    return f"its inspection was begun {interruption.times} times and never ended{last}"
