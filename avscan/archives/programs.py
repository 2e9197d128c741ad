"""Formats that well-kept programs open: bsdtar, 7-Zip and the compressors' own.

Each program opens the one format that the file was recognised as, and no other. 7-Zip extracts into
a folder, or writes the content of what is only compressed, as the compressors do. bsdtar, the only
one for rar, turns an archive into a tar on its output. It can't be told the format: where a file may
be another one to it as well, that is a problem. Where a program is missing, its formats are
unsupported content.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from avscan.archives import disks, encoded, extents, tar
from avscan.archives.bounds import Account, ExceededError
from avscan.archives.looks import UNSUPPORTED
from avscan.archives.process import Run
from avscan.archives.reader import HEAD, Archive, FileReader, Item, Member, Problem
from avscan.archives.streams import CHUNK, Stream, read_at, region
from avscan.archives.tar_fields import BLOCK
from avscan.archives.zips import ENTRY_MARKS

MOST_FILES = 500_000
"""Files that 7-Zip may extract from one archive."""

_INTERVAL = 0.1  # seconds between two looks at what 7-Zip has extracted, at least
_SEVENZIP = ("-y", "-bd", "-mmt=1", "-bsp0", "-p")
_Read = Callable[[str, Archive], Iterator[Item]]


# The programs.


def _listed(program: str, archive: Archive) -> Iterator[Item]:
    """Read the tar that bsdtar makes of a rar."""
    if tar.READER.recognise(read_at(archive.file, 0, HEAD)) or disks.is_iso(archive.file):
        yield Problem(text="another format at the same time")
    if extents.is_rar_volume(read_at(archive.file, 0, HEAD)):  # bsdtar may pass over it in silence
        yield Problem(text="a part of several")
    # It would look for a zip at a file's end first: through a pipe it can't, and gets the rar alone.
    feed = region(archive.file, 0, extents.rar(archive.file, 0, archive.size))
    with Run((program, "-cf", "-", "--format=pax", "@-"), archive.path, feed) as run:

        def pull(size: int) -> bytes:
            data = run.pull(size)
            archive.account.unpack(len(data))  # headers count too: there may be no end of them
            return data

        stream = Stream(pull)
        is_empty = not stream.peek(BLOCK).strip(b"\0")
        yield from tar.READER.members(stream)
        while stream.some(CHUNK):
            pass
        verdict = run.verdict()
        if extents.is_rar_encrypted(archive.file, 0, archive.size):
            yield Member(name="", closed="encrypted")
        elif verdict is not None:
            yield verdict
        elif is_empty:
            yield Problem(text="could not be opened whole: no members")


def _unpacked(*arguments: str) -> _Read:
    """Return what reads the output of a program that unpacks one file."""

    def read(program: str, archive: Archive) -> Iterator[Item]:
        with Run((program, *arguments), archive.path) as run:
            stream = Stream(run.pull)
            yield Member(name="", open=lambda: stream)
            while data := stream.some(CHUNK):
                archive.account.unpack(len(data))
            if (verdict := run.verdict()) is not None:
                yield verdict

    return read


def _extracted(kind: str, *, may_be_empty: bool = False) -> _Read:
    """Return what reads the files that 7-Zip extracts from an archive of one kind."""

    def read(program: str, archive: Archive) -> Iterator[Item]:
        with _folder(archive) as folder:
            command = (program, "x", *_SEVENZIP, "-bso0", "-aou", "-snl-", f"-t{kind}")
            with Run((*command, f"-o{folder.path}"), archive.path) as run:
                _watch(run, folder, archive.account)
                verdict = run.verdict()
            is_empty = not (may_be_empty or any(folder.path.iterdir()))
            yield from _files(folder.path)
            if verdict is not None:
                yield verdict
            elif is_empty:
                yield Problem(text="could not be opened whole: no members")

    return read


@dataclass(slots=True)
class _Folder:
    """What 7-Zip extracts into, and how many bytes of it were accounted for."""

    path: Path
    kept: int = 0

    def account(self, account: Account) -> None:
        """Account for what has been added. Raise ExceededError or WorkspaceError."""
        if (grown := _size(self.path) - self.kept) > 0:
            account.keep(grown)
            self.kept += grown


@contextmanager
def _folder(archive: Archive) -> Iterator[_Folder]:
    """Make a folder in the workspace; it and what it takes of the account end with the context.

    Other files come and go meanwhile, so that what it takes is counted and no difference.
    """
    made = tempfile.mkdtemp(prefix="extracted-", dir=archive.workspace)
    folder = _Folder(Path(made).absolute())
    try:
        yield folder
    finally:
        for _ in _walk(folder.path):  # opens each folder to us on its way
            pass
        shutil.rmtree(folder.path)
        archive.account.drop(folder.kept)


def _watch(run: Run, folder: _Folder, account: Account) -> None:
    """Wait for 7-Zip, and account for what it extracts.

    Raises:
        ExceededError, WorkspaceError: it extracts too much.
        DamagedError: its messages have no end.

    """
    interval = _INTERVAL
    while run.receive(CHUNK, interval) != b"":
        started = time.monotonic()
        folder.account(account)
        interval = max(_INTERVAL, 4 * (time.monotonic() - started))
    folder.account(account)


def _size(folder: Path) -> int:
    """Return how many bytes of the disk a folder takes that is being written.

    Raise ExceededError if it has too many files.
    """
    size = 0
    for count, entry in enumerate(_entries(folder)):
        if count > MOST_FILES:
            raise ExceededError(f"more than {MOST_FILES} files in one archive")
        try:
            size += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:  # it was only there for a moment
            continue
    return size


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Iterate over what is in a folder and its folders, as far as it can be read."""
    pending = [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                for entry in found:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except (FileNotFoundError, PermissionError):
            continue


def _walk(folder: Path) -> Iterator[Path]:
    """Iterate over the regular files in a folder and its folders; no link is followed.

    Raise OSError if a folder can't be read.
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


def _files(folder: Path) -> Iterator[Item]:
    """Iterate over extracted files; each is removed behind its member."""
    for path in _walk(folder):
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        with path.open("rb") as file:
            opener = partial(region, file, 0, file.seek(0, SEEK_END))
            yield Member(name=str(path.relative_to(folder)), open=opener)
        path.unlink()


# The formats.


def _nothing_known(_: BinaryIO, begin: int, end: int) -> int:
    return end - begin


def _no(_: object) -> bool:
    return False


def _reader(
    name: str,
    program: str,
    read: _Read,
    *,
    recognise: Callable[[bytes], bool] = _no,
    recognise_end: Callable[[BinaryIO], bool] | None = None,
    magics: tuple[bytes, ...] = (),
    magic_at: int = 0,
    extent: Callable[[BinaryIO, int, int], int] = _nothing_known,
    is_compressed: bool = False,
    is_certain: bool = True,
) -> FileReader:
    """Make a reader of what a program opens; where it is not certain, nothing else is reported."""

    def members(archive: Archive) -> Iterator[Item]:
        if (path := find(program)) is None:
            if is_certain:
                yield Member(name="", closed=name)
            return
        for item in read(path, archive):
            if is_certain or (isinstance(item, Member) and item.open):
                yield item
        rest = region(archive.file, extent(archive.file, 0, archive.size), archive.size)
        if not is_compressed and rest.skip_zeros():
            yield Problem(text="data behind the end")
            yield Member(name="(behind the end)", open=lambda: rest)

    return FileReader(
        name=name,
        recognise=recognise,
        recognise_end=recognise_end,
        magics=magics,
        magic_at=magic_at,
        members=members,
        extent=extent,
        is_compressed=is_compressed,
        marks=_MARKS,
        is_certain=is_certain,
    )


_MARKS = frozenset({*UNSUPPORTED.values(), *ENTRY_MARKS, "deb"})
_LHA = re.compile(rb"..-(?:lh[0-7dx]|lz[s45]|pm[012])-.{13}[\0-\3]", re.DOTALL)


def _begins(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _is_rar(head: bytes) -> bool:
    """Check the first block's sum and type (technote.txt of rar 4, and that of rar 5)."""
    if head.startswith(b"Rar!\x1a\x07\0"):
        size = int.from_bytes(head[12:14], "little")
        total = zlib.crc32(head[9 : 7 + size]) & 0xFFFF
        return head[7:10] == total.to_bytes(2, "little") + b"\x73"
    if head.startswith(b"Rar!\x1a\x07\1\0") and len(head) > 13:  # noqa: PLR2004 - up to its type
        total = zlib.crc32(head[12 : 13 + head[12]])  # its length is a byte, and not in itself
        return head[8:12] == total.to_bytes(4, "little") and head[13] in {1, 4}
    return False


def _is_squashfs(head: bytes) -> bool:
    """Check a superblock's version, and the block's size in both of its forms."""
    if not head.startswith((b"hsqs", b"sqsh")) or len(head) < 96:  # noqa: PLR2004 - its length
        return False
    order = "<" if head.startswith(b"h") else ">"
    size, _, _, log, _, _, major = struct.unpack_from(f"{order}I I H H H H H", head, 12)
    return bool(major == 4 and log < 32 and size == 1 << log)  # noqa: PLR2004


def _is_wim(head: bytes) -> bool:
    return head.startswith(b"MSWIM\0\0\0\xd0\0\0\0")


def _is_xar(head: bytes) -> bool:
    return head.startswith(b"xar!") and head[6:8] == b"\0\1"


def _is_lz4(head: bytes) -> bool:
    """Check the version of a frame; the old format has the length of its first block."""
    if head.startswith(b"\x02\x21\x4c\x18"):
        return 0 < int.from_bytes(head[4:8], "little") <= 9 << 20
    return head.startswith(b"\x04\x22\x4d\x18") and head[4:5] >= b"\x40" and head[4] >> 6 == 1


def _is_compress(head: bytes) -> bool:
    return head.startswith(b"\x1f\x9d") and len(head) > 3 and head[2] in range(0x89, 0x91)  # noqa: PLR2004


def _is_compound_file(head: bytes) -> bool:
    """Check the version, the order of bytes and the sector's size ([MS-CFB], 2.2)."""
    usual = (b"\3\0\xfe\xff\x09\0", b"\4\0\xfe\xff\x0c\0")
    return head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") and head[26:32] in usual


_NSIS = b"\xef\xbe\xad\xdeNullsoftInst"
_7ZZ = "7zz"

READERS = (
    _reader(
        "rar",
        "bsdtar",
        _listed,
        recognise=_is_rar,
        magics=(b"Rar!\x1a\x07",),
        extent=extents.rar,
    ),
    _reader("xar", _7ZZ, _extracted("Xar"), recognise=_is_xar),
    _reader("lha", _7ZZ, _extracted("Lzh"), recognise=lambda head: _LHA.match(head) is not None),
    _reader(
        "zstd",
        _7ZZ,
        _unpacked("x", "-so", *_SEVENZIP, "-tzstd"),
        recognise=_begins(extents.ZSTD, *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))),
        magics=(extents.ZSTD,),
        extent=extents.zstd,
        is_compressed=True,
    ),
    _reader(
        "compress",
        _7ZZ,
        _unpacked("x", "-so", *_SEVENZIP, "-tZ"),
        recognise=_is_compress,
        is_compressed=True,
    ),
    _reader(  # so short a magic that many files have it by chance, which gzip doesn't open
        "old formats of gzip",
        "gzip",
        _unpacked("-dc"),
        recognise=_begins(b"\x1f\x1e", b"\x1f\xa0", b"\x1f\x9d"),
        is_certain=False,
    ),
    _reader("lz4", "lz4", _unpacked("-dcq"), recognise=_is_lz4, is_compressed=True),
    _reader("lzip", "lzip", _unpacked("-dca"), recognise=_begins(b"LZIP\1"), is_compressed=True),
    _reader(
        "lzop",
        "lzop",
        _unpacked("-dc"),
        recognise=_begins(b"\x89LZO\0\r\n\x1a\n"),
        is_compressed=True,
    ),
    _reader(
        "7z",
        _7ZZ,
        _extracted("7z"),
        recognise=extents.is_sevenzip,
        magics=(b"7z\xbc\xaf\x27\x1c",),
        extent=extents.sevenzip,
    ),
    _reader(
        "squashfs",
        _7ZZ,
        _extracted("SquashFS"),
        recognise=_is_squashfs,
        magics=(b"hsqs",),
        extent=extents.squashfs,
    ),
    _reader("wim", _7ZZ, _extracted("wim"), recognise=_is_wim, magics=(b"MSWIM\0\0\0",)),
    _reader("compound file", _7ZZ, _extracted("Compound"), recognise=_is_compound_file),
    _reader(
        "base64",
        _7ZZ,
        _unpacked("x", "-so", *_SEVENZIP, "-tBase64"),
        recognise=encoded.is_base64,
        magics=tuple(b"\n" + magic for magic in encoded.MAGICS),
        magic_at=-1,
        extent=encoded.extent,
    ),
    _reader(
        "NSIS",
        _7ZZ,
        _extracted("Nsis"),
        recognise=lambda head: head[4:20] == _NSIS,
        magics=(_NSIS,),
        magic_at=4,
        extent=extents.nsis,
    ),
    *(
        _reader(name, _7ZZ, _extracted(kind, may_be_empty=True), recognise_end=recognise_end)
        for name, (kind, recognise_end) in disks.KINDS.items()
    ),
)

PACKAGES = {
    "bsdtar": "libarchive-tools",
    _7ZZ: "7zip",
    "lz4": "lz4",
    "lzip": "lzip",
    "lzop": "lzop",
}
"""The programs that open archives, and the packages of Debian that have them."""


def find(program: str) -> str | None:
    """Return the path of a program, where the inspector looks for it; None if there is none."""
    return shutil.which(program, path=os.defpath)


def missing() -> tuple[str, ...]:
    """Return the programs that are not installed, whose formats are unsupported content."""
    return tuple(program for program in PACKAGES if find(program) is None)
