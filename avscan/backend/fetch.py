"""The files of a pass, one ahead of the scans, in the room that the scan under way leaves."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, assert_never

from avscan.backend.download import Artifact, Download, Missing, NoRoom, TooLarge, download
from avscan.backend.pocketbase import PocketBase
from avscan.errors import AvscanError, BackendError, WorkspaceError
from avscan.events import Downloading, Listener, ignore
from avscan.records import BUILDS, Build
from avscan.workspace import Workspace

# What a scan may need while the next file is fetched: clamscan's ceiling of 2 GiB, unpacked four
# times within itself. On a smaller disk files are fetched and scanned in turns.
SCAN_ROOM = 8 << 30
# Other builds whose files are asked for, before the storage is believed that it lost one.
WITNESSES = 10

Fetched: TypeAlias = Artifact | Missing | TooLarge


class StorageError(AvscanError):
    """PocketBase has lost its files, so that a missing one says nothing about its build."""

    exit_code = BackendError.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A file on its way to `target`."""

    build: Build
    name: str
    target: Path
    download: Future[Download]


class Fetcher:
    """Brings builds' files into a pass's folder."""

    def __init__(
        self, client: PocketBase, workspace: Workspace, *, listen: Listener = ignore
    ) -> None:
        self._client = client
        self._workspace = workspace
        self._listen = listen
        self._cancelled = threading.Event()
        self._targets = 0
        self._storage_works = False

    def start(self, build: Build, name: str) -> Fetch:
        """Begin to download a build's file, beside a scan."""
        self._targets += 1
        fetch = Fetch(
            build=build,
            name=name,
            target=self._workspace.folder / f"artifact-{self._targets}",
            download=Future(),
        )

        def work() -> None:
            try:
                fetch.download.set_result(self._download(fetch, leave=SCAN_ROOM))
            except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
                fetch.download.set_exception(error)

        # A daemon: a download that hangs on the network must not keep the process from ending.
        threading.Thread(target=work, name="download", daemon=True).start()
        return fetch

    def result(self, fetch: Fetch) -> Fetched:
        """Wait for a file; call it when no scan is under way.

        What had no room beside a scan is downloaded now.

        Raises:
            BackendError: PocketBase does not deliver it.
            StorageError: PocketBase has not got it, nor any other.
            WorkspaceError: something else than avscan fills the disk.

        """
        outcome = fetch.download.result()
        if isinstance(outcome, NoRoom):
            outcome = self._download(fetch, leave=0)
        match outcome:
            case NoRoom(size=size):
                raise WorkspaceError(
                    f"{fetch.name} needs {size} bytes, and something else fills the disk of"
                    f" WORK_DIR ({self._workspace.free()} bytes free): make room there"
                )
            case Artifact():
                self._storage_works = True
            case Missing():
                self._require_storage(fetch.build)
            case TooLarge():
                pass
            case _:
                assert_never(outcome)
        return outcome

    def stop(self) -> None:
        """End the downloads under way."""
        self._cancelled.set()

    def _require_storage(self, build: Build) -> None:
        """Make sure that the storage works, which says that it has not got a file of this build.

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
        response = self._client.insist(
            lambda _: self._client.open_file(BUILDS, build.id, build.files[0])
        )
        if response is None:
            return False
        response.close()
        return True

    def _download(self, fetch: Fetch, *, leave: int) -> Download:
        build, name = fetch.build.id, fetch.name

        def progress(received: int, size: int) -> None:
            self._listen(Downloading(build=build, file=name, received=received, size=size))

        return download(
            self._client,
            BUILDS,
            build,
            name,
            target=fetch.target,
            workspace=self._workspace,
            cancelled=self._cancelled,
            leave=leave,
            progress=progress,
        )
