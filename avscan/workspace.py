"""The pass's folder: private, one pass at a time, removed afterwards."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from avscan.errors import WorkspaceError

log = logging.getLogger(__name__)

MIB = 1 << 20
RESERVE = 64 * MIB
"""Bytes of disk that avscan leaves to others."""

LEAST_CAPACITY = 512 * MIB
"""Bytes beside the reserve. A tar.gz of 64 MiB takes half: itself, its members, clamscan's copies."""


class Busy(WorkspaceError):
    """Another pass is at work in this folder, which is no failure."""

    exit_code = 0


class Workspace:
    """A private folder for one pass, inside `WORK_DIR/avscan-UID`.

    WORK_DIR may be shared, as /tmp is: avscan creates and changes nothing in it but that folder,
    whose name has the user's id so that several users can share a WORK_DIR. The lock is on that
    folder. The kernel releases it when the process ends, however it ends: what is in the folder
    when a pass gets the lock was left by a killed pass, and is removed. (systemd-tmpfiles(8) does
    not clean up a locked folder.)

    Entering raises Busy if another pass holds the lock, and WorkspaceError if the folder can't be
    used or its disk is too small for any work.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._user = os.geteuid()
        self._own = root / f"avscan-{self._user}"
        self._lock = -1
        self.folder = root

    def __enter__(self) -> Self:
        """Take the lock, remove what a killed pass left, and create this pass's folder."""
        try:
            with self._explained():
                self._lock = self._open()
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remove_leftovers()
                self.folder = Path(tempfile.mkdtemp(prefix="pass-", dir=self._own)).resolve()
                self.downloads.mkdir(mode=stat.S_IRWXU)
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the pass's folder and release the lock."""
        self._remove(self.folder)
        self._unlock()

    @property
    def downloads(self) -> Path:
        """The folder for downloads; on the file system of the inspectors' folders."""
        return self.folder / "downloads"

    def inspector_folder(self) -> Path:
        """Create a private folder for an inspector. Raise WorkspaceError if that fails."""
        with self._explained():
            return Path(tempfile.mkdtemp(prefix="inspector-", dir=self.folder))

    def free(self) -> int:
        """Return how many more bytes artifacts may take."""
        return max(0, shutil.disk_usage(self.folder).free - RESERVE)

    def capacity(self) -> int:
        """Return how many bytes artifacts could take if the disk were empty."""
        return max(0, shutil.disk_usage(self.folder).total - RESERVE)

    def require_room(self) -> None:
        """Raise WorkspaceError if the disk is full, which explains failures meanwhile."""
        if not self.free():
            raise WorkspaceError(f"the disk of WORK_DIR {self._root} is full: make room there")

    def _open(self) -> int:
        """Create and open avscan's own folder; return the descriptor."""
        with suppress(FileExistsError):
            self._root.mkdir(mode=stat.S_IRWXU, parents=True)
        # The owner of a folder can replace anything in it. A volume's root may be root's.
        self._require_folder(self._root, {0, self._user})
        self._require_capacity()
        with suppress(FileExistsError):
            self._own.mkdir(mode=stat.S_IRWXU)
        self._require_folder(self._own, {self._user})
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._own, flags)
        os.fchmod(descriptor, stat.S_IRWXU)
        return descriptor

    def _require_folder(self, path: Path, owners: set[int]) -> None:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise self._unusable(f"{path} is not a folder: remove it or choose another folder")
        if found.st_uid not in owners:
            raise self._unusable(
                f"{path} belongs to uid {found.st_uid}: choose another folder or change its owner"
            )

    def _require_capacity(self) -> None:
        total = shutil.disk_usage(self._root).total
        if total < LEAST_CAPACITY + RESERVE:
            raise self._unusable(
                f"its disk of {total // MIB} MiB is too small for any artifact: choose a folder on a"
                f" disk of {(LEAST_CAPACITY + RESERVE) // MIB} MiB or more"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise what the system refuses as an error that names the folder and the remedy."""
        try:
            yield
        except BlockingIOError as error:
            raise Busy(f"another pass is at work in {self._own}") from error
        except PermissionError as error:
            if not os.path.lexists(self._root):
                raise self._unusable("it can't be created: choose another folder") from error
            raise WorkspaceError(
                f"WORK_DIR {self._root} is not writable by uid {self._user}:"
                " choose another folder or change its owner"
            ) from error
        except OSError as error:
            raise self._unusable(f"{error.strerror}: choose another folder") from error

    def _unusable(self, reason: str) -> WorkspaceError:
        return WorkspaceError(f"WORK_DIR {self._root} can't be used by uid {self._user}: {reason}")

    def _remove_leftovers(self) -> None:
        for left in self._own.iterdir():
            log.warning("workspace.cleaned", extra={"folder": left.name})
            self._remove(left)

    def _remove(self, path: Path) -> None:
        try:
            remove(path)
        except OSError as error:  # it does not keep a pass from its work
            log.warning(
                "workspace.not_removed", extra={"folder": path.name, "reason": error.strerror}
            )

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it. Raise OSError if that fails.

    Programs that unpack archives create folders as deep as the archive says, and with its modes.
    `shutil.rmtree` recurses, so it fails at about 1,000 levels, and it can't enter a folder of mode
    000. Here what is in a subfolder moves up before the subfolder is removed.
    """
    if not _is_folder(path):
        path.unlink()
        return
    path.chmod(stat.S_IRWXU)
    while entries := list(path.iterdir()):
        for entry in entries:
            with suppress(FileNotFoundError):  # a download that ends removes its file itself
                if _is_folder(entry):
                    _empty_into(path, entry)
                    entry.rmdir()
                else:
                    entry.unlink()
    path.rmdir()


def _empty_into(target: Path, folder: Path) -> None:
    folder.chmod(stat.S_IRWXU)
    for entry in folder.iterdir():
        if _is_folder(entry):
            entry.chmod(stat.S_IRWXU)  # a folder that is moved must be writable
        entry.rename(target / secrets.token_hex(16))


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
