"""The files of waiting builds, downloaded ahead of their scans within the disk's budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, assert_never

from avscan.backend.download import Artifact, Download, Missing, NoRoom, TooLarge, download
from avscan.backend.pocketbase import PocketBase
from avscan.errors import AvscanError, BackendError, WorkspaceError
from avscan.events import Downloading, Listener, ignore
from avscan.records import BUILDS, Build
from avscan.workspace import Workspace

# What a scan may need while files are fetched ahead: clamscan's ceiling of 2 GiB, unpacked four
# times within itself. On a smaller disk files are fetched and scanned in turns.
SCAN_ROOM = 8 << 30
# Files that lie on the disk ahead of their scan, at the most, and their bytes. More would keep a new
# upload waiting for its turn.
AHEAD = 64
BYTES_AHEAD = 1 << 30
# Wanted files that are still to come keep the network busy until more are wanted.
QUEUED = 8
# Files download one after another, so that the first of them is there as soon as can be. One that
# has taken so many seconds no longer keeps the next one waiting.
SLOW = 30.0
# Downloads at once, at the most.
DOWNLOADS = 4
# Other builds whose files are asked for, before the storage is believed that it lost one.
WITNESSES = 10

Key: TypeAlias = tuple[str, str]  # a build's id and the name of one of its files
Fetched: TypeAlias = Artifact | Missing | TooLarge


class StorageError(AvscanError):
    """PocketBase has lost its files, so that a missing one says nothing about its build."""

    exit_code = BackendError.exit_code


@dataclass(slots=True, kw_only=True)
class _Fetch:
    """A file on its way to `target`, beside which `leave` bytes of disk have to stay free.

    What came of it is an outcome or an error.
    """

    target: Path
    leave: int
    started: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    outcome: Download | None = None
    error: BaseException | None = None

    @property
    def ended(self) -> bool:
        return self.outcome is not None or self.error is not None


class Fetcher:
    """Brings builds' files into a pass's folder. For use by one thread; it has some of its own."""

    def __init__(
        self,
        client: PocketBase,
        workspace: Workspace,
        *,
        listen: Listener = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._workspace = workspace
        self._listen = listen
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._wanted: list[Key] = []
        self._fetches: dict[Key, _Fetch] = {}
        self._targets = 0
        self._storage_works = False
        self._stopped = False

    def want(self, files: Iterable[Key]) -> None:
        """Set which files are needed, the first one first; what is not among them is removed."""
        with self._changed:
            self._wanted = list(files)
            for key in self._fetches.keys() - set(self._wanted):
                self._drop(self._fetches.pop(key))
            self._pump()

    @property
    def is_idle(self) -> bool:
        """Whether more files could be fetched ahead than are wanted."""
        with self._changed:
            here = [each.outcome for each in self._fetches.values() if each.ended]
            if any(isinstance(each, NoRoom) for each in here):
                return False
            size = sum(each.size for each in here if isinstance(each, Artifact))
            queued = len(self._wanted) - len(here)
            return queued < QUEUED and len(here) < AHEAD and size < BYTES_AHEAD

    def is_ready(self, build: str, name: str) -> bool:
        """Return whether a wanted file has come, or never will."""
        with self._changed:
            fetch = self._fetches.get((build, name))
            return fetch is not None and fetch.ended and not self._may_fit(fetch)

    def wait(self, seconds: float, *, alone: bool) -> None:
        """Wait until a download ends, so many seconds at the most.

        Where no scan is under way beside it (`alone`), the file that is needed first may take the
        room of a scan, and that of the files behind it.
        """
        with self._changed:
            if alone:
                self._make_room()
            self._changed.wait(seconds)
            self._pump()

    def take(self, build: Build, name: str) -> Fetched:
        """Return what came of a file that is ready; it is the caller's from now on.

        Raises:
            BackendError: PocketBase does not deliver it.
            StorageError: PocketBase has lost it, and every other file too.
            WorkspaceError: something else than avscan fills the disk.

        """
        with self._changed:
            fetch = self._fetches.pop((build.id, name))
            self._wanted.remove((build.id, name))
            self._pump()
        if fetch.error is not None:
            raise fetch.error
        match fetch.outcome:
            case Artifact() as outcome:
                self._storage_works = True
            case Missing() as outcome:
                self._require_storage(build)
            case TooLarge() as outcome:
                pass
            case NoRoom(size=size):
                raise WorkspaceError(
                    f"{name} needs {size} bytes, and something else fills the disk of"
                    f" WORK_DIR ({self._workspace.free()} bytes free): make room there"
                )
            case None:
                raise ValueError(f"{name} is not ready")
            case _:
                assert_never(fetch.outcome)
        return outcome

    def stop(self) -> None:
        """End all downloads and remove what they brought."""
        with self._changed:
            self._stopped = True
            for fetch in self._fetches.values():
                self._drop(fetch)
            self._fetches.clear()

    def _pump(self) -> None:
        """Start the next download, unless one is running that is not slow yet, or enough is here."""
        now = self._clock()
        running = [each.started for each in self._fetches.values() if not each.ended]
        if self._stopped or len(running) >= DOWNLOADS:
            return
        if any(now - started < SLOW for started in running):
            return
        key = next((key for key in self._wanted if key not in self._fetches), None)
        # The file that is needed first waits for no others.
        if key is None or (len(self._fetches) >= AHEAD and key != self._wanted[0]):
            return
        self._start(key, leave=SCAN_ROOM)

    def _start(self, key: Key, *, leave: int) -> None:
        self._targets += 1
        target = self._workspace.downloads / f"artifact-{self._targets}"
        fetch = _Fetch(target=target, leave=leave, started=self._clock())
        self._fetches[key] = fetch
        # A daemon: a download that hangs on the network must not keep the process from ending.
        threading.Thread(target=self._work, args=(key, fetch), name="download", daemon=True).start()

    def _may_fit(self, fetch: _Fetch) -> bool:
        """Return whether a file that had no room has some where others make room for it."""
        return isinstance(fetch.outcome, NoRoom) and bool(fetch.leave or len(self._fetches) > 1)

    def _make_room(self) -> None:
        key = self._wanted[0] if self._wanted else None
        if key is None or (fetch := self._fetches.get(key)) is None or not self._may_fit(fetch):
            return
        if not fetch.leave:
            for each in self._fetches.keys() - {key}:
                self._drop(self._fetches.pop(each))
        self._start(key, leave=0)

    def _work(self, key: Key, fetch: _Fetch) -> None:
        try:
            outcome, error = self._download(key, fetch), None
        except BaseException as failure:  # noqa: BLE001 - the waiting thread raises it
            outcome, error = None, failure
        with self._changed:
            fetch.outcome, fetch.error = outcome, error
            if fetch.cancelled.is_set():
                fetch.target.unlink(missing_ok=True)
            self._pump()
            self._changed.notify_all()

    def _drop(self, fetch: _Fetch) -> None:
        fetch.cancelled.set()
        fetch.target.unlink(missing_ok=True)

    def _require_storage(self, build: Build) -> None:
        """Make sure that the storage works, which says that it has lost a file of this build.

        A file that came in this pass proves it, or one of another build that can be had now. Where
        there is no other build to ask about, the storage is believed.
        """
        if self._storage_works:
            return
        rows = self._client.page(
            BUILDS,
            where=f'id != "{build.id}" && files:length > 0',
            sort="-created",
            limit=WITNESSES,
        )
        others = [Build.parse(row) for row in rows]
        if others and not any(self._is_there(other) for other in others):
            raise StorageError(
                f"PocketBase has no file of build {build.id}, nor of {len(others)} others:"
                " is its storage there?"
            )
        self._storage_works = True

    def _is_there(self, build: Build) -> bool:
        response = self._client.retry(
            lambda _: self._client.open_file(BUILDS, build.id, build.files[0])
        )
        if response is None:
            return False
        response.close()
        return True

    def _download(self, key: Key, fetch: _Fetch) -> Download:
        build, name = key

        def progress(received: int, size: int) -> None:
            self._listen(Downloading(build=build, file=name, received=received, size=size))

        return download(
            self._client,
            BUILDS,
            build,
            name,
            target=fetch.target,
            workspace=self._workspace,
            cancelled=fetch.cancelled,
            leave=fetch.leave,
            progress=progress,
        )
