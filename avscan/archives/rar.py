"""Rar: its blocks are parsed here, and bsdtar unpacks its files.

bsdtar turns the archive into a tar on its output. It cannot be told the format: where the file may
be another format to it as well, that is a problem. It does not say whether a file is encrypted or a
part of several, and skips what is behind the end. So the blocks are parsed as well (technote.txt of
rar 4; "RAR 5.0 archive format").
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from avscan.archives import disks, tar
from avscan.archives.process import Run
from avscan.archives.reader import HEAD, Archive, Item, Member, Problem
from avscan.archives.streams import Stream, read_at, region
from avscan.archives.tar_fields import BLOCK

_OLD_MAIN, _OLD_FILE, _OLD_SERVICE, _OLD_END = 0x73, 0x74, 0x7A, 0x7B  # types of blocks of rar 4
_OLD_ENCRYPTED = {_OLD_MAIN: 0x80, _OLD_FILE: 4}  # flags
_MAIN, _FILE, _SERVICE, _ENCRYPTION, _END = 1, 2, 3, 4, 5  # the same of rar 5
_ENCRYPTED_FILE = 1  # a record of rar 5
_MOST_HEADER = 2 << 20


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of a rar, or all of them together; `length` is 0 if it is malformed.

    With `hides_rest` no later block can be read without the password.
    """

    length: int = 0
    is_end: bool = False
    is_encrypted: bool = False
    is_volume: bool = False
    hides_rest: bool = False


def recognise(head: bytes) -> bool:
    """Return whether the checksum and the type of the first block are right."""
    if head.startswith(b"Rar!\x1a\x07\0"):
        size = int.from_bytes(head[12:14], "little")
        total = zlib.crc32(head[9 : 7 + size]) & 0xFFFF
        return head[7:10] == total.to_bytes(2, "little") + bytes([_OLD_MAIN])
    if head.startswith(b"Rar!\x1a\x07\1\0") and len(head) > 13:  # noqa: PLR2004 - up to its type
        total = zlib.crc32(head[12 : 13 + head[12]])  # the length's byte is not counted in it
        return head[8:12] == total.to_bytes(4, "little") and head[13] in {_MAIN, _ENCRYPTION}
    return False


def members(archive: Archive) -> Iterator[Item]:
    """Read the tar that bsdtar makes of a rar."""
    if tar.READER.recognise(read_at(archive.file, 0, HEAD)) or disks.is_iso(archive.file):
        yield Problem(text="another format at the same time")
    whole = _parse(archive.file, 0, archive.size)
    if whole.is_volume:  # bsdtar may skip it in silence
        yield Problem(text="a part of several")
    # In a file bsdtar would look for a zip at the end first. In a pipe it cannot.
    feed = region(archive.file, 0, whole.length)
    with Run(("bsdtar", "-cf", "-", "--format=pax", "@-"), archive.path, feed) as run:

        def pull(size: int) -> bytes:
            data = run.pull(size)
            archive.account.unpack(len(data))  # headers count too: they may be endless
            return data

        stream = Stream(pull)
        is_empty = not stream.peek(BLOCK).strip(b"\0")
        yield from tar.READER.members(stream)
        for _ in stream.chunks():
            pass
        failure = run.failure()
        if whole.is_encrypted:
            yield Member(name="", closed="encrypted")
        elif failure is not None:
            yield failure
        elif is_empty:
            yield Problem(text="could not be opened whole: no members")


def extent(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes up to the block that ends a rar, or all if there is none."""
    return _parse(file, begin, end).length


def _parse(file: BinaryIO, begin: int, end: int) -> _Block:
    """Parse the blocks of a rar up to its end block, as far as they can be read."""
    is_old = read_at(file, begin + 6, 1) == b"\0"
    parse_block, at = (_parse_old_block, begin + 7) if is_old else (_parse_block, begin + 8)
    block, is_encrypted, is_volume = _Block(), False, False
    while at < end and not block.is_end and not block.hides_rest:
        if not (block := parse_block(file, at)).length:
            break
        at += block.length
        is_encrypted |= block.is_encrypted
        is_volume |= block.is_volume
    length = (min(at, end) if block.is_end else end) - begin
    return _Block(length, is_encrypted=is_encrypted, is_volume=is_volume)


def _parse_old_block(file: BinaryIO, at: int) -> _Block:
    """Parse the header of a block of rar 4."""
    head = read_at(file, at, 36)
    if len(head) < 7:  # noqa: PLR2004 - the shortest
        return _Block()
    kind, flags, size = struct.unpack_from("<BHH", head, 2)
    is_file = kind in {_OLD_FILE, _OLD_SERVICE}
    data = int.from_bytes(head[7:11], "little") if is_file or flags & 0x8000 else 0
    if is_file and flags & 0x100:
        data += int.from_bytes(head[32:36], "little") << 32
    is_encrypted = bool(flags & _OLD_ENCRYPTED.get(kind, 0))
    return _Block(
        size + data if size >= 7 else 0,  # noqa: PLR2004
        is_end=kind == _OLD_END,
        is_encrypted=is_encrypted,
        is_volume=kind == _OLD_MAIN and bool(flags & 1),
        hides_rest=kind == _OLD_MAIN and is_encrypted,
    )


def _parse_block(file: BinaryIO, at: int) -> _Block:
    """Parse the header of a block of rar 5."""
    head = read_at(file, at, 64)
    length, begin = _number(head, 4)
    kind, here = _number(head, begin)
    flags, here = _number(head, here)
    extra, here = _number(head, here) if flags & 1 else (0, here)
    data, here = _number(head, here) if flags & 2 else (0, here)
    if not length:
        return _Block()
    size = begin + length
    extra = min(extra, length, _MOST_HEADER) if kind in {_FILE, _SERVICE} else 0
    return _Block(
        size + data,
        is_end=kind == _END,
        is_encrypted=kind == _ENCRYPTION
        or _has_encryption(read_at(file, at + size - extra, extra)),
        is_volume=kind == _MAIN and bool(_number(head, here)[0] & 1),
        hides_rest=kind == _ENCRYPTION,
    )


def _has_encryption(extra: bytes) -> bool:
    """Return whether the extra area of a file's header has the record of its encryption."""
    at = 0
    while at < len(extra):
        size, begin = _number(extra, at)
        kind, _ = _number(extra, begin)
        if kind == _ENCRYPTED_FILE:
            return True
        at = begin + size
    return False


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and the offset behind it."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:  # noqa: PLR2004 - the last one
            break
    return value, at
