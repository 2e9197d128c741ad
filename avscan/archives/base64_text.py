"""Base64 of a compressed file or a tar, in lines as base64(1) writes them into a script."""

from __future__ import annotations

import binascii
import re
from typing import BinaryIO

from avscan.archives import tar

MAGICS = (b"H4sI", b"QlpoO", b"/Td6WF", b"KLUv/", b"Li8", b"Li9")
"""How base64 of gzip, bzip2, xz, zstd and of a name that begins with `./` begins."""

_LONGEST = 80  # bytes of a line
_FIRST = re.compile(rb"[A-Za-z0-9+/]{64,76}\r?\n")
_LINE = re.compile(rb"(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2}\r?\n?")


def recognise(head: bytes) -> bool:
    """Return whether a file begins with a full line of base64 of a compressed file or a tar."""
    if not head.startswith(MAGICS) or not _FIRST.match(head):
        return False
    text = b"".join(head.split())
    data = binascii.a2b_base64(text[: len(text) // 4 * 4])
    return not head.startswith(b"Li") or tar.READER.recognise(data)


def extent(file: BinaryIO, begin: int, end: int) -> int:
    """Return the length of the lines that are as long as the first one, and of a shorter last one."""
    file.seek(begin)
    first = at = 0
    while begin + at < end and _LINE.fullmatch(line := file.readline(_LONGEST)):
        first = first or len(line)
        at += len(line)
        if len(line) != first:
            break
    return min(at, end - begin)
