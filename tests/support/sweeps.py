"""A pass in the test's process, over a real PocketBase, with a scripted engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from avscan.backend.fetch import Fetcher
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.events import Listener, ignore
from avscan.scanner import Scanner
from avscan.summary import Summary
from avscan.sweep import Sweep
from avscan.verdict import Policies
from avscan.workspace import Workspace
from support.backend import Backend
from support.scanner import Script, ScriptedScanner

STUCK_AFTER = timedelta(seconds=90)
GIB = 1 << 30


class Disk(Workspace):
    """A work folder on a disk with `room` free bytes."""

    room = 100 * GIB

    def free(self) -> int:
        return self.room

    def capacity(self) -> int:
        return 200 * GIB


class Pass:
    """The parts of a pass, which a test can replace."""

    def __init__(self, backend: Backend, client: PocketBase, disk: Disk) -> None:
        self.backend = backend
        self.script = Script()
        self.clock = self.script.clock
        self.disk = disk
        self.scanner: Scanner = ScriptedScanner(self.script, disk)
        self.client = client
        self.rescan_after = timedelta(0)
        self.listen: Listener = ignore
        self.fetcher: type[Fetcher] = Fetcher
        self.full = True
        self.full_turn: Callable[[], bool] = lambda: False
        self.timeout = 3600.0

    def run(self) -> Summary:
        """Run a pass with the present parts."""
        sweep = Sweep(
            client=self.client,
            ledger=Ledger(self.client, host="here", stuck_after=STUCK_AFTER),
            fetcher=self.fetcher(self.client, self.disk, listen=self.listen),
            scanner=self.scanner,
            workspace=self.disk,
            policies=Policies(),
            timeout=self.timeout,
            stuck_after=STUCK_AFTER,
            rescan_after=self.rescan_after,
            full_turn=self.full_turn,
            listen=self.listen,
            clock=self.clock,
        )
        try:
            return sweep.run(full=self.full)
        finally:
            self.scanner.close()


@contextmanager
def a_pass_over(backend: Backend, folder: Path, *, url: str | None = None) -> Iterator[Pass]:
    """Prepare a pass over a backend. Check that it leaves no file."""
    client = backend.client(url=url)
    client.sign_in()
    with Disk(folder) as disk:
        yield Pass(backend, client, disk)
        assert not [left for left in disk.folder.rglob("*") if left.is_file()]
