"""Tar, with a strict profile.

The profile is what GNU tar, bsdtar, busybox, Python, Go, Rust, Java and Node write: ustar, GNU and
POSIX (pax) headers, and the oldest ones without a magic; sizes in octal, in base 256 or in a pax
record; long names; sparse files of all four kinds. The format is described in tar(5) of libarchive
and in the manual of GNU tar, "Tar Internals".

Readers disagree about every other archive: which types of entries have content, which size is valid,
where the next header is. Some reader may then find any header at a multiple of 512 bytes. So the
content of each such header is a member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from avscan.archives import sparse
from avscan.archives.reader import (
    Archive,
    DamagedError,
    FileReader,
    Item,
    Member,
    Problem,
    StreamReader,
)
from avscan.archives.streams import Stream, region, until
from avscan.archives.tar_fields import (
    BLOCK,
    MOST,
    SUM,
    decimal,
    find_headers,
    has_sum,
    number,
    octal,
    offsets,
    sum_of,
)

_ZEROS = bytes(BLOCK)
_MAGIC = slice(257, 265)
_USTAR, _GNU, _OLDEST = b"ustar\x0000", b"ustar  \0", bytes(8)
_SIZE = slice(124, 136)
_REGULAR = b"\x000" + b"7"
_LABEL = ord("V")
_WITHOUT_CONTENT = {
    ord("1"): "a hard link",
    ord("2"): "a symbolic link",
    ord("3"): "a device",
    ord("4"): "a device",
    ord("5"): "a directory",
    ord("6"): "a fifo",
    _LABEL: "a label",
}
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL, _SPARSE = b"LKxgS"
_EXTENSIONS = (_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL)
_TYPES = bytes((*_REGULAR, *_WITHOUT_CONTENT, *_EXTENSIONS))
_PROFILE = {
    (_USTAR, False): (_TYPES, 500),
    (_GNU, False): (_TYPES, 386),
    (_GNU, True): (bytes([_SPARSE]), 495),
    (_OLDEST, False): (b"\x000125V", 345),  # GNU tar writes the numbers of devices as well
}
"""The types of entries, and the end of a header's fields, by its magic and whether it is sparse."""
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=]+)=", re.DOTALL)
_OTHER_MAPS = {b"SCHILY.realsize", b"SUN.holesdata"}
_LARGE = 1 << 33  # bytes: more than a size in octal digits can express


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A header, with the values of the headers in front of it."""

    name: bytes
    kind: int
    size: int
    sparse: sparse.Sparse | None = None


@dataclass(slots=True)
class _Extensions:
    """The values of the headers in front of an entry."""

    kinds: set[int] = field(default_factory=set)
    name: bytes | None = None
    records: list[tuple[bytes, bytes]] = field(default_factory=list)


def _recognise(head: bytes) -> bool:
    block = head[:BLOCK]
    return len(block) == BLOCK and (block[257:262] == b"ustar" or has_sum(block))


def _members(stream: Stream) -> Iterator[Item]:
    extensions = _Extensions()
    while len(block := stream.peek(BLOCK)) == BLOCK and block != _ZEROS:
        at = stream.tell()
        try:
            header = _header(block)
            if header.kind in _EXTENSIONS:
                _extend(extensions, header, stream)
                continue
            entry = _entry(header, extensions, stream)
        except DamagedError as error:
            yield Problem(text=f"{error} at byte {at}")
            yield _rest(stream)
            return
        stream.read(entry.sparse.header if entry.sparse else BLOCK)
        end = stream.tell() + entry.size
        if entry.size:
            yield Member(
                name=entry.name.decode("utf-8", "surrogateescape"),
                open=partial(until, stream, end),
                reader=entry.sparse.reader() if entry.sparse else None,
            )
        padded = end + -entry.size % BLOCK
        if stream.seek(padded) < padded:  # without the padding GNU tar drops the last block
            yield Problem(text=f"the entry at byte {at} is cut short")
        extensions = _Extensions()
    if extensions.kinds or (block and len(block) < BLOCK):
        yield Problem(text=f"it is cut short at byte {stream.tell()}")
    if stream.skip_zeros():
        yield Problem(text=f"data behind the end at byte {stream.tell()}", is_behind_end=True)
        stream.unread(bytes(stream.tell() % BLOCK))
        yield _rest(stream)


def _rest(stream: Stream) -> Member:
    name = f"(from byte {stream.tell()})"
    return Member(name=name, open=lambda: stream, reader=_HEADERS)


def _header(block: bytes) -> _Entry:
    """Parse a header. Raise DamagedError if it is outside of the profile."""
    try:
        if octal(block[SUM]) != sum_of(block):
            raise DamagedError("a header with a wrong sum")
        # GNU tar leaves a label's size empty.
        size = 0 if block[156] == _LABEL and not block[_SIZE].strip(b"\0") else number(block[_SIZE])
    except ValueError as error:
        raise DamagedError(f"a header with an unusual number: {error}") from error
    magic, kind = block[_MAGIC], block[156]
    if (magic, False) not in _PROFILE:
        raise DamagedError("a header with an unusual magic")
    types, end = _PROFILE.get((magic, kind == _SPARSE), (b"", 0))
    if kind not in types:
        raise DamagedError(f"an entry of the unusual type {chr(kind)!r}")
    if block[end:].strip(b"\0"):
        raise DamagedError("a header with data behind its fields")
    name = block[:100].partition(b"\0")[0]
    if magic == _USTAR and (prefix := block[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return _Entry(name=name, kind=kind, size=size)


def _extend(extensions: _Extensions, header: _Entry, stream: Stream) -> None:
    """Read a header that extends the next one. Raise DamagedError before anything is read."""
    kind = chr(header.kind)
    if header.kind in extensions.kinds or (header.kind == _GLOBAL and extensions.kinds):
        raise DamagedError(f"a header of type {kind!r} out of order")
    if header.size > MOST:
        raise DamagedError(f"a header of type {kind!r} with {header.size:,} bytes")
    whole = BLOCK + header.size + -header.size % BLOCK
    if len(block := stream.peek(whole)) < whole:
        raise DamagedError(f"a header of type {kind!r} that is cut short")
    payload = block[BLOCK : BLOCK + header.size]
    if next(offsets(payload), None) is not None:
        raise DamagedError(f"a header within a header of type {kind!r}")
    if header.kind in {_PAX, _GLOBAL}:
        records = _records(payload)
        if header.kind == _GLOBAL and any(_is_about_content(key) for key, _ in records):
            raise DamagedError("a size for all entries")
        extensions.records += records if header.kind == _PAX else []
    elif b"\0" in (name := payload.rstrip(b"\0")):
        raise DamagedError("a long name with a zero")
    elif header.kind == _LONG_NAME:
        extensions.name = name
    if header.kind != _GLOBAL:
        extensions.kinds.add(header.kind)
    stream.read(whole)


def _records(payload: bytes) -> list[tuple[bytes, bytes]]:
    records = []
    at = 0
    while at < len(payload):
        match = _RECORD.match(payload, at)
        end = at + int(match[1]) if match else 0
        if match is None or end <= match.end() or payload[end - 1 : end] != b"\n":
            raise DamagedError("a malformed pax header")
        records.append((match[2], payload[match.end() : end - 1]))
        at = end
    return records


def _is_about_content(key: bytes) -> bool:
    return key == b"size" or key.startswith(sparse.KEY) or key in _OTHER_MAPS


def _entry(header: _Entry, extensions: _Extensions, stream: Stream) -> _Entry:
    """Apply the headers in front of an entry. Raise DamagedError before anything is read."""
    maps = [pair for pair in extensions.records if pair[0].startswith(sparse.KEY)]
    records = dict(extensions.records)
    if len(records.keys() - dict(maps)) != len(extensions.records) - len(maps):
        raise DamagedError("a pax header that repeats itself")
    entry = replace(header, name=records.get(b"path", extensions.name or header.name))
    size = decimal(records.get(b"size", b"%d" % header.size))
    if size != header.size:
        if header.size or size < _LARGE or has_sum(stream.peek(2 * BLOCK)[BLOCK:]):
            raise DamagedError(f"an entry of {header.size:,} bytes, or {size:,} by its pax header")
        entry = replace(entry, size=size)
    if _OTHER_MAPS & records.keys() or (maps and entry.kind not in _REGULAR):
        raise DamagedError("a sparse file of an unusual kind")
    if entry.kind == _SPARSE:
        entry = replace(entry, sparse=sparse.from_header(stream))
    elif maps:
        entry = replace(entry, sparse=sparse.from_records(maps, entry.size, stream))
    is_directory = entry.name.endswith(b"/") or header.name.endswith(b"/")  # to old readers
    if entry.size and (entry.kind in _WITHOUT_CONTENT or is_directory):
        what = _WITHOUT_CONTENT.get(entry.kind, "a directory")
        raise DamagedError(f"{what} with {entry.size:,} bytes of content")
    if entry.sparse is not None:
        entry.sparse.check(entry.size)
    return entry


def _entries(archive: Archive) -> Iterator[Item]:
    """Iterate over the contents of all headers that any reader may find."""
    rest = region(archive.file, 0, archive.size)
    if rest.skip_zeros() and rest.tell():
        yield Member(name="", open=lambda: rest)
    for at in find_headers(archive.file):
        archive.file.seek(at)
        block = archive.file.read(BLOCK)
        name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        try:
            size = number(block[_SIZE])
        except ValueError:
            continue
        begin, end = at + BLOCK, min(archive.size, at + BLOCK + size)
        opener = partial(region, archive.file, begin, end)
        if begin < end:
            yield Member(name=f"{name} (at byte {at})", open=opener)


_HEADERS = FileReader(name="tar", members=_entries)
READER = StreamReader(
    name="tar", recognise=_recognise, magics=(b"ustar",), magic_at=257, members=_members
)
