"""The lengths of archives that 7-Zip opens: it skips all data behind their ends.

The base64 that it decodes is in lines as base64(1) writes them into a script.
"""

from __future__ import annotations

import binascii
import re
import struct
import zlib
from typing import BinaryIO

from avscan.archives import tar
from avscan.archives.streams import read_at
from avscan.archives.unsupported import ZSTD

_MOST_BLOCK = 128 << 10  # bytes of a block of zstd (RFC 8878)
_SEVENZIP = struct.Struct("<8sIQQ4x")  # 7zFormat.txt of 7-Zip: a checksum, and the header's place
_SQUASHFS_BLOCK = 4096

BASE64 = (b"H4sI", b"QlpoO", b"/Td6WF", b"KLUv/", b"Li8", b"Li9")
"""How base64 of gzip, bzip2, xz, zstd and of a name that begins with `./` begins."""

_LONGEST_LINE = 80
_FIRST_LINE = re.compile(rb"[A-Za-z0-9+/]{64,76}\r?\n")
_DIGITS = re.compile(rb"[A-Za-z0-9+/]+")
_LINE = re.compile(rb"(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2}\r?\n?")


def sevenzip(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes of a 7z archive up to its header's end."""
    start = read_at(file, begin, _SEVENZIP.size)
    if len(start) < _SEVENZIP.size:
        return 0
    _, _, offset, length = _SEVENZIP.unpack(start)
    return min(_SEVENZIP.size + int(offset) + int(length), end - begin)


def is_sevenzip(head: bytes) -> bool:
    """Return whether a file begins with a 7z archive's first header with the right checksum."""
    start = head[: _SEVENZIP.size]
    return (
        head.startswith(b"7z\xbc\xaf\x27\x1c")
        and len(start) == _SEVENZIP.size
        and zlib.crc32(start[12:]) == int.from_bytes(start[8:12], "little")
    )


def squashfs(file: BinaryIO, begin: int, end: int) -> int:
    """Return the used bytes that a superblock states, up to a whole block."""
    used = int.from_bytes(read_at(file, begin + 40, 8), "little")
    return min(used + -used % _SQUASHFS_BLOCK, end - begin)


def nsis(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes of an installer's data that its first header states."""
    return min(int.from_bytes(read_at(file, begin + 24, 4), "little"), end - begin)


def zstd(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes of all frames that follow one another (RFC 8878, 3.1.1); 0 if there are none.

    Every program with zstd's library has the magic, followed by code. So frames count only if they
    have several blocks together, or end with the file.
    """
    at, blocks = begin, 0
    while read_at(file, at, 4) == ZSTD[0]:
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


def is_base64(head: bytes) -> bool:
    """Return whether a file begins with a full line of base64 of a compressed file or a tar."""
    if not head.startswith(BASE64) or not _FIRST_LINE.match(head):
        return False
    digits = b"".join(_DIGITS.findall(head))
    data = binascii.a2b_base64(digits[: len(digits) // 4 * 4])
    return not head.startswith(b"Li") or tar.READER.recognise(data)


def base64(file: BinaryIO, begin: int, end: int) -> int:
    """Return the bytes of the lines that are as long as the first one, and of a shorter last one."""
    file.seek(begin)
    first = at = 0
    while begin + at < end and _LINE.fullmatch(line := file.readline(_LONGEST_LINE)):
        first = first or len(line)
        at += len(line)
        if len(line) != first:
            break
    return min(at, end - begin)
