"""Pck: the archive of Godot's games, alone or at a program's end.

The profile is what Godot opens: versions 0 to 4 of the format, which Godot 2, 3, 4.0, 4.5 and 4.6
began to write (core/io/file_access_pack.cpp). At a program's end, a trailer has the archive's size
and its magic.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from os import SEEK_END
from typing import BinaryIO

from avscan.archives.executables import is_program
from avscan.archives.reader import (
    HEAD,
    UNREADABLE,
    Archive,
    DamagedError,
    FileReader,
    Item,
    Member,
)
from avscan.archives.streams import Stream, read_at, region

_MAGIC = b"GDPC"
_START = struct.Struct("<4s4I")  # magic, version of the format, version of Godot
_FLAGS = struct.Struct("<IQ")  # flags, where the files begin
_PLACE = struct.Struct("<2Q16s")  # offset, size, MD5
_TRAILER = struct.Struct("<Q4s")
_RESERVED = 64
_FLAGGED, _MOVABLE, _LATEST = 2, 3, 4  # versions: with flags, with its directory anywhere
_DIRECTORY_ENCRYPTED, _RELATIVE, _SPARSE = 1, 2, 4  # flags of an archive
_ENCRYPTED = 1  # a flag of a file
_NO_VERSION, _NO_GODOT = 64, 100  # above all versions of the format, and of Godot
_LONGEST_NAME = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directory:
    """The place of the directory, and the base of the files' offsets."""

    version: int
    begin: int
    base: int
    is_encrypted: bool
    is_sparse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    begin: int
    end: int
    is_encrypted: bool


def _is_pck(head: bytes) -> bool:
    """Check the magic, and that a version follows. Godot checks nothing else."""
    version = int.from_bytes(head[4:8], "little")
    return head.startswith(_MAGIC) and len(head) >= _START.size and version < _NO_VERSION


def _embedded(file: BinaryIO) -> int:
    """Return the offset of an archive that ends with the file; 0 if there is none."""
    end = file.seek(0, SEEK_END) - _TRAILER.size
    trailer = read_at(file, end, _TRAILER.size)
    if not trailer.endswith(_MAGIC):
        return 0
    size, _ = _TRAILER.unpack(trailer)
    begin: int = max(0, end - size)
    return begin if _is_pck(read_at(file, begin, HEAD)) else 0


def _members(archive: Archive) -> Iterator[Item]:
    begin = 0 if _is_pck(read_at(archive.file, 0, HEAD)) else _embedded(archive.file)
    if begin:
        front = region(archive.file, 0, begin)
        is_scanned = is_program(front.peek(HEAD))
        yield Member(name="(in front)", open=lambda: front, already_scanned=is_scanned)
    directory = _directory(archive.file, begin, archive.size)
    if directory.is_encrypted:
        yield Member(name="", closed="encrypted")
        return
    for entry in _entries(region(archive.file, directory.begin, archive.size), directory):
        if entry.is_encrypted:
            yield Member(name=entry.name, closed="encrypted")
        elif not directory.is_sparse:
            opener = partial(region, archive.file, entry.begin, entry.end)
            yield Member(name=entry.name, open=opener)


def _directory(file: BinaryIO, begin: int, end: int) -> _Directory:
    """Parse the header. Raise DamagedError or EOFError if it is damaged."""
    header = region(file, begin, end)
    _, version, *_ = _START.unpack(header.read_exactly(_START.size))
    flags = base = 0
    if version > _LATEST:
        raise DamagedError(f"version {version} of the format is not known")
    if version >= _FLAGGED:
        flags, base = _FLAGS.unpack(header.read_exactly(_FLAGS.size))
    if version >= _MOVABLE:
        at = begin + int.from_bytes(header.read_exactly(8), "little")
    else:
        at = begin + header.tell() + _RESERVED
    return _Directory(
        version=version,
        begin=at,
        base=base + begin if version >= _MOVABLE or flags & _RELATIVE else base,
        is_encrypted=bool(flags & _DIRECTORY_ENCRYPTED),
        is_sparse=version >= _MOVABLE and bool(flags & _SPARSE),  # its files lie beside it
    )


def _entries(stream: Stream, directory: _Directory) -> Iterator[_Entry]:
    """Iterate over the entries of the directory. Raise DamagedError or EOFError if it is damaged."""
    for _ in range(_number(stream)):
        length = _number(stream)
        if length > _LONGEST_NAME:
            raise DamagedError(f"a name of {length:,} bytes")
        name = stream.read_exactly(length).rstrip(b"\0").decode("utf-8", "surrogateescape")
        offset, size, _ = _PLACE.unpack(stream.read_exactly(_PLACE.size))
        flags = _number(stream) if directory.version >= _FLAGGED else 0
        begin = directory.base + offset
        is_encrypted = bool(flags & _ENCRYPTED)
        yield _Entry(name=name, begin=begin, end=begin + size, is_encrypted=is_encrypted)


def _number(stream: Stream) -> int:
    return int.from_bytes(stream.read_exactly(4), "little")


def _extent(file: BinaryIO, begin: int, end: int) -> int:
    """Return the length of an archive by its files and its directory; 0 if it has no files.

    Programs of Godot contain the magic. So a damaged archive counts only if its version is usual.
    """
    try:
        directory = _directory(file, begin, end)
        if directory.is_encrypted:
            return end - begin
        stream = region(file, directory.begin, end)
        last = max((entry.end for entry in _entries(stream, directory)), default=0)
    except UNREADABLE:
        _, _, major, minor, _ = _START.unpack(read_at(file, begin, _START.size))
        return end - begin if 0 < major < _NO_GODOT and minor < _NO_GODOT else 0
    return min(max(last, directory.begin + stream.tell()), end) - begin if last else 0


READER = FileReader(
    name="pck",
    recognise=_is_pck,
    recognise_end=lambda file: _embedded(file) > 0,
    magics=(_MAGIC,),
    members=_members,
    extent=_extent,
)
