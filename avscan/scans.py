"""The scans of a pass: claim, download, inspection and verdict of each waiting build.

Files download ahead. A build is claimed when its first file is downloaded and an inspector is ready.
Scans are sequential. To limit the delay by a slow artifact, its inspector is paused after a minute,
and a second one scans other builds whose files are downloaded. There are never more than two. If the
second scan is slow too, it is given up, and repeated when no inspector is paused. A build whose scan
was interrupted before is also scanned only when none is paused, since it may end the pass.

If an inspector ends unexpectedly, this counts as an interruption of the file under inspection, which
is an error after several of them. If a new inspector does not find its canary either, or the disk is
full, the installation is the cause, and nothing is counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import assert_never

from avscan import signals
from avscan.backend import journal
from avscan.backend.answers import Rejected
from avscan.backend.backlog import Backlog
from avscan.backend.claims import Claim, Settlement
from avscan.backend.discovery import Job
from avscan.backend.download import Artifact, Missing, TooLarge
from avscan.backend.fetch import Fetched, Fetcher
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.backend.schema import require
from avscan.errors import BackendError
from avscan.events import Listener, Scanned, Scanning, Settled, Unsettled
from avscan.inspection import TICK, GaveWay, failure, inspect
from avscan.inspector.process import Broken, Inspector
from avscan.records import Status
from avscan.scanner import Scanner
from avscan.summary import Summary
from avscan.verdict import Cause, FileReport, Policies, judge
from avscan.workspace import Workspace

log = logging.getLogger(__name__)

TURN = 60.0
"""Seconds of scanning a build before other waiting builds get a turn."""

OTHERS_TURN = 300.0
"""Seconds of scanning other builds before a paused build gets another turn."""

MAX_QUEUED = 4
"""The maximum number of builds whose files download ahead."""


@dataclass(slots=True, kw_only=True)
class _Scan:
    """A claimed build: the files still to be inspected, and the reports on the others."""

    job: Job
    claim: Claim
    waiting: list[str]
    reports: list[FileReport] = field(default_factory=list)


class Scans:
    """Scans the builds of a backlog.

    `timeout` is the limit for one artifact, in seconds without pauses. `rediscover` is called
    regularly to add new builds to the backlog. It returns whether it has more to add.
    """

    def __init__(
        self,
        *,
        client: PocketBase,
        ledger: Ledger,
        fetcher: Fetcher,
        scanner: Scanner,
        workspace: Workspace,
        backlog: Backlog,
        policies: Policies,
        timeout: float,
        summary: Summary,
        rediscover: Callable[[], bool],
        listen: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._fetcher = fetcher
        self._scanner = scanner
        self._workspace = workspace
        self._backlog = backlog
        self._policies = policies
        self._timeout = timeout
        self._summary = summary
        self._rediscover = rediscover
        self._listen = listen
        self._clock = clock
        self._queue: list[Job] = []
        self._deferred: dict[str, _Scan] = {}
        self._current: list[_Scan] = []

    def run(self) -> None:
        """Scan until no build waits.

        Raises:
            AvscanError: the installation does not work.

        """
        while True:
            more = self._tick()
            if (job := self._ready_job()) is not None:
                self._scan(job)
            elif self._queue:
                self._fetcher.wait(TICK, alone=True)
            elif not (self._backlog or more):
                return

    def warm_up(self) -> None:
        """Start to load the signatures. Raise EngineError if they are missing or too old."""
        self._scanner.warm_up()
        self._summary.signatures = self._scanner.version()

    def postpone(self, build: str, error: BackendError) -> None:
        """Leave a build to a later pass. Raise if the error concerns all builds."""
        if isinstance(error, Rejected):
            require(self._client)
        self._summary.failed += 1
        log.warning("build.postponed", extra={"build": build, "reason": str(error)})
        self._listen(Unsettled(build=build, reason=str(error)))
        if self._client.failing:
            raise error

    # -- which build is next ------------------------------------------------------------------

    def _tick(self) -> bool:
        """Check for signals, look for new builds, and start downloads.

        Return whether there may be more builds to discover.
        """
        signals.check()
        more = self._rediscover()
        self._fetcher.want(self._files())
        while (len(self._queue) < MAX_QUEUED or self._fetcher.is_idle) and (
            job := self._backlog.take(self._client.server_time())
        ):
            self._queue.append(job)
            self._fetcher.want(self._files())
        return more

    def _files(self) -> Iterator[tuple[str, str]]:
        """Yield the files to download, in the order of their scans."""
        for scan in reversed(self._current):
            yield from ((scan.claim.build.id, name) for name in scan.waiting)
        for job in sorted(self._queue, key=self._must_run_alone):
            deferred = self._deferred.get(job.build)
            yield from ((job.build, name) for name in (deferred.waiting if deferred else job.files))

    def _must_run_alone(self, job: Job) -> bool:
        """Return whether a build must not be scanned while another one is paused."""
        return job.build in self._deferred or job.interruptions > 0

    def _ready_job(self) -> Job | None:
        """Return the first build whose next file is downloaded. Builds that must run alone come last."""
        for job in sorted(self._queue, key=self._must_run_alone):
            if self._must_run_alone(job) and self._scanner.is_paused:
                return None
            deferred = self._deferred.get(job.build)
            files = deferred.waiting if deferred else job.files
            if not files or self._fetcher.is_ready(job.build, files[0]):
                return job
        return None

    def _others_wait(self) -> bool:
        """Return whether another build can be scanned now, while the current one is paused."""
        job = self._ready_job()
        return job is not None and not self._must_run_alone(job)

    # -- one build ----------------------------------------------------------------------------

    def _scan(self, job: Job) -> None:
        """Scan a build to its verdict, or until other builds get a turn."""
        scan = self._deferred.pop(job.build, None) or self._begin(job)
        self._queue.remove(job)
        if scan is None:
            return
        self._current.append(scan)
        try:
            if self._inspect_files(scan):
                self._settle(scan)
        except BackendError as error:
            self._abandon(scan, error)
        finally:
            self._current.pop()

    def _begin(self, job: Job) -> _Scan | None:
        """Claim a build once an inspector is ready. Return None if it can't be claimed."""
        self.warm_up()
        self._scanner.inspector(self._tick)
        try:
            claim = self._ledger.claim(job)
        except BackendError as error:
            self.postpone(job.build, error)
            return None
        if claim is None:
            return None
        log.info("build.started", extra={"build": job.build, "files": len(claim.files)})
        reports = [
            failure(
                name,
                f"its inspection was begun {each.times} times and never ended"
                f" (last: {each.reason})",
                Cause.SCAN,
            )
            for name, each in claim.given_up.items()
        ]
        waiting = [name for name in claim.files if name not in claim.given_up]
        return _Scan(job=job, claim=claim, waiting=waiting, reports=reports)

    def _inspect_files(self, scan: _Scan) -> bool:
        """Inspect the remaining files. Return whether the verdict can be written."""
        end = self._clock() + TURN
        while scan.waiting:
            if not self._await_file(scan, end):
                self._defer(scan)
                return False
            name = scan.waiting.pop(0)
            fetched = self._fetcher.take(scan.claim.build, name)
            report = self._report(scan, name, fetched)
            if report is None:
                return False
            scan.reports.append(report)
        return self._ledger.holds(scan.claim)

    def _await_file(self, scan: _Scan, end: float) -> bool:
        """Wait for the next file of a build. Return False if other builds get a turn."""
        paused = self._scanner.is_paused
        while True:
            self._tick()
            if self._clock() > end and (paused or self._others_wait()):
                return False
            if self._fetcher.is_ready(scan.claim.build.id, scan.waiting[0]):
                return True
            self._fetcher.wait(TICK, alone=not paused)

    def _report(self, scan: _Scan, name: str, fetched: Fetched) -> FileReport | None:
        match fetched:
            case Artifact():
                return self._examine(scan, name, fetched)
            case Missing():
                return failure(name, "missing from the storage", Cause.MISSING)
            case TooLarge(size=size, capacity=capacity):
                return failure(
                    name, f"of {size} bytes, more than the disk's {capacity}", Cause.SCAN
                )
            case _:
                assert_never(fetched)

    def _examine(self, scan: _Scan, name: str, artifact: Artifact) -> FileReport | None:
        """Inspect a file. Return None if there is no report yet."""
        # Before `inspect` records the file: a failure to load signatures is not its fault.
        inspector = self._scanner.inspector(self._tick)
        build = scan.claim.build.id
        if not self._ledger.inspect(scan.claim, name):
            artifact.path.unlink(missing_ok=True)
            return None
        scanning = Scanning(build=build, file=name, size=artifact.size)
        self._listen(scanning)
        pause = _Pause(after=TURN)
        try:
            outcome = inspect(
                inspector,
                build,
                name,
                artifact,
                policies=self._policies,
                timeout=self._timeout,
                meanwhile=lambda: self._while_inspecting(scan, scanning, inspector, pause),
            )
        finally:
            # After an exception, its late result must not be taken for the next file's.
            if not inspector.works:
                self._scanner.discard(inspector)
        if not self._scanner.is_paused:
            self._scanner.release_second()
        self._listen(Scanned(build=build, file=name))
        match outcome:
            case FileReport():
                if outcome.examination.errors:
                    self._workspace.require_room()
                self._summary.files += 1
                self._summary.bytes += artifact.size
                return outcome
            case Broken(reason=reason):
                self._interrupted(scan, reason)
            case GaveWay():
                scan.waiting.insert(0, name)
                self._defer(scan)
            case _:
                assert_never(outcome)
        return None

    def _while_inspecting(
        self, scan: _Scan, scanning: Scanning, inspector: Inspector, pause: _Pause
    ) -> bool:
        """Scan other builds if the file is slow. Return False to give up the inspection."""
        self._tick()
        if not self._ledger.holds(scan.claim):
            return False
        if inspector.ran < pause.after or not self._others_wait():
            return True
        if self._scanner.is_paused or not self._ledger.inspect(scan.claim, None):
            return False
        log.info("file.paused", extra={"build": scanning.build, "file": scanning.file})
        with self._scanner.pausing(inspector):
            end = self._clock() + OTHERS_TURN
            while self._clock() < end and (job := self._ready_job()) is not None:
                self._scan(job)
                self._tick()
            pause.after = inspector.ran + (TURN if self._clock() >= end else 0.0)
            held = self._ledger.inspect(scan.claim, scanning.file)
        self._listen(scanning)
        log.info("file.resumed", extra={"build": scanning.build, "file": scanning.file})
        return held

    def _defer(self, scan: _Scan) -> None:
        """Continue with a build later, and keep its claim."""
        if self._ledger.inspect(scan.claim, None):
            self._deferred[scan.claim.build.id] = scan
            self._backlog.put_aside(scan.job)

    def _interrupted(self, scan: _Scan, reason: str) -> None:
        """Count an interruption of the current file. Raise if the installation does not work."""
        self._scanner.inspector(self._tick)
        self._workspace.require_room()
        self._ledger.release(scan.claim, reason, interrupted=True)
        if scan.claim.renews:
            return
        self._backlog.add([replace(scan.job, interruptions=scan.job.interruptions + 1)])

    def _settle(self, scan: _Scan) -> None:
        build = scan.claim.build.id
        verdict = judge(scan.reports, self._policies)
        # While an artifact is paused, it may be next, and end the pass: its death must not count
        # against a build that was claimed ahead.
        following = None if self._scanner.is_paused else self._ready_job()
        settlement = self._ledger.settle(
            scan.claim,
            verdict,
            scan.reports,
            self._policies,
            engine=self._scanner.version(),
            following=following,
        )
        fields = {"build": build, "reason": verdict.reason, "virus": verdict.virus_name or None}
        if settlement is not Settlement.SETTLED:
            log.info("build.unsettled", extra={"build": build, "reason": settlement})
            self._listen(Unsettled(build=build, reason=settlement.value))
            return
        self._summary.count(verdict)
        level = logging.INFO if verdict.status is Status.CLEAN else logging.WARNING
        log.log(level, "build.finished", extra={"status": verdict.status, **fields})
        files = scan.claim.build.files
        known = any(
            journal.judged_before(check.log, files, verdict.status) for check in scan.claim.checks
        )
        self._listen(
            Settled(
                build=scan.claim.build,
                verdict=verdict,
                reports=tuple(scan.reports),
                at=self._client.server_time(),
                known=known,
            )
        )

    def _abandon(self, scan: _Scan, error: BackendError) -> None:
        """Release a build after an error of PocketBase."""
        if not self._client.failing:
            with suppress(BackendError):
                self._ledger.release(scan.claim, "PocketBase failed while it was scanned")
        self.postpone(scan.claim.build.id, error)


@dataclass(slots=True)
class _Pause:
    """The running time in seconds after which an artifact is paused."""

    after: float
