"""Download the files of waiting builds ahead of their scans, within the disk's budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias, assert_never

from avscan.backend.deadline import start
from avscan.backend.download import Artifact, Download, Missing, NoRoom, TooLarge, download
from avscan.backend.pocketbase import PocketBase
from avscan.errors import AvscanError, BackendError, WorkspaceError
from avscan.events import Downloading, Listener, ignore
from avscan.records import BUILDS, Build
from avscan.workspace import Workspace

# Bytes of disk reserved for a scan during downloads: clamscan's limit of 2 GiB, for four levels of
# nested archives. On a smaller disk downloads and scans alternate.
SCAN_ROOM = 8 << 30
# Limits of the files that are on the disk ahead of their scan. With more, a new upload would wait
# longer.
AHEAD = 64
BYTES_AHEAD = 1 << 30
# With this many wanted files still to be downloaded, the fetcher asks for no more.
QUEUED = 8
# Files are downloaded one at a time, so that the first one arrives early. The next download starts
# if the running one takes more than this many seconds.
SLOW = 30.0
# The most downloads at once.
DOWNLOADS = 4
# Other builds to request a file of, to tell one missing file from a lost storage.
STORAGE_PROBES = 10

Key: TypeAlias = tuple[str, str]  # a build's id and the name of one of its files
Fetched: TypeAlias = Artifact | Missing | TooLarge


class StorageError(AvscanError):
    """PocketBase's storage has lost its files, so a missing file is no error of its build."""

    exit_code = BackendError.exit_code


@dataclass(slots=True, kw_only=True)
class _Fetch:
    """A download to `target` that must leave `leave` bytes of disk free.

    After its end, either `outcome` or `error` is set.
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
    """Downloads builds' files into a pass's folder in threads. One thread may call its methods."""

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
        """Set which files are needed, most urgent first; cancel and remove all others."""
        with self._changed:
            self._wanted = list(files)
            for key in self._fetches.keys() - set(self._wanted):
                self._drop(self._fetches.pop(key))
            self._pump()

    @property
    def is_idle(self) -> bool:
        """Whether more files could be fetched ahead than are wanted now."""
        with self._changed:
            outcomes = [each.outcome for each in self._fetches.values() if each.ended]
            if any(isinstance(each, NoRoom) for each in outcomes):
                return False
            size = sum(each.size for each in outcomes if isinstance(each, Artifact))
            queued = len(self._wanted) - len(outcomes)
            return queued < QUEUED and len(outcomes) < AHEAD and size < BYTES_AHEAD

    def is_ready(self, build: str, name: str) -> bool:
        """Return whether the download of a wanted file has ended for good."""
        with self._changed:
            fetch = self._fetches.get((build, name))
            return fetch is not None and fetch.ended and not self._may_fit(fetch)

    def wait(self, seconds: float, *, alone: bool) -> None:
        """Wait until a download ends, at most so many seconds.

        If no scan is under way (`alone`), the most urgent file may use the disk space reserved for
        a scan, and then that of the other files.
        """
        with self._changed:
            if alone:
                self._make_room()
            self._changed.wait(seconds)
            self._pump()

    def take(self, build: Build, name: str) -> Fetched:
        """Return the outcome of a file that is ready; the caller removes an artifact.

        Raises:
            BackendError: PocketBase does not deliver the file.
            StorageError: PocketBase has lost this file and those of other builds.
            WorkspaceError: files of other programs fill the disk.

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
        """Cancel all downloads and remove their files."""
        with self._changed:
            self._stopped = True
            for fetch in self._fetches.values():
                self._drop(fetch)
            self._fetches.clear()

    def _pump(self) -> None:
        """Start the next download, unless a running one is not slow yet or a limit is reached."""
        now = self._clock()
        running = [each.started for each in self._fetches.values() if not each.ended]
        if self._stopped or len(running) >= DOWNLOADS:
            return
        if any(now - started < SLOW for started in running):
            return
        key = next((key for key in self._wanted if key not in self._fetches), None)
        # The most urgent file is exempt from the limit.
        if key is None or (len(self._fetches) >= AHEAD and key != self._wanted[0]):
            return
        self._start(key, leave=SCAN_ROOM)

    def _start(self, key: Key, *, leave: int) -> None:
        self._targets += 1
        target = self._workspace.downloads / f"artifact-{self._targets}"
        fetch = _Fetch(target=target, leave=leave, started=self._clock())
        self._fetches[key] = fetch
        start(partial(self._run, key, fetch))

    def _may_fit(self, fetch: _Fetch) -> bool:
        """Return whether a file without room may fit once others make room for it."""
        return isinstance(fetch.outcome, NoRoom) and bool(fetch.leave or len(self._fetches) > 1)

    def _make_room(self) -> None:
        key = self._wanted[0] if self._wanted else None
        if key is None or (fetch := self._fetches.get(key)) is None or not self._may_fit(fetch):
            return
        if not fetch.leave:
            for each in self._fetches.keys() - {key}:
                self._drop(self._fetches.pop(each))
        self._start(key, leave=0)

    def _run(self, key: Key, fetch: _Fetch) -> None:
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
        """Check that the storage works, after it reported a file of this build as missing.

        It works if this pass has downloaded a file, or if a file of another build can be opened. If
        there is no other build, the report counts.

        Raises:
            StorageError: the storage has no file of other builds either.

        """
        if self._storage_works:
            return
        rows = self._client.page(
            BUILDS,
            where=f'id != "{build.id}" && files:length > 0',
            sort="-created",
            limit=STORAGE_PROBES,
        )
        others = [Build.parse(row) for row in rows]
        if others and not any(self._can_open_file(other) for other in others):
            raise StorageError(
                f"PocketBase has no file of build {build.id}, nor of {len(others)} others:"
                " is its storage there?"
            )
        self._storage_works = True

    def _can_open_file(self, build: Build) -> bool:
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
