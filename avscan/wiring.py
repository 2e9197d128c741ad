"""From the settings to what works by them: the one place where the two wings meet."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from platform import node
from typing import TYPE_CHECKING

from avscan.backend import discovery
from avscan.backend.discovery import Plan
from avscan.backend.fetch import Fetcher
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import Password, PocketBase, Rejected, Token, check_id
from avscan.backend.transport import Patience, Transport
from avscan.errors import AvscanError, BackendError, SchemaError, SettingsError, unmasked
from avscan.events import Event, Listener, ignore
from avscan.findings import Collector, Examination
from avscan.ops.watch import Watch
from avscan.records import BUILDS, CHECKS, Check, Status
from avscan.settings import Settings
from avscan.sweep import Summary, Sweep
from avscan.verdict import Policies
from avscan.workspace import Workspace

if TYPE_CHECKING:
    from avscan.clamav.clamscan import Clamscan
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


def engine(settings: Settings, folder: Path) -> Clamscan:
    """Make clamscan as the settings want it, at work in a folder; nothing is started yet."""
    # Imported late: a pass that has nothing to do is mostly its imports.
    from avscan.clamav.clamscan import Clamscan  # noqa: PLC0415

    return Clamscan(
        program=settings.clamscan,
        workspace=folder,
        database=settings.signatures,
        timeout=settings.scan_timeout,
        canary=settings.canary,
    )


class LazyScanner:
    """The engine of one pass, made when there is something to scan, which mostly there is not."""

    def __init__(self, settings: Settings, client: PocketBase, folder: Path) -> None:
        self._settings = settings
        self._client = client
        self._folder = folder
        self._made: Clamscan | None = None
        self._warned = False

    @property
    def _clamscan(self) -> Clamscan:
        if self._made is None:
            self._made = engine(self._settings, self._folder)
        return self._made

    def signatures(self) -> str:
        """Tell the version, however old the signatures are.

        Raises:
            EngineError: clamscan does not work.

        """
        return str(self._clamscan.version())

    def version(self) -> str:
        """Tell the version, unless there are no signatures yet or the official ones are too old.

        Raises:
            EngineError: that is so, or clamscan does not work.

        """
        from avscan.clamav import signatures  # noqa: PLC0415 - imported late, as the engine is

        signatures.require(self._settings.signatures)
        version = self._clamscan.version()
        now, most = self._client.server_time(), timedelta(days=self._settings.max_signature_age)
        signatures.require_fresh(version, now=now, most=most)
        if most and signatures.age(version, now) is None and not self._warned:
            log.warning("signatures.of_unknown_age", extra={"engine": str(version)})
            self._warned = True
        return str(version)

    def warm_up(self) -> None:
        """Begin loading the signatures, without waiting."""
        self._clamscan.warm_up()

    def prove(self) -> None:
        """Wait until clamscan has found its canary.

        Raises:
            EngineError: it does not.

        """
        self._clamscan.prove()

    def examine(self, path: Path) -> Examination:
        """Scan one artifact, member by member where it can't be seen whole."""
        from avscan.archives.bounds import Bounds  # noqa: PLC0415
        from avscan.archives.unpack import examine  # noqa: PLC0415

        found = Collector()
        examine(
            path,
            engine=self._clamscan,
            workspace=self._folder,
            bounds=Bounds(),
            report=found.add,
        )
        return found.examination()

    def close(self) -> None:
        """End clamscan."""
        if self._made is not None:
            self._made.close()


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
                with unmasked():
                    each(event)
            except Exception:  # whoever looks on must not stop what they look at
                log.exception("listener.failed")

    with (
        Watch(settings, user_agent=USER_AGENT) as watch,
        Workspace(settings.work_dir) as workspace,
        connect(settings) as client,
    ):
        scanner = LazyScanner(settings, client, workspace.folder)
        stuck_after = timedelta(seconds=settings.stuck_after)
        sweep = Sweep(
            client=client,
            ledger=Ledger(client, host=node(), stuck_after=stuck_after),
            fetcher=Fetcher(client, workspace, listen=tell),
            scanner=scanner,
            workspace=workspace,
            policies=Policies(opaque=settings.opaque_content, oversize=settings.oversize_content),
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
                    sweep.summary.signatures = scanner.signatures()
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


def rescan(
    settings: Settings, builds: Sequence[str], *, status: Status | None, age: timedelta
) -> Iterator[str]:
    """Put verdicts back to pending: of these builds, or all of a status and an age; tell whose.

    What somebody corrected by hand is put back only where its build is named.

    Raises:
        SettingsError: what names a build is no id.
        AvscanError: what is wrong with the installation.

    """
    try:
        builds = [check_id(build) for build in builds]
    except BackendError as error:
        raise SettingsError(str(error)) from error
    with connect(settings) as client, explained(client):
        stuck_after = timedelta(seconds=settings.stuck_after)
        ledger = Ledger(client, host=node(), stuck_after=stuck_after)
        # Our view of the server's time is late by up to a second, and a verdict may be that young.
        before = client.server_time() + timedelta(minutes=1) - age
        for checks in _chosen(client, builds, status, before):
            for check in checks:
                if ledger.rescan(check, "an operator asked for another scan"):
                    yield check.build


def _chosen(
    client: PocketBase, builds: Sequence[str], status: Status | None, before: datetime
) -> Iterator[list[Check]]:
    """Choose verdicts; what was put back is no verdict any more, so each page is the first."""
    if builds:
        yield [
            check
            for check in discovery.checks_of(client, builds)
            if status in {None, check.status} and (check.scan_time or check.updated) < before
        ]
        return
    seen: set[str] = set()
    while page := discovery.verdicts(client, status=status, before=before):
        if seen.issuperset(check.id for check in page):
            return
        seen.update(check.id for check in page)
        yield page


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
