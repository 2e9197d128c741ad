"""Rpa: the archive of Ren'Py's games.

The profile: a line with the index's offset and a key, the files at any offsets, and the index: a
pickled dict of names, compressed by zlib. Each file is a list of parts: an offset and a length, both
combined with the key by XOR, and a prefix, which the length includes (renpy/loader.py). Version 3.2
is not Ren'Py's, and has a field in front of the key.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from avscan.archives import plain_pickle
from avscan.archives.reader import HEAD, Archive, DamagedError, FileReader, Item, Member, Problem
from avscan.archives.streams import chunked, read_at, region

INDEX = 64 << 20
"""Bytes of an index, packed and unpacked, at the most: it is read into memory."""

# All that Python's `int` parses as a number is recognised.
_MAGIC = re.compile(
    rb"RPA-(?:3\.0 [0-9a-f_x+ \t-]{16}|(?:2\.0|3\.2) [0-9a-f_x+ \t-]+\r?\n)", re.IGNORECASE
)
_HEADER = re.compile(
    rb"RPA-(?:2\.0 ([0-9a-f]{16})|3\.0 ([0-9a-f]{16}) ([0-9a-f]{8})"
    rb"|3\.2 ([0-9a-f]{1,16}) [0-9a-f]{1,8} ([0-9a-f]{1,8}))\r?\n",
    re.IGNORECASE,
)


_Part = tuple[bytes, int, int]  # bytes of the index, then where bytes of the archive begin and end


def _members(archive: Archive) -> Iterator[Item]:
    header = _HEADER.match(read_at(archive.file, 0, HEAD))
    if header is None:
        raise DamagedError("an unusual header")
    offset = int(header[1] or header[2] or header[4], 16)
    key = int(header[3] or header[5] or b"0", 16)
    index = plain_pickle.loads(_unpacked(archive, offset))
    if not isinstance(index, dict):
        raise DamagedError("its index is no dict")
    for name, value in index.items():
        if isinstance(name, bytes):
            name = name.decode("utf-8", "surrogateescape")  # noqa: PLW2901
        label = name if isinstance(name, str) else "(no text)"
        try:
            parts = _parts(value, key)
        except ValueError:
            yield Problem(text=f"{label} has an unusual entry in the index")
            continue
        yield Member(name=label, open=partial(chunked, _chunks(archive.file, parts)))


def _unpacked(archive: Archive, offset: int) -> bytes:
    """Unpack the index. Raise DamagedError if it is damaged or has too many bytes."""
    packed = read_at(archive.file, offset, INDEX)
    decoder = zlib.decompressobj()
    index = decoder.decompress(packed, INDEX)
    if not decoder.eof:
        raise DamagedError(f"its index is cut short or has more than {INDEX:,} bytes")
    return index


def _parts(value: object, key: int) -> list[_Part]:
    """Parse a file's entry in the index. Raise ValueError if it is unusual."""
    if not isinstance(value, list | tuple):
        raise ValueError("no list of parts")  # noqa: TRY004 - damage, no bug
    return [_part(each, key) for each in value]


def _part(value: object, key: int) -> _Part:
    match value:
        case [int(offset), int(length)]:
            prefix = b""
        case [int(offset), int(length), bytes(prefix)]:
            pass
        case [int(offset), int(length), str(text)]:
            prefix = text.encode("latin-1")
        case _:
            raise ValueError("no part")
    begin, end = offset ^ key, (offset ^ key) + (length ^ key) - len(prefix)
    if not 0 <= begin <= end:
        raise ValueError("a part of negative size")
    return prefix, begin, end


def _chunks(file: BinaryIO, parts: list[_Part]) -> Iterator[bytes]:
    for prefix, begin, end in parts:
        if prefix:
            yield prefix
        yield from region(file, begin, end).chunks()


READER = FileReader(
    name="rpa", recognise=lambda head: _MAGIC.match(head) is not None, members=_members
)
