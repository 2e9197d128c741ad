"""The work folder: private, one pass at a time, empty afterwards."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from avscan.errors import WorkspaceError

log = logging.getLogger(__name__)

PREFIX = "pass-"
RESERVE = 64 << 20  # bytes of disk that we leave to others


class Busy(WorkspaceError):
    """Another pass is at work in this folder; that is no failure."""

    exit_code = 0


class Workspace:
    """A private folder below the work folder, for as long as a pass lasts.

    The lock is on the work folder itself: the kernel drops it with its holder, whatever way that
    ends, so what lies there while we hold it is a killed pass's, and is removed.

    Raises:
        Busy: another pass holds the folder.
        WorkspaceError: the folder can't be used.

    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptor = -1
        self.folder = root

    def __enter__(self) -> Self:
        """Take the lock, remove what a killed pass left, make a folder for this one."""
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._root, flags)
            self._make_private()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sweep()
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._root)).resolve()
        except BlockingIOError as error:
            self._close()
            raise Busy(f"another pass is at work in {self._root}") from error
        except OSError as error:
            self._close()
            raise WorkspaceError(
                f"WORK_DIR {self._root} can't be used: {error.strerror}"
            ) from error
        except WorkspaceError:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the folder and drop the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._close()

    @property
    def downloads(self) -> Path:
        found = self.folder / "downloads"
        found.mkdir(exist_ok=True)
        return found

    def inspector_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="inspector-", dir=self.folder))

    def free(self) -> int:
        """Tell how many bytes artifacts may still take."""
        return max(0, shutil.disk_usage(self.folder).free - RESERVE)

    def capacity(self) -> int:
        """Tell how many bytes artifacts could take if nothing else were on the disk."""
        return max(0, shutil.disk_usage(self.folder).total - RESERVE)

    def require_room(self) -> None:
        """Check that the disk is not full.

        Raises:
            WorkspaceError: it is; what failed meanwhile failed for that.

        """
        if not self.free():
            raise WorkspaceError(f"the disk of WORK_DIR {self._root} is full: make room there")

    def _make_private(self) -> None:
        """Close our own folder to others; a volume's root may be root's, another user's may not.

        Whoever owns a folder can exchange what is in it.
        """
        found = os.fstat(self._descriptor)
        if found.st_uid == os.geteuid():
            os.fchmod(self._descriptor, stat.S_IRWXU)
        elif found.st_uid != 0:
            raise WorkspaceError(
                f"WORK_DIR {self._root} belongs to another user (uid {found.st_uid}):"
                " remove it, or set WORK_DIR to a folder of your own"
            )

    def _sweep(self) -> None:
        for left in self._root.glob(PREFIX + "*"):
            log.warning("workspace.swept", extra={"folder": left.name})
            shutil.rmtree(left, ignore_errors=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
