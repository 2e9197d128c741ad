"""`run_pass` does a pass; `plan_pass` computes what a pass would do, without writes."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta

from avscan import signals
from avscan.backend import discovery
from avscan.backend.discovery import Plan
from avscan.backend.fetch import Fetcher
from avscan.clamav import program
from avscan.errors import AvscanError
from avscan.events import Event, Listener, ignore
from avscan.ops.watch import Watch
from avscan.settings import Settings
from avscan.summary import Summary
from avscan.sweep import Sweep
from avscan.verdict import Policies
from avscan.wiring import connect, diagnose_rejection, make_ledger, make_scanner
from avscan.workspace import Workspace

log = logging.getLogger(__name__)


def run_pass(settings: Settings, *, full: bool = False, listen: Listener = ignore) -> Summary:
    """Do one pass.

    `full` compares all builds with all checks, which other passes do at random. `listen` receives
    the events of the pass.

    Raises:
        Busy: another pass uses the same work folder.
        AvscanError: the installation does not work; claimed builds are pending again.

    """

    def notify(event: Event) -> None:
        for each in (watch.listen, listen):
            try:
                each(event)
            except Exception:  # a listener must not end the pass
                signals.check()
                log.exception("listener.failed")

    with (
        Watch(settings) as watch,
        Workspace(settings.work_dir) as workspace,
        connect(settings) as client,
    ):
        scanner = make_scanner(settings, workspace, client.server_time)
        sweep = Sweep(
            client=client,
            ledger=make_ledger(settings, client),
            fetcher=Fetcher(client, workspace, listen=notify),
            scanner=scanner,
            workspace=workspace,
            policies=Policies(opaque=settings.opaque_content, oversize=settings.oversize_content),
            timeout=settings.scan_timeout,
            stuck_after=timedelta(seconds=settings.stuck_after),
            rescan_after=timedelta(days=settings.rescan_after),
            wanted=settings.shard.holds,
            listen=notify,
        )
        watch.summary = sweep.summary
        log.debug("pass.started", extra={"url": settings.url})
        event = "pass.unfinished"
        try:
            with diagnose_rejection(client):
                sweep.run(full=full)
            event = "pass.finished"
        finally:
            if settings.metrics_file and sweep.summary.signatures is None:
                with suppress(AvscanError):  # only for the metrics
                    sweep.summary.signatures = str(
                        program.version(settings.clamscan, settings.signatures)
                    )
            scanner.close()
            sweep.summary.requests = client.requests_made
            idle = {"idle": True} if sweep.summary.idle and event == "pass.finished" else {}
            log.info(event, extra=asdict(sweep.summary) | idle)
        return sweep.summary


def plan_pass(settings: Settings) -> Plan:
    """Return the plan of a full pass, without writes.

    Raises:
        AvscanError: the installation does not work.

    """
    with connect(settings) as client, diagnose_rejection(client):
        stuck_after = timedelta(seconds=settings.stuck_after)
        plans = list(discovery.plans(client, stuck_after=stuck_after, full=True))
        changed = dict.fromkeys(pair for plan in plans for pair in plan.changed)
        new = dict.fromkeys(build for plan in plans for build in plan.new)
        whole = replace(plans[0], changed=tuple(changed), new=tuple(new))
        return whole.only(settings.shard.holds)
