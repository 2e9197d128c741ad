"""From the settings to what works by them: the one place where the two wings meet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache
from platform import node
from typing import TYPE_CHECKING

from avscan import signals
from avscan.backend import discovery
from avscan.backend.discovery import Plan
from avscan.backend.fetch import Fetcher
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import Password, PocketBase, Rejected, Token, check_id
from avscan.backend.transport import Patience, Transport
from avscan.clamav import program
from avscan.clamav.program import DATABASE
from avscan.errors import AvscanError, BackendError, SchemaError, SettingsError
from avscan.events import Event, Listener, ignore
from avscan.ops.watch import Watch
from avscan.records import BUILDS, CHECKS, Check
from avscan.scanner import Scanner
from avscan.settings import Settings
from avscan.summary import Summary
from avscan.sweep import Sweep
from avscan.verdict import Policies
from avscan.workspace import Workspace

if TYPE_CHECKING:
    from avscan.ops.report import Report

log = logging.getLogger(__name__)

# Constant, since PocketBase mails its superuser about each new pair of address and user agent.
USER_AGENT = "avscan"


@contextmanager
def connect(settings: Settings) -> Iterator[PocketBase]:
    """Open a session with PocketBase.

    Raises:
        SignInError: the credentials are refused.
        BackendError: PocketBase can't be reached.

    """
    patience = Patience(attempts=settings.max_retries)
    transport = Transport(settings.url, patience=patience, user_agent=USER_AGENT)
    credentials = (
        Token(token=settings.token)
        if settings.token
        else Password(identity=settings.email, password=settings.password)
    )
    client = PocketBase(transport, credentials)
    try:
        client.sign_in()
        yield client
    finally:
        transport.close()


def make_scanner(
    settings: Settings, workspace: Workspace, server_time: Callable[[], datetime]
) -> Scanner:
    """Make the scanner of a pass; nothing is started yet."""
    return Scanner(
        clamscan=settings.clamscan,
        database=settings.signatures or DATABASE,
        canary=settings.canary,
        most=timedelta(days=settings.max_signature_age),
        folder=workspace.inspector_folder,
        server_time=server_time,
    )


def run_pass(settings: Settings, *, full: bool = False, listen: Listener = ignore) -> Summary:
    """Do one pass; `full` compares everything, which a scheduled pass does now and then.

    `listen` is told what happens, beside the webhook and the metrics of the settings.

    Raises:
        Busy: another pass is at work in the same work folder.
        AvscanError: what is wrong with the installation; no build is the worse for it.

    """

    def tell(event: Event) -> None:
        for each in (watch.listen, listen):
            try:
                each(event)
            except Exception:  # whoever looks on must not stop what they look at
                signals.check()
                log.exception("listener.failed")

    with (
        Watch(settings, user_agent=USER_AGENT) as watch,
        Workspace(settings.work_dir) as workspace,
        connect(settings) as client,
    ):
        scanner = make_scanner(settings, workspace, client.server_time)
        stuck_after = timedelta(seconds=settings.stuck_after)
        sweep = Sweep(
            client=client,
            ledger=Ledger(client, host=node(), stuck_after=stuck_after),
            fetcher=Fetcher(client, workspace, listen=tell),
            scanner=scanner,
            workspace=workspace,
            policies=Policies(opaque=settings.opaque_content, oversize=settings.oversize_content),
            timeout=settings.scan_timeout,
            stuck_after=stuck_after,
            rescan_after=timedelta(days=settings.rescan_after),
            full_turn=lambda: is_full_turn(client.server_time()),
            indexed=cache(lambda: is_indexed(client)),
            wanted=settings.shard.holds,
            listen=tell,
        )
        watch.summary = sweep.summary
        watch.requests = lambda: client.requests_made
        log.info("pass.started", extra={"url": settings.url})
        event = "pass.unfinished"
        try:
            with explained(client):
                sweep.run(full=full)
            event = "pass.finished"
        finally:
            if settings.metrics_file and sweep.summary.signatures is None:
                with suppress(AvscanError):  # it is for the figures alone
                    sweep.summary.signatures = str(
                        program.version(settings.clamscan, settings.signatures or DATABASE)
                    )
            scanner.close()
            log.info(event, extra={**asdict(sweep.summary), "requests": client.requests_made})
        return sweep.summary


def is_full_turn(now: datetime) -> bool:
    """Tell whether a scheduled pass compares all of many builds, as the server's clock has it.

    A pass has no memory of those before it. So the clock chooses five minutes of each 25, six or
    one apart: on a schedule of even steps (each minute, each tenth, each day at seven past) one
    pass of five meets one, if the step is no multiple of 25 minutes. Multiples of five minutes
    would not give that.
    """
    minutes = int(now.timestamp()) // 60
    return minutes % 25 % 6 == 0


def is_indexed(client: PocketBase) -> bool:
    """Tell whether the unique index stands; warn of those that would spare a large backend."""
    from avscan.backend.schema import ONE_CHECK, missing_indexes  # noqa: PLC0415 - imported late, as above

    missing = missing_indexes(client)
    if missing:
        columns = [index.column for index in missing]
        advice = "`avscan init --fix` adds them"
        log.warning("index.missing", extra={"columns": columns, "advice": advice})
    return ONE_CHECK not in missing


def plan_pass(settings: Settings) -> Plan:
    """Find what a full pass would do, and write nothing.

    Raises:
        AvscanError: what is wrong with the installation.

    """
    with connect(settings) as client, explained(client):
        plans = list(
            discovery.plans(
                client,
                stuck_after=timedelta(seconds=settings.stuck_after),
                full=lambda: True,
                indexed=lambda: is_indexed(client),
            )
        )
        return Plan(
            orphans=plans[0].orphans,
            stuck=plans[0].stuck,
            changed=tuple(dict.fromkeys(pair for plan in plans for pair in plan.changed)),
            new=tuple(dict.fromkeys(build for plan in plans for build in plan.new)),
            jobs=plans[0].jobs,
        ).only(settings.shard.holds)


def status(settings: Settings, *, window: timedelta) -> Report:
    """Report how it stands, over a window that ends now.

    Raises:
        AvscanError: PocketBase can't say.

    """
    # Imported late: a pass has no need of them.
    from avscan.ops.reading import read  # noqa: PLC0415
    from avscan.ops.report import report  # noqa: PLC0415

    with connect(settings) as client, explained(client):
        stuck_after = timedelta(seconds=settings.stuck_after)
        return report(read(client, window=window, stuck_after=stuck_after))


def checks_in_full(settings: Settings, build: str) -> list[Check]:
    """Read the checks of a build with all of their logs, the newest first.

    Raises:
        SettingsError: there is no such build.
        AvscanError: PocketBase can't say.

    """
    try:
        check_id(build)
    except BackendError as error:
        raise SettingsError(str(error)) from error
    with connect(settings) as client, explained(client):
        rows = client.page(CHECKS, where=f'build = "{build}"', sort="-created,id")
        if not rows and not client.page(BUILDS, where=f'id = "{build}"', fields=("id",), limit=1):
            raise SettingsError(f"there is no build {build}")
        return [Check.parse(row) for row in rows]


@contextmanager
def explained(client: PocketBase) -> Iterator[None]:
    """Say what is wrong with the collections where PocketBase rejects a question about them."""
    try:
        yield
    except (Rejected, SchemaError):
        from avscan.backend.schema import require  # noqa: PLC0415 - imported late, as the engine is

        require(client)
        raise
