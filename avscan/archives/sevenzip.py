"""7-Zip: it extracts an archive into a folder, whose files are the members."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from os import SEEK_END
from pathlib import Path

from avscan.archives import programs
from avscan.archives.bounds import Account, ExceededError
from avscan.archives.process import Run
from avscan.archives.reader import Archive, Item, Member, Problem
from avscan.archives.streams import CHUNK, region

# Extract with no questions, no progress, one thread, and an empty password.
_EXTRACT = ("7zz", "x", "-y", "-bd", "-mmt=1", "-bsp0", "-p")

MOST_FILES = 500_000
"""Files that may be extracted from one archive."""

_INTERVAL = 0.1  # seconds at least between two measurements of the folder


def decompressed(kind: str) -> Callable[[Archive], Iterator[Item]]:
    """Return a function that reads a compressed file of one kind (7-Zip's name for it)."""
    return programs.decompressed(*_EXTRACT, "-so", f"-t{kind}")


def extracted(kind: str, *, may_be_empty: bool = False) -> Callable[[Archive], Iterator[Item]]:
    """Return a function that reads the files of an archive of one kind."""

    def members(archive: Archive) -> Iterator[Item]:
        with _folder(archive) as folder:
            command = (*_EXTRACT, "-bso0", "-aou", "-snl-", f"-t{kind}", f"-o{folder.path}")
            with Run(command, archive.path) as run:
                _wait(run, folder, archive.account)
                failure = run.failure()
            is_empty = not (may_be_empty or any(folder.path.iterdir()))
            yield from _members(folder.path)
            if failure is not None:
                yield failure
            elif is_empty:
                yield Problem(text="could not be opened whole: no members")

    return members


@dataclass(slots=True)
class _Folder:
    """The folder that 7-Zip extracts into, and the bytes of it that are accounted for."""

    path: Path
    kept: int = 0

    def account(self, account: Account) -> None:
        """Account for what has been added. Raise ExceededError or WorkspaceError."""
        if (grown := _disk_usage(self.path) - self.kept) > 0:
            account.keep(grown)
            self.kept += grown


@contextmanager
def _folder(archive: Archive) -> Iterator[_Folder]:
    """Make a folder in the workspace. It is removed, and its bytes are dropped, with the context."""
    made = tempfile.mkdtemp(prefix="extracted-", dir=archive.workspace)
    folder = _Folder(Path(made).absolute())
    try:
        yield folder
    finally:
        for _ in _files(folder.path):  # makes each folder accessible
            pass
        shutil.rmtree(folder.path)
        archive.account.drop(folder.kept)


def _wait(run: Run, folder: _Folder, account: Account) -> None:
    """Wait for 7-Zip, and account for what it extracts.

    Raises:
        ExceededError, WorkspaceError: it extracts too much.
        DamagedError: its messages are endless.

    """
    interval = _INTERVAL
    while run.receive(CHUNK, interval) != b"":
        started = time.monotonic()
        folder.account(account)
        interval = max(_INTERVAL, 4 * (time.monotonic() - started))
    folder.account(account)


def _disk_usage(folder: Path) -> int:
    """Return the bytes of the disk that a folder takes while it is being written.

    Raise ExceededError if it has too many files.
    """
    size = count = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (count := count + 1) > MOST_FILES:
                raise ExceededError(f"more than {MOST_FILES} files in one archive")
            with suppress(FileNotFoundError, PermissionError):  # a temporary file of 7-Zip
                size += os.lstat(f"{parent}/{name}").st_blocks * 512
    return size


def _files(folder: Path) -> Iterator[Path]:
    """Iterate over the regular files in a folder and its folders; no link is followed.

    Raise OSError if a folder cannot be read.
    """
    pending = [folder]
    while pending:
        (current := pending.pop()).chmod(stat.S_IRWXU)
        for path in sorted(current.iterdir(), reverse=True):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                pending.append(path)
            elif stat.S_ISREG(mode):
                yield path


def _members(folder: Path) -> Iterator[Item]:
    """Iterate over the extracted files; each is removed when the next one is asked for."""
    for path in _files(folder):
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        with path.open("rb") as file:
            opener = partial(region, file, 0, file.seek(0, SEEK_END))
            yield Member(name=str(path.relative_to(folder)), open=opener)
        path.unlink()
