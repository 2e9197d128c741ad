"""One pass: what discovery finds, in order, through download, scan and verdict.

While clamscan scans one artifact, the next one downloads, across builds too; the scans themselves
go one after another. Nothing here prints or exits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar, assert_never

from avscan import discovery
from avscan.backlog import Backlog
from avscan.discovery import Job, Plan
from avscan.download import Artifact, Download, Missing, NoRoom, TooLarge, download
from avscan.errors import AvscanError, BackendError, WorkspaceError
from avscan.findings import Examination
from avscan.heartbeat import Heartbeat
from avscan.ledger import Claim, Ledger, Settlement
from avscan.pocketbase import PocketBase
from avscan.records import BUILDS, Status
from avscan.transport import FAREWELL, PARTING
from avscan.verdict import FileReport, Policies, Verdict, file_status, judge
from avscan.workspace import Workspace

log = logging.getLogger(__name__)

V = TypeVar("V")
R = TypeVar("R")

# A long pass does this often what the next pass would have done, had it not lasted.
REDISCOVER = 60.0
# A build whose scan was begun this often and never ended is not scanned again.
INTERRUPTIONS = 3
# Verdicts that one pass renews: few, so that new builds never wait long for old ones.
RENEWALS = 10


class Scanner(Protocol):
    """The engine, as a pass needs it."""

    def version(self) -> object:
        """Tell the engine's and its signatures' version, as a line of text by `str`."""
        ...

    def warm_up(self) -> None:
        """Begin loading the signatures, without waiting."""
        ...

    def examine(self, path: Path) -> Examination:
        """Scan one artifact, member by member where it can't be seen whole."""
        ...


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a pass did; `bytes` were downloaded, `seconds` are its whole time."""

    opened: int = 0
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
    """A claimed build under scan: what is known of its files so far."""

    claim: Claim
    reports: list[FileReport] = field(default_factory=list)
    abandoned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A file that is to be scanned, and its download under way."""

    scan: _Scan
    name: str
    download: Future[Download]
    target: Path


class Sweep:
    """A pass under way."""

    def __init__(
        self,
        *,
        client: PocketBase,
        ledger: Ledger,
        scanner: Scanner,
        workspace: Workspace,
        policies: Policies,
        stuck_after: timedelta,
        rescan_after: timedelta = timedelta(0),
        wanted: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = Summary()
        self._client = client
        self._ledger = ledger
        self._scanner = scanner
        self._workspace = workspace
        self._policies = policies
        self._stuck_after = stuck_after
        self._rescan_after = rescan_after
        self._wanted = wanted
        self._clock = clock
        self._backlog = Backlog()
        self._cancelled = threading.Event()
        self._looked = clock()
        self._engine = ""
        self._targets = 0

    def run(self, *, full: Callable[[], bool], indexed: Callable[[], bool]) -> Summary:
        """Do a pass: find what there is, scan all that waits, settle each build.

        `full` is asked whether to compare all builds with all checks, which costs more than to
        look at what changed lately; then `indexed` whether the unique index stands.

        Raises:
            AvscanError: what is wrong with the installation; all claims are given back.

        """
        started = self._clock()
        try:
            with Heartbeat(self._ledger.beat):
                compare = full()
                small = discovery.compare_small(self._client) if compare else None
                self._discover(small)
                self._scan_backlog()
                if compare and small is None:
                    for plan in discovery.compare_large(self._client, indexed=self._is(indexed)):
                        self._apply(plan)
                        self._scan_backlog()
                self._renew()
                self._scan_backlog()
        except AvscanError as error:
            reason = f"the pass ended early: {type(error).__name__}"
            self._ledger.release_all(reason, patience=FAREWELL)
            raise
        except BaseException as error:
            self._ledger.release_all(f"the pass was stopped: {error}", patience=PARTING)
            raise
        finally:
            self._cancelled.set()
            self.summary.seconds = round(self._clock() - started, 3)
        return self.summary

    def _is(self, indexed: Callable[[], bool]) -> bool:
        """Ask whether the index stands, and say so where a large backend would be spared by it."""
        if answer := indexed():
            return answer
        log.warning("index.missing", extra={"advice": "`avscan init --fix` adds it"})
        return False

    # -- finding ------------------------------------------------------------------------------

    def _discover(self, compared: Plan | None = None) -> None:
        """Find what there is to do; a comparison that was made knows what changed lately."""
        self._looked = self._clock()
        now = self._client.server_time()
        self._apply(discovery.waiting(self._client, now=now, stuck_after=self._stuck_after))
        self._apply(discovery.recent(self._client, now=now) if compared is None else compared)

    def _apply(self, plan: Plan) -> None:
        """Write what a plan says for the builds that are ours, and queue what waits after it."""
        plan = plan.only(self._wanted)
        for check in plan.orphans:
            self.summary.removed += bool(self._try(check.build, self._ledger.remove, check))
        self._backlog.add(plan.jobs)
        for check, _ in plan.stuck:
            job = self._try(check.build, self._ledger.take_back, check)
            self.summary.reclaimed += self._queue(job)
        for check, _ in plan.changed:
            job = self._try(check.build, self._ledger.reopen, check)
            self.summary.reopened += self._queue(job)
        for build in plan.new:
            self.summary.opened += self._queue(self._try(build.id, self._ledger.open, build))

    def _renew(self) -> None:
        """Put a few of the oldest verdicts back to pending, if verdicts are to be renewed."""
        if not self._rescan_after:
            return
        before = self._client.server_time() - self._rescan_after
        for check in discovery.verdicts(self._client, status=None, before=before, limit=RENEWALS):
            if self._wanted(check.build):
                reason = f"renewed after {self._rescan_after.days} days"
                job = self._try(check.build, lambda each: self._ledger.rescan(each, reason), check)  # noqa: B023 - called at once
                self.summary.renewed += self._queue(job)

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
        """Scan all that waits: each step's download runs while the step before it is scanned."""
        while self._backlog:
            steps = self._steps()
            step = next(steps, None)
            while step is not None:
                following = None
                try:
                    outcome = self._outcome(step)
                    following = next(steps, None)
                    self._finish(step, outcome)
                finally:
                    step.target.unlink(missing_ok=True)
                step = following

    def _steps(self) -> Iterator[_Step]:
        """Claim one build after another, and begin the download of one file after another."""
        while (job := self._next_job()) is not None:
            scan = self._begin(job)
            if scan is None:
                continue
            for name in scan.claim.build.files:
                if scan.abandoned:
                    break
                yield self._step(scan, name)

    def _next_job(self) -> Job | None:
        if self._clock() - self._looked >= REDISCOVER:
            try:
                self._discover()
            except BackendError as error:
                log.warning("discovery.failed", extra={"reason": str(error)})
                if self._client.failing:
                    raise
        return self._backlog.take(self._client.server_time())

    def _begin(self, job: Job) -> _Scan | None:
        """Claim a build and check that there is something to scan; None where there is not."""
        self._warm_up()
        claim = self._try(job.build, self._ledger.claim, job)
        if claim is None:
            return None
        log.info("build.started", extra={"build": claim.build.id, "files": len(claim.build.files)})
        scan = _Scan(claim=claim)
        if claim.interruptions >= INTERRUPTIONS:
            reason = f"its scan was begun {claim.interruptions} times and never ended"
            examination = Examination(errors=(reason,))
            scan.reports += [
                FileReport(name=name, examination=examination) for name in claim.build.files
            ]
        elif claim.build.files:
            return scan
        self._settle(scan)
        return None

    def _warm_up(self) -> None:
        if not self._engine:
            self._engine = str(self._scanner.version())
            self.summary.signatures = self._engine
        self._scanner.warm_up()

    def _step(self, scan: _Scan, name: str) -> _Step:
        self._targets += 1
        target = self._workspace.folder / f"artifact-{self._targets}"
        future: Future[Download] = Future()

        def work() -> None:
            try:
                future.set_result(self._download(scan, name, target))
            except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
                future.set_exception(error)

        # A daemon: a download that hangs on the network must not keep the process from ending.
        threading.Thread(target=work, name="download", daemon=True).start()
        return _Step(scan=scan, name=name, download=future, target=target)

    def _download(self, scan: _Scan, name: str, target: Path) -> Download:
        return download(
            self._client,
            BUILDS,
            scan.claim.build.id,
            name,
            target=target,
            workspace=self._workspace,
            cancelled=self._cancelled,
        )

    def _outcome(self, step: _Step) -> Download | BackendError:
        """Wait for a download; one that had no room beside another artifact is done now."""
        try:
            outcome = step.download.result()
            if isinstance(outcome, NoRoom):
                outcome = self._download(step.scan, step.name, step.target)
        except BackendError as error:
            return error
        if isinstance(outcome, NoRoom):
            raise WorkspaceError(
                f"{step.name} needs {outcome.size} bytes, and something else fills the disk of"
                f" WORK_DIR ({self._workspace.free()} bytes free): make room there"
            )
        return outcome

    def _finish(self, step: _Step, outcome: Download | BackendError) -> None:
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
        scan.reports.append(self._report(scan, step.name, outcome))
        if len(scan.reports) == len(scan.claim.build.files):
            self._settle(scan)

    def _report(self, scan: _Scan, name: str, outcome: Download) -> FileReport:
        match outcome:
            case Artifact():
                return self._examine(scan, name, outcome)
            case Missing():
                return _failure(name, "missing from the storage")
            case TooLarge(size=size, capacity=capacity):
                return _failure(name, f"of {size} bytes, more than the disk's {capacity}")
            case NoRoom(size=size):
                return _failure(name, f"of {size} bytes, no room on the disk")
            case _:
                assert_never(outcome)

    def _examine(self, scan: _Scan, name: str, artifact: Artifact) -> FileReport:
        where = {"build": scan.claim.build.id, "file": name, "size": artifact.size}
        log.info("file.started", extra=where)
        started = self._clock()
        examination = self._scanner.examine(artifact.path)
        if examination.errors:
            self._workspace.require_room()
        report = FileReport(
            name=name,
            examination=examination,
            size=artifact.size,
            sha256=artifact.sha256,
            seconds=self._clock() - started,
        )
        self.summary.files += 1
        self.summary.bytes += artifact.size
        log.info(
            "file.finished",
            extra=where
            | {
                "status": file_status(report, self._policies),
                "signatures": [sighting.signature for sighting in examination.sightings],
                "seconds": round(report.seconds, 3),
            },
        )
        return report

    def _settle(self, scan: _Scan) -> None:
        build = scan.claim.build.id
        verdict = judge(scan.reports, self._policies)
        try:
            settlement = self._ledger.settle(
                scan.claim, verdict, scan.reports, self._policies, engine=self._engine
            )
        except BackendError as error:
            self._abandon(scan, error)
            return
        fields = {"build": build, "reason": verdict.reason, "virus": verdict.virus_name or None}
        if settlement is Settlement.SETTLED:
            self.summary.count(verdict)
            log.info("build.finished", extra={"status": verdict.status, **fields})
        else:
            log.info("build.left", extra={"build": build, "reason": settlement})

    def _abandon(self, scan: _Scan, error: BackendError) -> None:
        """Give a build back that PocketBase failed on; go on with the next if there is a point."""
        scan.abandoned = True
        if not self._client.failing:
            with suppress(BackendError):
                self._ledger.release(scan.claim, "PocketBase failed while it was scanned")
        self._postpone(scan.claim.build.id, error)

    def _postpone(self, build: str, error: BackendError) -> None:
        self.summary.failed += 1
        log.warning("build.postponed", extra={"build": build, "reason": str(error)})
        if self._client.failing:
            raise error


def _failure(name: str, reason: str) -> FileReport:
    return FileReport(name=name, examination=Examination(errors=(reason,)))
