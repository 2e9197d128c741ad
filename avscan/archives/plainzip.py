"""Whether a zip is of the one shape that all programs read alike.

Clamscan 1.4 says `OK` to zips that others unpack: with zip64 fields (as everything has that was
written as a stream of unknown length), with a prefix or a false end record, with headers that tell
two stories. Only of a plain zip can it be taken that clamscan saw the members.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from os import SEEK_END
from typing import BinaryIO

from avscan.archives.containers import SURE, passes_for_tar

DIRECTORY = 24 << 20  # bytes that a directory may have

_END = struct.Struct("<4s4HIIH")
# What both headers of an entry have in the same order: flags, method, time, date, checksum, the
# two sizes, the lengths of the name and of the extra field.
_COMMON = struct.Struct("<HH4x4sIIHH")
_ENTRY_LENGTH = 46
_LOCAL_LENGTH = 30
_USUAL_FLAGS = 0x080E  # the ways to deflate, sizes that follow, names in UTF-8
_SIZES_FOLLOW = 0x8
_IN_EXTRA = 0xFFFFFFFF
_DESCRIPTORS = {12, 16}  # bytes of the sizes that follow, without a magic and with one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Where an entry lies, with its own header; `follows` tells that its sizes come behind it."""

    begin: int
    end: int
    follows: bool = False


class _NotPlainError(Exception):
    """The zip has another shape."""


def is_plain(file: BinaryIO) -> bool:
    """Tell whether entries lie end to end from the first byte on, each as the directory has it.

    Behind them comes the directory, then the end record without a comment, then nothing. And it is
    no tar at once, which clamscan would take it for.
    """
    file.seek(0)
    if passes_for_tar(file.read(SURE)):
        return False
    try:
        begin, directory = _directory(file)
        spans = [*_spans(file, directory), _Span(begin=begin, end=begin)]
    except (_NotPlainError, struct.error):
        return False
    return spans[0].begin == 0 and all(_adjacent(one, two) for one, two in pairwise(spans))


def _adjacent(one: _Span, two: _Span) -> bool:
    between = two.begin - one.end
    return between in _DESCRIPTORS if one.follows else between == 0


def _directory(file: BinaryIO) -> tuple[int, bytes]:
    """Read the directory by an end record that is the file's last 22 bytes."""
    end = max(0, file.seek(0, SEEK_END) - _END.size)
    file.seek(end)
    magic, disk, first, here, count, size, begin, comment = _END.unpack(file.read(_END.size))
    if magic != b"PK\5\6" or disk or first or here != count or comment:
        raise _NotPlainError
    if begin + size != end or size > DIRECTORY:
        raise _NotPlainError
    file.seek(begin)
    return begin, file.read(size)


def _spans(file: BinaryIO, directory: bytes) -> Iterator[_Span]:
    """Compare each entry's two headers."""
    at = 0
    while at < len(directory):
        if directory[at : at + 4] != b"PK\1\2":
            raise _NotPlainError
        fields = _COMMON.unpack_from(directory, at + 8)
        flags, _, _, packed, unpacked, name, extra = fields
        (comment,) = struct.unpack_from("<H", directory, at + 32)
        (begin,) = struct.unpack_from("<I", directory, at + 42)
        file.seek(begin)
        local = file.read(_LOCAL_LENGTH)
        local_fields = _COMMON.unpack_from(local, 6)
        follows = bool(flags & _SIZES_FOLLOW)
        known = (b"\0\0\0\0", 0, 0) if follows else fields[2:5]
        named = directory[at + _ENTRY_LENGTH : at + _ENTRY_LENGTH + name]
        if (
            flags & ~_USUAL_FLAGS
            or _IN_EXTRA in {packed, unpacked, begin}
            or local[:4] != b"PK\3\4"
            or local_fields[:2] != fields[:2]
            or local_fields[2:5] not in {known, fields[2:5]}
            or file.read(local_fields[5]) != named
        ):
            raise _NotPlainError
        data = begin + _LOCAL_LENGTH + local_fields[5] + local_fields[6]
        yield _Span(begin=begin, end=data + packed, follows=follows)
        at += _ENTRY_LENGTH + name + extra + comment
