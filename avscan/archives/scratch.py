"""A file in the workspace for the content of a member, while the engine scans it."""

from __future__ import annotations

import errno
from pathlib import Path

from avscan.archives.bounds import Account, full
from avscan.archives.streams import CHUNK, Stream
from avscan.errors import WorkspaceError


class Scratch:
    """A file with a name of ours, until it is closed; its bytes are accounted for."""

    def __init__(self, workspace: Path, account: Account, *, number: int) -> None:
        self.path = workspace / f"member-{number}"
        self.size = 0
        self._workspace = workspace
        self._account = account

    def close(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._forget()

    def fill(self, stream: Stream, *, overlap: int = 0) -> None:
        """Replace the content: the last `overlap` bytes of the old one, then the stream's.

        Raises:
            ExceededError: a bound was exceeded.
            WorkspaceError: the disk is full, or cannot be written.

        """
        try:
            data = self._tail(overlap) if overlap else b""
            self._forget()
            with self.path.open("wb") as file:
                while data := data or stream.some(CHUNK):
                    self._account.keep(len(data))
                    self.size += len(data)
                    file.write(data)
                    data = b""
        except OSError as error:  # the account has checked that there is room
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise full(self._workspace) from error
            raise WorkspaceError(
                f"WORK_DIR {self._workspace} can't be written: {error.strerror}"
            ) from error

    def _tail(self, size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(max(0, self.size - size))
            return file.read()

    def _forget(self) -> None:
        self._account.drop(self.size)
        self.size = 0
