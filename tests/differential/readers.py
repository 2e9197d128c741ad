"""Real readers: what each of them makes of an archive, down to what is packed in its members.

A reader's yield is every regular file that it leaves in an empty folder, whatever its exit code: a
user has those files then.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import re
import shutil
import signal
import stat
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from differential.helpers import Helper

SECONDS = 10.0
"""How long a reader may take for one archive."""

MOST = 16 << 20
"""Bytes of the largest file that is looked at; what is larger is a sparse file's."""

LEAST = 6
"""Bytes of the smallest file that clamscan looks at (libclamav, cli_magic_scan)."""

MEMBERS = 1000
"""Members that are read of one archive: with a negative size `tarfile` finds them for ever."""

DEEPEST = 5


class HungError(BaseException):
    """Something in this process did not end in time; not an error that anything in it handles."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise HungError in the main thread if what is inside takes longer."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


Read = Callable[[Path, Path], None]
"""Unpack an archive into an empty folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A program or library that unpacks archives of some kinds."""

    name: str
    kinds: frozenset[str]
    read: Read


def command(*words: str, piped: bool = False, poured: bool = False) -> Read:
    """Return a reader that runs a program; ARCHIVE and FOLDER stand for the two paths.

    `piped` gives the archive on standard input, through a pipe that can't be sought in. `poured`
    takes what comes out on standard output.
    """

    def read(archive: Path, folder: Path) -> None:
        paths = {"ARCHIVE": str(archive), "FOLDER": str(folder)}
        filled = [re.sub("ARCHIVE|FOLDER", lambda found: paths[found[0]], word) for word in words]
        target = (folder / "content").open("wb") if poured else None
        process = subprocess.Popen(
            filled,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=target or subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
        )
        try:  # without a timeout of its own, which would poll
            process.communicate(archive.read_bytes() if piped else None)
        except HungError:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            if target is not None:
                target.close()

    return read


class _Content(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _save(content: _Content, folder: Path, number: int) -> None:
    """Save up to `MOST` bytes, as far as they can be read."""
    with (folder / f"{number}").open("wb") as file:
        while file.tell() <= MOST and (data := content.read(1 << 16)):
            file.write(data)


def python_tar(archive: Path, folder: Path) -> None:
    """Unpack as `tarfile` does."""
    with suppress(Exception), tarfile.open(archive) as opened:  # whatever it raises, it ends there
        for number, member in enumerate(itertools.islice(opened, MEMBERS)):
            if member.isreg() and (content := opened.extractfile(member)) is not None:
                _save(content, folder, number)


def python_zip(archive: Path, folder: Path) -> None:
    """Unpack as `zipfile` does, member by member."""
    with suppress(Exception), zipfile.ZipFile(archive) as opened:
        for number, member in enumerate(opened.infolist()):
            with suppress(Exception), opened.open(member) as content:
                _save(content, folder, number)


def python_gzip(archive: Path, folder: Path) -> None:
    """Decompress as `gzip` does."""
    with suppress(OSError, EOFError, zlib.error), gzip.open(archive) as content:
        _save(content, folder, 0)


def helped(helper: Helper, mode: str) -> Read:
    """Return a reader that asks a program which is kept running."""
    return lambda archive, folder: helper.ask(mode, archive, folder)


def readers(launcher: Helper, golang: Helper | None) -> list[Reader]:
    """Return all readers that are installed; the launcher's own is never missing."""
    tar, packed, zipped = frozenset({"tar"}), frozenset({"gzip"}), frozenset({"zip"})
    both, every = tar | packed, tar | packed | zipped
    bsdtar = ("bsdtar", "--no-same-owner", "-C", "FOLDER", "-xf")
    found = [
        Reader(name="launcher", kinds=packed, read=helped(launcher, "launcher")),
        Reader(name="tar-rs", kinds=tar, read=helped(launcher, "tar")),
        Reader(name="GzDecoder", kinds=packed, read=helped(launcher, "gz")),
        Reader(name="MultiGzDecoder", kinds=packed, read=helped(launcher, "multigz")),
        Reader(name="tarfile", kinds=both, read=python_tar),
        Reader(name="gzip.py", kinds=packed, read=python_gzip),
        Reader(name="zipfile", kinds=zipped, read=python_zip),
    ]
    if golang is not None:
        found += [
            Reader(name="go tar", kinds=tar, read=helped(golang, "tar")),
            Reader(name="go tar.gz", kinds=packed, read=helped(golang, "tgz")),
            Reader(name="go zip", kinds=zipped, read=helped(golang, "zip")),
        ]
    gnu = ("tar", "--no-same-owner", "-C", "FOLDER")
    for name, kinds, read in (
        ("GNU tar", tar, command(*gnu, "-xf", "ARCHIVE")),
        ("GNU tar -z", packed, command(*gnu, "-xzf", "ARCHIVE")),
        ("bsdtar", every, command(*bsdtar, "ARCHIVE")),
        ("bsdtar piped", zipped, command(*bsdtar, "-", piped=True)),
        ("busybox tar", tar, command("busybox", "tar", "-C", "FOLDER", "-xf", "ARCHIVE")),
        ("busybox tar -z", packed, command("busybox", "tar", "-C", "FOLDER", "-xzf", "ARCHIVE")),
        ("busybox zcat", packed, command("busybox", "zcat", "ARCHIVE", poured=True)),
        ("busybox unzip", zipped, command(*["busybox", "unzip", "-oq", "ARCHIVE", "-d", "FOLDER"])),
        ("gzip", packed, command("gzip", "-dc", "ARCHIVE", poured=True)),
        ("7zz", every, command(*["7zz", "x", "-y", "-bd", "-p", "-oFOLDER", "ARCHIVE"])),
        ("unzip", zipped, command(*["unzip", "-oqq", "-P", "x", "ARCHIVE", "-d", "FOLDER"])),
    ):
        found.append(Reader(name=name, kinds=kinds, read=read))
    return found


def missing() -> list[str]:
    """Return the programs that are not installed."""
    programs = ("tar", "bsdtar", "busybox", "gzip", "7zz", "unzip")
    return [program for program in programs if shutil.which(program) is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Yields:
    """What all readers make of one archive: hashes of contents, and which readers yield them.

    `opened` are hashes of streams and tars that a reader opened further: what they hold counts in
    their place, for avscan need not show them whole.
    """

    files: dict[str, set[str]]
    sizes: dict[str, int]
    opened: set[str]

    @property
    def required(self) -> set[str]:
        """The hashes of all that has to be shown whole."""
        return set(self.files) - self.opened


def unpack(data: bytes, using: list[Reader], folder: Path) -> Yields:
    """Have every reader unpack an archive, and what comes out of it, and so on."""
    result = Yields(files=defaultdict(set), sizes={}, opened=set())
    seen = {_hash(data)}
    waiting = [(data, "", 0)]
    while waiting:
        content, above, depth = waiting.pop()
        kinds = sniff(content, outermost=not depth)
        opened = _is_tar(content)
        for reader in using:
            if not reader.kinds & kinds:
                continue
            for found in _yield(reader, content, folder):
                opened = True
                if not found.strip(b"\0"):
                    continue  # a reader that gives up leaves zeros, which are nobody's malware
                digest = _hash(found)
                result.files[digest].add(above + reader.name)
                result.sizes[digest] = len(found)
                if digest not in seen and depth < DEEPEST and sniff(found):
                    seen.add(digest)
                    waiting.append((found, f"{above}{reader.name} > ", depth + 1))
        if depth and opened and kinds & {"gzip", "tar"} and not _is_program(content):
            result.opened.add(_hash(content))
    return result


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_program(data: bytes) -> bool:
    return data.startswith((b"MZ", b"\x7fELF", b"#!"))


_OCTAL = re.compile(rb"[0-7 ]{5,7}[\0 ]")


def _like_a_header(block: bytes) -> bool:
    """Return whether a block may be a tar's header, to some reader."""
    numbers = sum(_OCTAL.match(block, at) is not None for at in (100, 108, 116, 124, 136, 148))
    return numbers > 2 or block[257:262] == b"ustar" or _is_tar(block)


def _is_tar(data: bytes) -> bool:
    """Return whether content begins with a tar's header, whose checksum is right."""
    head = data[:512]
    digits = head[148:156].strip(b" \0")
    total = sum(head) - sum(head[148:156]) + 8 * 0x20
    return len(head) == 512 and digits == b"%06o" % total


def sniff(data: bytes, *, outermost: bool = False) -> frozenset[str]:
    """Return what readers may take content for; of the outermost more is tried."""
    kinds = set()
    if data.startswith(b"\x1f"):
        kinds.add("gzip")
    if b"PK\5\6" in data[-(1 << 17) :] or data.startswith(b"PK"):
        kinds.add("zip")
    blocks = range(0, min(len(data), 4 * 512 if outermost else 512), 512)
    if any(_like_a_header(data[at : at + 512]) for at in blocks):
        kinds.add("tar")
    return frozenset(kinds or ({"tar", "gzip"} if outermost else ()))


def _yield(reader: Reader, data: bytes, folder: Path) -> Iterator[bytes]:
    """Have one reader unpack, and return all that it left."""
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        archive, target = Path(name, "archive"), Path(name, "unpacked")
        archive.write_bytes(data)
        target.mkdir()
        with suppress(HungError), within(SECONDS):
            reader.read(archive, target)
        yield from _collect(target)


def _collect(folder: Path) -> Iterator[bytes]:
    """Return the contents of the regular files in a folder, links not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and LEAST <= status.st_size <= MOST:
                    yield path.read_bytes()
