"""The private folder of a pass, with a lock, and its removal."""

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
from typing import Self

from avscan.errors import WorkspaceError

log = logging.getLogger(__name__)

MIB = 1 << 20
RESERVE = 64 * MIB
"""Bytes of the disk that avscan does not use."""

MIN_CAPACITY = 512 * MIB
"""Bytes of disk beside the reserve. A tar.gz of 64 MiB uses half of it, for all copies."""


class Busy(WorkspaceError):
    """Another pass uses this folder, which is not a failure."""

    exit_code = 0


class Workspace:
    """A private folder for one pass, inside `WORK_DIR/avscan-UID`.

    WORK_DIR may be shared, as /tmp is. avscan changes only its own folder in it, and several users
    can share a WORK_DIR, since the folder's name contains the user's id. The folder is locked. The
    kernel releases the lock when the process ends, so anything in the folder when a pass gets the
    lock was left by a killed pass, and is removed. (systemd-tmpfiles(8) skips a locked folder.)

    Entering raises Busy if another pass holds the lock, and WorkspaceError if the folder can't be
    used or its disk is too small.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._user = os.geteuid()
        self._own = root / f"avscan-{self._user}"
        self.folder = root

    def __enter__(self) -> Self:
        """Take the lock, remove leftovers of killed passes, and create the folder."""
        with self._convert_errors():
            self._lock = self._open()
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remove_leftovers()
                self.folder = Path(tempfile.mkdtemp(prefix="pass-", dir=self._own)).resolve()
                self.downloads.mkdir(mode=stat.S_IRWXU)
            except BaseException:
                os.close(self._lock)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the folder and release the lock."""
        self._remove(self.folder)
        os.close(self._lock)

    @property
    def downloads(self) -> Path:
        """The folder for downloads, on the same file system as the inspectors' folders."""
        return self.folder / "downloads"

    def inspector_folder(self) -> Path:
        """Create a private folder for an inspector. Raise WorkspaceError if that fails."""
        with self._convert_errors():
            return Path(tempfile.mkdtemp(prefix="inspector-", dir=self.folder))

    def free(self) -> int:
        """Return how many more bytes artifacts may use."""
        return max(0, shutil.disk_usage(self.folder).free - RESERVE)

    def capacity(self) -> int:
        """Return how many bytes artifacts could use on an empty disk."""
        return max(0, shutil.disk_usage(self.folder).total - RESERVE)

    def require_room(self) -> None:
        """Raise WorkspaceError if the disk is full."""
        if not self.free():
            raise WorkspaceError(f"the disk of WORK_DIR {self._root} is full: make room there")

    def _open(self) -> int:
        """Create and open avscan's own folder; return the descriptor."""
        with suppress(FileExistsError):
            self._root.mkdir(mode=stat.S_IRWXU, parents=True)
        # The owner of a folder can replace its entries. The root of a volume may belong to root.
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
        if total < MIN_CAPACITY + RESERVE:
            raise self._unusable(
                f"its disk of {total // MIB} MiB is too small for any artifact: choose a folder on a"
                f" disk of {(MIN_CAPACITY + RESERVE) // MIB} MiB or more"
            )

    @contextmanager
    def _convert_errors(self) -> Iterator[None]:
        """Convert OSError to a WorkspaceError that names the folder and the remedy."""
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
        except OSError as error:  # leftovers do not prevent a pass
            log.warning(
                "workspace.not_removed", extra={"folder": path.name, "reason": error.strerror}
            )


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it. Raise OSError if that fails.

    Archive programs create folders with any depth and mode that the archive contains.
    `shutil.rmtree` fails at about 1,000 levels, since it recurses, and at folders of mode 000. Here
    the entries of a subfolder are moved up before the subfolder is removed.
    """
    if not _is_folder(path):
        path.unlink()
        return
    path.chmod(stat.S_IRWXU)
    while entries := list(path.iterdir()):
        for entry in entries:
            with suppress(FileNotFoundError):  # a download removes its file when it ends
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
            entry.chmod(stat.S_IRWXU)  # moving a folder requires write permission for it
        entry.rename(target / secrets.token_hex(16))


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
