"""Asar: the archive of Electron's programs, uncompressed.

The profile: a header in the framing of Chromium's pickles, then the files, one behind another up to
the archive's end. The header is JSON: folders with `files`, files with `size` and `offset` (decimal,
relative to the header's end). Files marked `unpacked` lie beside the archive, and links have no
content (the README of electron/asar).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import BinaryIO

from avscan.archives.reader import HEAD, Archive, DamagedError, FileReader, Item, Member, Problem
from avscan.archives.streams import read_at, region

HEADER = 16 << 20
"""Bytes of a header, at the most: it is read into memory."""

_PREFIX = struct.Struct("<4I")  # 4, the header's size, its content's size, the JSON's size
_NUMBER = 4  # bytes of the number that each pickle begins with
_OFFSET = re.compile(r"[0-9]{1,20}")
_LONGEST_NAME = 4096


def _is_asar(head: bytes) -> bool:
    """Return whether the sizes of the pickles fit together, and JSON follows."""
    if len(head) < _PREFIX.size:
        return False
    first, size, content, length = _PREFIX.unpack_from(head)
    fits = first == _NUMBER and size - _NUMBER == content >= length + _NUMBER
    return fits and head[_PREFIX.size :].lstrip()[:1] == b"{"


def _is_padded(file: BinaryIO) -> bool:
    """Return whether the pickle of the JSON has an unusually long header, which Electron skips."""
    first, size, content, _ = _PREFIX.unpack(read_at(file, 0, _PREFIX.size).ljust(_PREFIX.size))
    text = read_at(file, 2 * _NUMBER + size - content, HEAD)[_NUMBER:]
    return first == _NUMBER and size - _NUMBER > content and text.lstrip()[:1] == b"{"


def _members(archive: Archive) -> Iterator[Item]:
    _, size, _, length = _PREFIX.unpack(read_at(archive.file, 0, _PREFIX.size))
    if _is_padded(archive.file):
        raise DamagedError("an unusual header")
    if length > HEADER:
        raise DamagedError(f"its header has more than {HEADER:,} bytes")
    begin = 2 * _NUMBER + size
    header = _parse(read_at(archive.file, _PREFIX.size, length))
    places = []
    for name, node in _files(header):
        place = _place(node)
        if place is None:
            yield Problem(text=f"{name} has an unusual size or offset")
            continue
        places.append(place)
        opener = partial(region, archive.file, begin + place[0], begin + place[1])
        yield Member(name=name, open=opener)
    yield from _check_layout(places, archive.size - begin)


def _parse(header: bytes) -> object:
    """Parse the header. Raise DamagedError or ValueError if it is damaged."""
    try:
        return json.loads(header, object_pairs_hook=_unique)
    except RecursionError as error:
        raise DamagedError("its folders are too deep") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object without equal names: readers differ in which one they use."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise DamagedError("its header has a name twice")
    return unique


def _files(header: object) -> Iterator[tuple[str, dict[str, object]]]:
    """Iterate over the files in a header, with their paths. Raise DamagedError if it is malformed."""
    todo = [("", header)]
    while todo:
        name, node = todo.pop()
        if not isinstance(node, dict) or len(name) > _LONGEST_NAME:
            raise DamagedError(f"its header has an unusual entry: {name[:_LONGEST_NAME]}")
        children = node.get("files")
        if isinstance(children, dict):
            below = [(f"{name}/{child}" if name else child, children[child]) for child in children]
            todo += reversed(below)
        elif children is not None or not name:
            raise DamagedError("its header has unusual folders")
        if "offset" in node or not node.keys() & {"files", "link", "unpacked"}:
            yield name, node


def _place(node: dict[str, object]) -> tuple[int, int] | None:
    """Return the begin and the end of a file's content; None if its numbers are unusual.

    Both count from the header's end.
    """
    offset, size = node.get("offset"), node.get("size")
    if not isinstance(offset, str) or _OFFSET.fullmatch(offset) is None:
        return None
    if not isinstance(size, int) or size < 0:
        return None
    return int(offset), int(offset) + size


def _check_layout(places: list[tuple[int, int]], size: int) -> Iterator[Problem]:
    """Report bytes that two files share, and bytes behind the last file.

    Two files may share all of their content.
    """
    distinct = sorted({(begin, end) for begin, end in places if begin < end})
    if any(begin < end for (_, end), (begin, _) in pairwise(distinct)):
        yield Problem(text="its files overlap")
    last = max((end for _, end in distinct), default=0)
    if last < size:
        yield Problem(text=f"{size - last:,} bytes behind its last file")


READER = FileReader(name="asar", recognise=_is_asar, recognise_end=_is_padded, members=_members)
