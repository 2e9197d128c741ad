"""The one file on the disk that a member is put into, to be looked at."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from avscan.archives.bounds import Account, full
from avscan.archives.streams import CHUNK, Stream
from avscan.errors import WorkspaceError


class Scratch:
    """A file with a name of ours, until it is closed; the account knows what it takes."""

    def __init__(self, workspace: Path, account: Account, *, number: int) -> None:
        self.path = workspace / f"member-{number}"
        self.size = 0
        self._workspace = workspace
        self._account = account

    def close(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._forget()

    def fill(self, stream: Stream, *, most: int | None = None, overlap: int = 0) -> None:
        """Begin anew, with the last `overlap` bytes of what was here, up to `most` bytes in all.

        Raises:
            ExceededError: a bound was exceeded.
            WorkspaceError: the disk is full, or can't be written.

        """
        data = self._tail(overlap) if overlap else b""
        self._forget()
        with self._opened() as file:
            while data := data or stream.some(_next(most, self.size)):
                self._account.keep(len(data))
                self.size += len(data)
                with self._blamed():
                    file.write(data)
                data = b""

    def _tail(self, size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(max(0, self.size - size))
            return file.read()

    def _forget(self) -> None:
        self._account.drop(self.size)
        self.size = 0

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with self._blamed():
            file = self.path.open("wb", buffering=0)
        with file:
            yield file

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Put the disk's errors down to the disk: the account says that there is room."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise full(self._workspace) from error
            raise WorkspaceError(
                f"WORK_DIR {self._workspace} can't be written: {error.strerror}"
            ) from error


def _next(most: int | None, size: int) -> int:
    return CHUNK if most is None else min(CHUNK, most - size)
