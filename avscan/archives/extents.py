"""Where an archive ends that a program opens: such programs pass over whatever is behind it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from avscan.archives.streams import read_at

ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_BLOCK = 128 << 10  # bytes of a block of zstd (RFC 8878)
_SEVENZIP = struct.Struct("<8sIQQ4x")  # 7zFormat.txt of 7-Zip: a sum, and where the header is
_SQUASHFS_BLOCK = 4096
_OLD_WITH_DATA, _OLD_END = {0x74, 0x7A}, 0x7B  # types of blocks of rar 4
_OLD_MAIN = 0x73
_OLD_ENCRYPTED = {_OLD_MAIN: 0x80, 0x74: 4}  # flags of the archive's header, and of a file's
_WITH_FILE, _ENCRYPTED, _END = {2, 3}, 4, 5  # types of blocks of rar 5
_ENCRYPTED_FILE = 1  # a record of rar 5
_MOST_HEADER = 2 << 20


def sevenzip(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes of a 7z archive up to its header's end."""
    start = read_at(file, begin, _SEVENZIP.size)
    if len(start) < _SEVENZIP.size:
        return 0
    _, _, offset, length = _SEVENZIP.unpack(start)
    return min(_SEVENZIP.size + int(offset) + int(length), end - begin)


def is_sevenzip(head: bytes) -> bool:
    """Return whether a 7z archive's first header has the right sum."""
    start = head[: _SEVENZIP.size]
    return (
        head.startswith(b"7z\xbc\xaf\x27\x1c")
        and len(start) == _SEVENZIP.size
        and zlib.crc32(start[12:]) == int.from_bytes(start[8:12], "little")
    )


def squashfs(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes that a superblock says are used, up to a whole block."""
    used = int.from_bytes(read_at(file, begin + 40, 8), "little")
    return min(used + -used % _SQUASHFS_BLOCK, end - begin)


def nsis(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes of an installer's data, which its first header counts."""
    return min(int.from_bytes(read_at(file, begin + 24, 4), "little"), end - begin)


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of a rar; `length` is 0 if it is malformed.

    With `hides_rest` no later block can be read without the password.
    """

    length: int = 0
    is_end: bool = False
    is_encrypted: bool = False
    hides_rest: bool = False


def rar(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes up to the block that ends a rar, or all if that is not found."""
    for at, block in _rar_blocks(file, begin, end):
        if block.is_end:
            return min(at, end) - begin
    return end - begin


def is_rar_encrypted(file: BinaryIO, begin: int, end: int) -> bool:
    """Return whether a rar needs a password for its headers or for any of its files."""
    return any(block.is_encrypted for _, block in _rar_blocks(file, begin, end))


def _rar_blocks(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, _Block]]:
    """Iterate over the blocks of a rar that can be read, with the offset behind each.

    Sources: technote.txt of rar 4; "RAR 5.0 archive format".
    """
    is_old = read_at(file, begin + 6, 1) == b"\0"
    read, at = (_old_rar_block, begin + 7) if is_old else (_rar_block, begin + 8)
    while at < end and (block := read(file, at)).length:
        at += block.length
        yield at, block
        if block.hides_rest:
            return


def _old_rar_block(file: BinaryIO, at: int) -> _Block:
    """Read the header of a block of rar 4."""
    head = read_at(file, at, 36)
    if len(head) < 7:  # noqa: PLR2004 - the shortest
        return _Block()
    kind, flags, size = struct.unpack_from("<BHH", head, 2)
    has_data = kind in _OLD_WITH_DATA or flags & 0x8000
    data = int.from_bytes(head[7:11], "little") if has_data else 0
    if kind in _OLD_WITH_DATA and flags & 0x100:
        data += int.from_bytes(head[32:36], "little") << 32
    return _Block(
        size + data if size >= 7 else 0,  # noqa: PLR2004
        is_end=kind == _OLD_END,
        is_encrypted=bool(flags & _OLD_ENCRYPTED.get(kind, 0)),
        hides_rest=kind == _OLD_MAIN and bool(flags & _OLD_ENCRYPTED[kind]),
    )


def _rar_block(file: BinaryIO, at: int) -> _Block:
    """Read the header of a block of rar 5."""
    head = read_at(file, at, 64)
    length, begin = _number(head, 4)
    kind, here = _number(head, begin)
    flags, here = _number(head, here)
    extra, here = _number(head, here) if flags & 1 else (0, here)
    data, _ = _number(head, here) if flags & 2 else (0, here)
    if not length:
        return _Block()
    size = begin + length
    extra = min(extra, length, _MOST_HEADER) if kind in _WITH_FILE else 0
    return _Block(
        size + data,
        is_end=kind == _END,
        is_encrypted=kind == _ENCRYPTED or _is_encrypted(read_at(file, at + size - extra, extra)),
        hides_rest=kind == _ENCRYPTED,
    )


def _is_encrypted(extra: bytes) -> bool:
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
    """Return a number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:  # noqa: PLR2004 - the last one
            break
    return value, at


def is_rar_volume(head: bytes) -> bool:
    """Return whether a rar is a part of several, by the flags of its first block."""
    if head[6] == 0:
        return bool(head[10] & 1)
    _, at = _number(head, 12)  # its length, behind the sum
    _, at = _number(head, at)
    flags, at = _number(head, at)
    if flags & 1:
        _, at = _number(head, at)
    return head[13] == 1 and bool(_number(head, at)[0] & 1)


def zstd(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes of all frames that follow one another (RFC 8878, 3.1.1).

    0 means that it only looks like a frame. Every program that has zstd's library has its magic, and
    code behind it: that is no chain of several blocks up to the last one, nor one block that ends
    with the file or before another frame.
    """
    at, blocks = begin, 0
    while read_at(file, at, len(ZSTD)) == ZSTD:
        length, more = _frame(file, at, end)
        if not length:
            break
        at, blocks = at + length, blocks + more
    return at - begin if blocks > 1 or at == end else 0


def _frame(file: BinaryIO, begin: int, end: int) -> tuple[int, int]:
    """Return a frame's length, 0 if it is malformed or cut short, and the number of its blocks."""
    head = read_at(file, begin, 6)
    if len(head) < 6 or head[4] & 8:  # noqa: PLR2004 - magic, flags, size
        return 0, 0
    flags = head[4]
    single = flags >> 5 & 1
    at = begin + 6 - single + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    blocks, last = 0, False
    while not last:
        header = int.from_bytes(read_at(file, at, 3).ljust(3, b"\xff"), "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3 or size > _MOST_BLOCK or at >= end:  # noqa: PLR2004 - reserved
            return 0, 0
        at += 3 + (1 if kind == 1 else size)
        blocks += 1
    at += 4 if flags & 4 else 0
    return (at - begin, blocks) if at <= end else (0, 0)
