"""One pass: discover builds, update checks, scan. Nothing here prints or exits."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from avscan import signals
from avscan.backend import discovery
from avscan.backend.backlog import Backlog
from avscan.backend.discovery import Job, Plan
from avscan.backend.fetch import Fetcher
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.backend.transport import ON_FAILURE, ON_SIGNAL, RetryPolicy
from avscan.errors import AvscanError, BackendError, EngineError, Interrupted, SchemaError
from avscan.events import Listener, Unsettled, ignore
from avscan.heartbeat import Heartbeat
from avscan.scanner import Scanner
from avscan.scans import Scans
from avscan.summary import Summary
from avscan.verdict import Policies
from avscan.workspace import Workspace

log = logging.getLogger(__name__)

V = TypeVar("V")
R = TypeVar("R")

# Seconds after which a long pass discovers builds again.
REDISCOVER = 60.0
# The probability that a pass on a large backend compares all builds with all checks. It is random,
# since a pass has no state from earlier passes.
FULL_TURNS = 0.2
# The number of verdicts that one pass renews: few, so that new builds do not wait long.
RENEWALS = 10
# The number of oldest verdicts from which these are drawn.
RENEWAL_CANDIDATES = 100


class Sweep:
    """A pass.

    On a large backend, `full_turn` decides whether this pass compares all builds with all checks,
    instead of only those that changed recently. `listen` receives the events.
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
        timeout: float,
        stuck_after: timedelta,
        rescan_after: timedelta = timedelta(0),
        full_turn: Callable[[], bool] = lambda: random.random() < FULL_TURNS,  # noqa: S311 - no secret
        wanted: Callable[[str], bool] = lambda _: True,
        listen: Listener = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = Summary()
        self._client = client
        self._ledger = ledger
        self._fetcher = fetcher
        self._scanner = scanner
        self._stuck_after = stuck_after
        self._rescan_after = rescan_after
        self._full_turn = full_turn
        self._wanted = wanted
        self._listen = listen
        self._clock = clock
        self._backlog = Backlog()
        self._discovered_at = clock()
        self._rest: Iterator[Plan] | None = None  # of a comparison begun during a long pass
        self._scans = Scans(
            client=client,
            ledger=ledger,
            fetcher=fetcher,
            scanner=scanner,
            workspace=workspace,
            backlog=self._backlog,
            policies=policies,
            timeout=timeout,
            summary=self.summary,
            rediscover=self._rediscover,
            listen=listen,
            clock=clock,
        )

    def run(self, *, full: bool) -> Summary:
        """Discover builds, scan those that wait, and settle each.

        `full` compares all builds with all checks, whatever `full_turn` returns.

        Raises:
            AvscanError: the installation does not work; all claims are released.

        """
        started = self._clock()
        try:
            self._work(full=full)
        except AvscanError as error:
            self._release_all(f"the pass ended early: {error}", ON_FAILURE, interrupted=False)
            raise
        except Interrupted as error:
            self._release_all(f"the pass was stopped: {error}", ON_SIGNAL, interrupted=True)
            raise
        except BaseException as error:
            reason = f"the pass ended early: {type(error).__name__}"
            self._release_all(reason, ON_FAILURE, interrupted=True)
            raise
        finally:
            self._fetcher.stop()
            self.summary.seconds = round(self._clock() - started, 3)
        return self.summary

    def _work(self, *, full: bool) -> None:
        try:
            with Heartbeat(self._ledger.beat):
                for plan in self._plans(full=full or self._full_turn()):
                    self._apply(plan)
                    self._scans.run()
                self._renew()
        except Exception:
            signals.check()  # a signal may be the cause
            raise

    def _release_all(self, reason: str, policy: RetryPolicy, *, interrupted: bool) -> None:
        try:
            released = self._ledger.release_all(reason, interrupted=interrupted, policy=policy)
        except Interrupted as stop:  # a signal during the release
            reason = f"the pass was stopped: {stop}"
            self._ledger.release_all(reason, interrupted=interrupted, policy=ON_SIGNAL)
            raise
        for build in released:
            self._listen(Unsettled(build=build, reason=f"back to pending: {reason}"))

    def _plans(self, *, full: bool) -> Iterator[Plan]:
        self._discovered_at = self._clock()
        return discovery.plans(self._client, stuck_after=self._stuck_after, full=full)

    def _apply(self, plan: Plan) -> None:
        """Write the changes of a plan for the builds of this shard, and queue the waiting ones."""
        plan = plan.only(self._wanted)
        for check in plan.orphans:
            self.summary.removed += bool(self._try(check.build, self._ledger.intake.remove, check))
        if plan.jobs or plan.stuck or plan.changed or plan.new:
            self._warm_up()
        self._backlog.add(plan.jobs)
        for check, _ in plan.stuck:
            job = self._try(check.build, self._ledger.intake.reclaim, check)
            self.summary.reclaimed += self._queue(job)
        for check, _ in plan.changed:
            job = self._try(check.build, self._ledger.intake.reopen, check)
            self.summary.reopened += self._queue(job)
        for build, opening in self._ledger.intake.open_all(plan.new):
            self.summary.discovered += self._queue(self._try(build.id, Future.result, opening))

    def _warm_up(self) -> None:
        """Start to load the signatures while checks are written.

        An error occurs again at the first scan, and ends the pass there.
        """
        with suppress(EngineError):
            self._scans.warm_up()

    def _rediscover(self) -> bool:
        """Discover new builds, if that is due. Return whether a part of the comparison is left.

        A long comparison is done in parts, so that it does not delay new builds.
        """
        try:
            if self._clock() - self._discovered_at >= REDISCOVER:
                plans = self._plans(full=self._full_turn())
                self._apply(next(plans))
                self._rest = self._rest or plans
            if self._rest is not None:
                if (part := next(self._rest, None)) is None:
                    self._rest = None
                else:
                    self._apply(part)
        except (BackendError, SchemaError) as error:
            self._rest = None
            log.warning("discovery.failed", extra={"reason": str(error)})
            if self._client.failing:
                raise
        return self._rest is not None

    def _renew(self) -> None:
        """Renew a few old verdicts, if RESCAN_AFTER is set. Each stays until its new verdict.

        They are drawn at random from the oldest, so that one that ends each pass does not block the
        others.
        """
        if not self._rescan_after:
            return
        before = self._client.server_time() - self._rescan_after
        found = discovery.verdicts(
            self._client, discovery.Verdicts(before=before), page=RENEWAL_CANDIDATES
        )
        old = [check for check in islice(found, RENEWAL_CANDIDATES) if self._wanted(check.build)]
        for check in random.sample(old, min(RENEWALS, len(old))):
            job = self._try(check.build, self._ledger.intake.renewal, check)
            self.summary.renewed += self._queue(job)
            self._scans.run()

    def _queue(self, job: Job | None) -> bool:
        if job is not None:
            self._backlog.add([job])
        return job is not None

    def _try(self, build: str, write: Callable[[V], R], value: V) -> R | None:
        """Do a write for one build. After an error of PocketBase, a later pass repeats it."""
        try:
            return write(value)
        except BackendError as error:
            self._scans.postpone(build, error)
            return None
