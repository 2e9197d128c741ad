"""Formats that are searched for behind programs, only to be named: nothing opens them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from avscan.archives.reader import Archive, FileReader, Item, Member

_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_BLOCK = 128 << 10  # bytes of a block of zstd (RFC 8878)
# Inno Setup's table of its parts, as innoextract knows its first bytes.
_INNO = re.compile(rb"rDlPtS(?:0[24567]\x87eVx|\xcd\xe6\xd7\x7b\x0b\x2a)")


def _named(
    name: str,
    recognise: Callable[[bytes], bool],
    *magics: bytes,
    extent: Callable[[BinaryIO, int, int], int] = lambda *_: 1,
) -> FileReader:
    def members(_: Archive) -> Iterator[Item]:
        yield Member(name="", closed=name)

    return FileReader(name=name, recognise=recognise, magics=magics, members=members, extent=extent)


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


def _is_zstd(file: BinaryIO, begin: int, end: int) -> int:
    """Return 1 if a frame begins here, and is no few bytes that look like one (RFC 8878, 3.1.1).

    Every program that has zstd's library has its magic too, and code behind it: that is no chain of
    several blocks up to the last one, nor one block that ends with the file or before another frame.
    """

    def read(at: int, size: int) -> bytes:
        file.seek(at)
        return file.read(size)

    head = read(begin, 6)
    if len(head) < 6 or head[4] & 8:  # noqa: PLR2004 - magic, flags, size
        return 0
    flags = head[4]
    single = flags >> 5 & 1
    at = begin + 6 - single + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    blocks, last = 0, False
    while not last:
        header = int.from_bytes(read(at, 3).ljust(3, b"\xff"), "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3 or size > _MOST_BLOCK or at >= end:  # noqa: PLR2004 - reserved
            return 0
        at += 3 + (1 if kind == 1 else size)
        blocks += 1
    at += 4 if flags & 4 else 0
    return int(at == end or (at < end and (blocks > 1 or read(at, len(_ZSTD)) == _ZSTD)))


READERS = (
    _named("rar", _is_rar, b"Rar!\x1a\x07"),
    _named("Inno Setup", lambda head: _INNO.match(head) is not None, b"rDlPtS"),
    _named("zstd", lambda head: head.startswith(_ZSTD), _ZSTD, extent=_is_zstd),
)
