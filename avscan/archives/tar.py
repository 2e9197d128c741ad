"""Tar: the headers that ordinary writers write, and nothing else.

The profile is what GNU tar, bsdtar, busybox, Python, Go, Rust, Java and Node write: ustar, GNU and
POSIX (pax) headers, and the oldest ones without a magic; sizes in octal, in base 256 or in a pax
record; long names; sparse files of all four kinds. The format is described in tar(5) of libarchive
and in the manual of GNU tar, "Tar Internals".

Readers disagree about every other archive: which types of entry have content, which size counts,
where the next header is. There every header at a multiple of 512 bytes is taken as one that some
reader finds, and the content is shown that it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO

from avscan.archives.reader import (
    HEAD,
    Archive,
    DamagedError,
    FileReader,
    Item,
    Member,
    Problem,
    StreamReader,
)
from avscan.archives.streams import CHUNK, Stream, chunked, region, until

BLOCK = 512
MOST = 1 << 20
"""Bytes that the headers in front of an entry may have, each, and a map of a sparse file."""

_ZEROS = bytes(BLOCK)
_MAGIC = slice(257, 265)
_USTAR, _GNU, _OLDEST = b"ustar\x0000", b"ustar  \0", bytes(8)
_SUM = slice(148, 156)
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
_TYPES = bytes((*_REGULAR, *_WITHOUT_CONTENT, *_EXTENSIONS, _SPARSE))
# The types of entries by the header's magic, and where its fields end.
_PROFILE = {_USTAR: (_TYPES, 500), _GNU: (_TYPES, 386), _OLDEST: (b"\x000125V", 257)}
_END_OF_SPARSE = 495
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=]+)=", re.DOTALL)
_SPARSE_KEY = b"GNU.sparse."
_SPARSE_KEYS = re.compile(
    b"size numblocks (offset numbytes )*|size numblocks name map |major minor name realsize "
)
_OTHER_MAPS = {b"SCHILY.realsize", b"SUN.holesdata"}
_BASE_256 = 0x80
_LARGE = 1 << 33  # bytes that the size's octal digits can't say

_DIGITS = bytes(byte in b"01234567" for byte in range(256))
_FILL = bytes(byte in b"01234567 \0" for byte in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sparse:
    """Where the pieces of a sparse file belong; its data begin at `begin` of what is packed."""

    pieces: tuple[tuple[int, int], ...]
    size: int
    begin: int = 0

    def check(self, packed: int) -> None:
        """Raise DamagedError if the pieces are out of order or don't fit the data."""
        end, total = 0, self.begin
        for offset, length in self.pieces:
            # GNU tar fills each piece up to whole blocks, others don't.
            if offset < end or ((total - self.begin) % BLOCK and length):
                raise DamagedError("a sparse file whose map is out of order")
            end, total = offset + length, total + length
        if end != self.size or total != packed:  # GNU tar drops a hole behind the last piece
            raise DamagedError("a sparse file whose map does not fit its data")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A header, with what the headers in front of it say. Its content begins `skip` bytes on."""

    name: bytes
    kind: int
    magic: bytes
    size: int
    skip: int = BLOCK
    sparse: _Sparse | None = None


@dataclass(slots=True)
class _Extensions:
    """What the headers in front of an entry say of it."""

    kinds: set[int] = field(default_factory=set)
    name: bytes | None = None
    records: list[tuple[bytes, bytes]] = field(default_factory=list)


def _recognise(head: bytes) -> bool:
    block = head[:BLOCK]
    if len(block) < BLOCK:
        return False
    if block == _ZEROS:  # some readers pass over a lone block of zeros
        return head[BLOCK:] != _ZEROS and _recognise(head[BLOCK:HEAD])
    return block[257:262] == b"ustar" or has_sum(block)


def has_sum(block: bytes) -> bool:
    """Return whether any reader would find that a header's sum is right."""
    digits = block[_SUM].strip(b" \0")
    if digits[:1] == b"\x80":
        said = int.from_bytes(block[_SUM][1:], "big")
    elif (match := re.match(rb"[0-7]+", digits)) is not None:
        said = int(match[0], 8)
    else:
        return False
    total = _sum(block)
    negative = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in block[_SUM])  # noqa: PLR2004 - signed
    return said in {total, total - 256 * negative}


def _sum(block: bytes) -> int:
    return sum(block) - sum(block[_SUM]) + 8 * ord(" ")


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
        stream.read(entry.skip)
        end = stream.tell() + entry.size
        if entry.size:
            yield Member(
                name=entry.name.decode("utf-8", "surrogateescape"),
                open=partial(until, stream, end),
                reader=_expander(entry.sparse) if entry.sparse else None,
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
        if _octal(block[_SUM]) != _sum(block):
            raise DamagedError("a header with a wrong sum")
        # GNU tar leaves a label's size empty.
        size = (
            0 if block[156] == _LABEL and not block[_SIZE].strip(b"\0") else _number(block[_SIZE])
        )
    except ValueError as error:
        raise DamagedError(f"a header with an unusual number: {error}") from error
    magic, kind = block[_MAGIC], block[156]
    if magic not in _PROFILE:
        raise DamagedError("a header with an unusual magic")
    types, end = _PROFILE[magic]
    if kind not in types:
        raise DamagedError(f"an entry of the unusual type {chr(kind)!r}")
    if block[_END_OF_SPARSE if kind == _SPARSE else end :].strip(b"\0"):
        raise DamagedError("a header with data behind its fields")
    name = block[:100].partition(b"\0")[0]
    if magic == _USTAR and (prefix := block[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return _Entry(name=name, kind=kind, magic=magic, size=size)


def _octal(digits: bytes) -> int:
    if (match := _OCTAL.fullmatch(digits)) is None:
        raise ValueError(ascii(digits)[2:-1])
    return int(match[1], 8)


def _number(digits: bytes) -> int:
    """Parse a number in octal, or in base 256 as GNU tar writes large ones."""
    if digits[0] != _BASE_256:
        return _octal(digits)
    if (value := int.from_bytes(digits[1:], "big")) >= 1 << 62:
        raise ValueError(ascii(digits)[2:-1])
    return value


def _extend(extensions: _Extensions, header: _Entry, stream: Stream) -> None:
    """Read a header that is about the next entry. Raise DamagedError before anything is read."""
    kind = chr(header.kind)
    if header.kind in extensions.kinds or (header.kind == _GLOBAL and extensions.kinds):
        raise DamagedError(f"a header of type {kind!r} out of order")
    if header.size > MOST:
        raise DamagedError(f"a header of type {kind!r} with {header.size:,} bytes")
    whole = BLOCK + header.size + -header.size % BLOCK
    payload = stream.peek(whole)[BLOCK : BLOCK + header.size]
    if len(payload) < header.size:
        raise DamagedError(f"a header of type {kind!r} that is cut short")
    if next(_offsets(payload), None) is not None:
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
    return key == b"size" or key.startswith(_SPARSE_KEY) or key in _OTHER_MAPS


def _entry(header: _Entry, extensions: _Extensions, stream: Stream) -> _Entry:
    """Apply the headers in front of an entry. Raise DamagedError before anything is read."""
    sparse = [pair for pair in extensions.records if pair[0].startswith(_SPARSE_KEY)]
    records = dict(extensions.records)
    if len(records.keys() - dict(sparse)) != len(extensions.records) - len(sparse):
        raise DamagedError("a pax header that repeats itself")
    entry = replace(header, name=records.get(b"path", extensions.name or header.name))
    size = _decimal(records.get(b"size", b"%d" % header.size))
    if size != header.size:
        if header.size or size < _LARGE or has_sum(stream.peek(2 * BLOCK)[BLOCK:]):
            raise DamagedError(f"an entry of {header.size:,} bytes, or {size:,} by its pax header")
        entry = replace(entry, size=size)
    if _OTHER_MAPS & records.keys() or (sparse and entry.kind not in _REGULAR):
        raise DamagedError("a sparse file of an unusual kind")
    if entry.kind == _SPARSE:
        entry = _with_old_map(entry, stream)
    elif sparse:
        entry = _with_pax_map(entry, sparse, stream)
    if entry.size and (entry.kind in _WITHOUT_CONTENT or _names_directory(header, entry)):
        what = _WITHOUT_CONTENT.get(entry.kind, "a directory")
        raise DamagedError(f"{what} with {entry.size:,} bytes of content")
    if entry.sparse is not None:
        entry.sparse.check(entry.size)
    return entry


def _names_directory(header: _Entry, entry: _Entry) -> bool:
    """Return whether old readers take a file for a directory, by the name of either header."""
    return entry.name.endswith(b"/") or header.name.endswith(b"/")


def _decimal(digits: bytes) -> int:
    if re.fullmatch(rb"[0-9]{1,18}", digits) is None:
        raise DamagedError("a pax header with an unusual number")
    return int(digits)


def _with_old_map(entry: _Entry, stream: Stream) -> _Entry:
    """Read GNU tar's map in a header and the blocks behind it."""
    block = stream.peek(BLOCK)
    fields, more, skip = block[386:482], block[482], BLOCK
    try:
        size = _number(block[483:495])
        while more:
            skip += BLOCK
            block = stream.peek(skip)[skip - BLOCK :]
            if len(block) < BLOCK or skip > MOST or has_sum(block):
                raise DamagedError("a sparse file with an unusual map")
            fields, more = fields + block[:504], block[504]
        pairs = (fields[at : at + 24] for at in range(0, len(fields), 24))
        pieces = tuple((_number(pair[:12]), _number(pair[12:])) for pair in pairs if pair[0])
    except ValueError as error:
        raise DamagedError("a sparse file with an unusual map") from error
    return replace(entry, skip=skip, sparse=_Sparse(pieces=pieces, size=size))


def _with_pax_map(entry: _Entry, records: list[tuple[bytes, bytes]], stream: Stream) -> _Entry:
    """Read the map of one of the kinds 0.0, 0.1 and 1.0, in pax records or in front of the data."""
    keys = b"".join(key.removeprefix(_SPARSE_KEY) + b" " for key, _ in records)
    if _SPARSE_KEYS.fullmatch(keys) is None:
        raise DamagedError("a sparse file of an unusual kind")
    first, second, *numbers = [value for _, value in records]
    name, begin = entry.name, 0
    if keys.startswith(b"major"):
        if (first, second) != (b"1", b"0"):
            raise DamagedError("a sparse file of an unusual kind")
        name, first = numbers
        lines = stream.peek(BLOCK + min(entry.size, MOST))[BLOCK:].split(b"\n")[:-1] or [b""]
        second, *numbers = lines[: 1 + 2 * _decimal(lines[0])]
        begin = sum(len(line) + 1 for line in (second, *numbers))
        begin += -begin % BLOCK
    elif keys.endswith(b"map "):
        name, numbers = numbers[0], numbers[1].split(b",")
    values = [_decimal(number) for number in numbers]
    if len(values) != 2 * _decimal(second):
        raise DamagedError("a sparse file with an unusual map")
    pieces = tuple(zip(values[::2], values[1::2], strict=True))
    return replace(
        entry, name=name, sparse=_Sparse(pieces=pieces, size=_decimal(first), begin=begin)
    )


def _expander(sparse: _Sparse) -> FileReader:
    """Return what reads the packed data of a sparse file, which some readers unpack as they are."""

    def expanded(archive: Archive) -> Iterator[bytes]:
        position, at = 0, sparse.begin
        for offset, length in (*sparse.pieces, (sparse.size, 0)):
            for begin in range(position, offset, CHUNK):
                yield bytes(min(CHUNK, offset - begin))
            piece = region(archive.file, at, at + length)
            yield from iter(partial(piece.some, CHUNK), b"")
            position, at = offset + length, at + length

    def members(archive: Archive) -> Iterator[Item]:
        yield Member(name="", open=lambda: chunked(expanded(archive)))

    return FileReader(name="sparse file", recognise=lambda _: False, members=members)


def _offsets(data: bytes) -> Iterator[int]:
    """Find each multiple of 512 bytes where a header stands."""
    rows = len(data) // BLOCK
    fits, digits = int.from_bytes(b"\1" * rows, "big"), 0
    for column in range(_SUM.start, _SUM.stop - 2):  # of each block at once
        values = data[column::BLOCK][:rows]
        fits &= int.from_bytes(values.translate(_FILL), "big")
        digits |= int.from_bytes(values.translate(_DIGITS), "big")
    marks = (fits & digits).to_bytes(rows, "big")
    row = marks.find(1)
    while row >= 0:
        if has_sum(data[row * BLOCK : (row + 1) * BLOCK]):
            yield row * BLOCK
        row = marks.find(1, row + 1)


def find_headers(file: BinaryIO) -> Iterator[int]:
    """Find each offset of a file, in whole blocks, where a header stands."""
    position = 0
    while True:
        file.seek(position)
        data = file.read(CHUNK)
        yield from (position + offset for offset in _offsets(data))
        if len(data) < CHUNK:
            return
        position += CHUNK


def _entries(archive: Archive) -> Iterator[Item]:
    """Take each header that stands anywhere for an entry's."""
    rest = region(archive.file, 0, archive.size)
    if rest.skip_zeros() and rest.tell():
        yield Member(name="", open=lambda: rest)
    sizes: dict[int, int] = {}  # by the offset of the header that a pax header is about
    for at in find_headers(archive.file):
        archive.file.seek(at)
        block = archive.file.read(BLOCK)
        try:
            size = _number(block[_SIZE])
        except ValueError:
            size = 0
        begin = at + BLOCK
        if block[156] == _PAX and (
            match := re.search(rb"size=(\d{1,18})\n", archive.file.read(MOST))
        ):
            sizes = {begin + size + -size % BLOCK: int(match[1])}
        name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        for length in {size, sizes.get(at, size)} - {0}:
            end = min(archive.size, begin + length)
            yield Member(
                name=f"{name} (at byte {at})", open=partial(region, archive.file, begin, end)
            )


_HEADERS = FileReader(name="tar", recognise=lambda _: False, members=_entries)
READER = StreamReader(
    name="tar", recognise=_recognise, magics=(b"ustar",), magic_at=257, members=_members
)
