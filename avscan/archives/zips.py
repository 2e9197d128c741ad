"""Zip: every byte has one owner, and both headers of an entry say the same.

The profile: whatever is in front of the first entry, such as a program; then the entries, each with
its local header, its data and, where the flags say so, a descriptor; then the directory, the two
records of zip64 if there are any, the end record, and a comment up to the file's end. Nothing lies
between them, and nothing twice. Readers that start from the front, from the directory or from the
end record see the same files in such a zip. Section numbers are those of PKWARE's APPNOTE.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from os import SEEK_END
from typing import BinaryIO

from avscan.archives.looks import is_program, mistaken_for_disk, mistaken_for_tar
from avscan.archives.reader import HEAD, Archive, DamagedError, FileReader, Item, Member, Problem
from avscan.archives.streams import (
    Decoder,
    Inflate,
    Stream,
    bzip2_decoder,
    decoded,
    find,
    lzma_decoder,
    read_at,
    region,
    xz_decoder,
)

PASSED_OVER = {"zip-lzma": 14, "zip-zstd": 93, "zip-xz": 95, "zip-ppmd": 98}
"""The methods of entries over which clamscan says `OK`, by names for them (4.4.5)."""

ZIP64 = "zip64"
"""The same for an entry whose sizes are in an extra field."""

ENTRY_MARKS = frozenset({*PASSED_OVER, ZIP64})

DIRECTORY = 64 << 20
"""Bytes that a directory may have: it is read into memory."""

_LOCAL = struct.Struct("<4s3H4x3I2H")
_CENTRAL = struct.Struct("<4s4x2H4x3I4H6xI")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ4x2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_END64_MAGIC, _LOCATOR_MAGIC, _DESCRIPTOR_MAGIC = b"PK\6\6", b"PK\6\7", b"PK\7\x08"
_BEGINNINGS = (
    _LOCAL_MAGIC,
    _CENTRAL_MAGIC,
    _END_MAGIC,
    _DESCRIPTOR_MAGIC + _LOCAL_MAGIC,
    b"PK00" + _LOCAL_MAGIC,
)
_DESCRIPTORS = [struct.Struct(form) for form in ("<4s3I", "<4sI2Q")]
_ANY_END = re.compile(rb"(?=PK\x05\x06.{16}(..))", re.DOTALL)
_TAIL = _END.size + 0xFFFF
_MAX, _MAX_16 = 0xFFFFFFFF, 0xFFFF
_ENCRYPTED, _ENDS_WITH_MARK, _SIZES_FOLLOW = 0x1, 0x2, 0x8
_PLAIN_FLAGS = 0x080E  # ways to compress, descriptors, UTF-8
_USUAL_FLAGS = 0x2051 | _PLAIN_FLAGS  # and encryption, another way, masked headers
_STORED, _IMPLODED, _DEFLATED, _DEFLATED64, _BZIP2, _LZMA, _XZ, _AES = 0, 6, 8, 9, 12, 14, 95, 99
_METHODS = {*range(21), *range(93, 100)}  # those that were ever given a number
_LONGEST_NAME = 1024
_LATEST = 63  # the format's version 6.3
_DECODERS: dict[int, Callable[[], Decoder]] = {
    _DEFLATED: Inflate,
    _BZIP2: bzip2_decoder,
    _LZMA: lzma_decoder,
    _XZ: xz_decoder,
}
_NAMES = {_IMPLODED: "imploded", _DEFLATED64: "deflate64", 93: "zstd"}
_SCANNED = {_STORED, _DEFLATED, _DEFLATED64}  # of bzip2, only the first stream


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry as one of its headers describes it; where its local header and its data begin."""

    name: bytes
    method: int
    flags: int
    checksum: int
    packed: int
    size: int
    offset: int
    data: int = 0
    is_64: bool = False

    @property
    def follows(self) -> bool:
        """Whether the sizes come behind the data."""
        return bool(self.flags & _SIZES_FOLLOW)

    @property
    def end(self) -> int:
        """Where its data ends."""
        return self.data + self.packed

    @property
    def label(self) -> str:
        """Its name, for messages."""
        return self.name.decode("utf-8", "replace")


@dataclass(slots=True)
class _Zip:
    """A zip as its directory describes it, and everything that is unusual about it."""

    file: BinaryIO
    size: int
    directory: int = 0
    directory_size: int = 0
    count: int = 0
    shift: int = 0
    is_64: bool = False
    has_comment: bool = False
    goes_on: bool = False
    entries: list[_Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def expect(self, condition: object, problem: str) -> None:
        """Keep a problem, if there is one; the first hundred are enough."""
        if not condition and len(self.problems) < 100:  # noqa: PLR2004
            self.problems.append(problem)

    def read(self, at: int, size: int) -> bytes:
        """Read bytes at an offset. Raise DamagedError if they are not all there."""
        data = read_at(self.file, at, size)
        if len(data) < size:
            raise DamagedError(f"there are no {size:,} bytes at byte {at}")
        return data

    @property
    def prefix(self) -> int:
        """How many bytes there are in front of the first entry."""
        return max(0, min((each.offset for each in self.entries), default=self.directory))

    @property
    def is_plain(self) -> bool:
        """Whether clamscan sees it as others do."""
        begin = self.read(0, min(self.size, HEAD))
        return not (
            self.prefix
            or self.is_64
            or self.has_comment
            or self.problems
            or any(each.flags & ~_PLAIN_FLAGS for each in self.entries)
            or mistaken_for_tar(begin)
            or mistaken_for_disk(begin)
        )


def _members(archive: Archive) -> Iterator[Item]:
    zipped = _Zip(file=archive.file, size=archive.size)
    try:
        _find_directory(zipped)
        _read_directory(zipped)
        _check_layout(zipped)
    except (DamagedError, struct.error) as error:
        zipped.expect(None, str(error) or "its directory is damaged")
    plain = zipped.is_plain
    for entry in zipped.entries:
        yield _member(archive.file, entry, already_scanned=plain and entry.method in _SCANNED)
    yield from (Problem(text=problem) for problem in zipped.problems)
    if zipped.problems:
        yield from _strays(zipped)
    if zipped.prefix:
        begin = zipped.read(0, min(zipped.prefix, HEAD))
        yield Member(
            name="(in front)",
            open=partial(region, archive.file, 0, zipped.prefix),
            already_scanned=is_program(begin),
        )


# The directory.


def _find_directory(zipped: _Zip) -> None:
    """Find the directory by the end record. Raise DamagedError if there is none."""
    begin = max(0, zipped.size - _TAIL)
    tail = zipped.read(begin, zipped.size - begin)
    at = begin + tail.rfind(_END_MAGIC)
    if at < begin:
        raise DamagedError("it has no directory")
    _, *numbers, comment = _END.unpack(zipped.read(at, _END.size))
    expect, end = zipped.expect, at + _END.size + comment
    zipped.has_comment = at + _END.size < zipped.size
    # Zeros fill up whole blocks, as bsdtar writes them into a pipe.
    zipped.goes_on = end > zipped.size or bool(tail[end - begin :].strip(b"\0"))
    expect(not zipped.goes_on, f"data behind the end record at byte {at}")
    # Another end record may have the rest of the file for its comment.
    rests = (
        len(tail) - each.start() - _END.size - int.from_bytes(each[1], "little")
        for each in _ANY_END.finditer(tail, 0, at - begin)
    )
    expect(all(rests), "a second end record")
    locator = read_at(zipped.file, at - _LOCATOR.size, _LOCATOR.size)
    if locator.startswith(_LOCATOR_MAGIC):
        zipped.is_64 = True
        at -= _LOCATOR.size + _END64.size
        numbers = _wide_numbers(zipped, at, numbers, locator)
    disk, first, here, count, size, offset = numbers
    expect(disk == first == 0 and here == count, "a volume")
    zipped.directory, zipped.directory_size, zipped.count = at - size, size, count
    zipped.shift = zipped.directory - offset
    if zipped.directory < 0 or zipped.shift < 0:
        raise DamagedError("its directory is not where the end record says")
    expect(not zipped.shift or not _is_at(zipped, offset, _CENTRAL_MAGIC), "a second directory")


def _wide_numbers(zipped: _Zip, at: int, narrow: list[int], locator: bytes) -> list[int]:
    """Read the numbers of the zip64 record, which stands at an offset (4.3.14, 4.3.15)."""
    magic, length, *wide = _END64.unpack(zipped.read(at, _END64.size))
    _, disk, claimed, disks = _LOCATOR.unpack(locator)
    expect = zipped.expect
    expect((magic, length) == (_END64_MAGIC, _END64.size - 12), "an unusual zip64 record")
    expect(disk == 0 and disks <= 1, "a volume")
    limits = (_MAX_16,) * 4 + (_MAX,) * 2
    usual = all(one in {two, limit} for one, two, limit in zip(narrow, wide, limits, strict=True))
    expect(usual, "an end record that describes another directory")
    by_offsets = wide[-1] + wide[-2]
    expect(
        claimed == at or (claimed == by_offsets and not _is_at(zipped, claimed, _END64_MAGIC)),
        "a second zip64 record",
    )
    return wide


def _is_at(zipped: _Zip, at: int, magic: bytes) -> bool:
    return read_at(zipped.file, at, len(magic)) == magic


def _read_directory(zipped: _Zip) -> None:
    """Read the directory, and each entry's local header. Raise DamagedError at damage."""
    if zipped.directory_size > DIRECTORY:
        raise DamagedError(f"its directory has more than {DIRECTORY:,} bytes")
    directory = zipped.read(zipped.directory, zipped.directory_size)
    at = count = 0
    while at < len(directory):
        fields = _CENTRAL.unpack_from(directory, at)
        magic, flags, method, checksum, packed, size, name, extra, comment, disk, offset = fields
        if magic != _CENTRAL_MAGIC:
            raise DamagedError(
                f"an unusual record in the directory at byte {zipped.directory + at}"
            )
        at += _CENTRAL.size + name
        wide, is_64 = _widen(directory[at : at + extra], [size, packed, offset])
        entry = _Entry(
            name=directory[at - name : at],
            method=method,
            flags=flags,
            checksum=checksum,
            packed=wide[1],
            size=wide[0],
            offset=wide[2] + zipped.shift,
        )
        at += extra + comment
        count += 1
        zipped.expect(disk in {0, _MAX_16}, f"{entry.label} is on another volume")
        zipped.expect(
            not zipped.shift or not _is_at(zipped, wide[2], _LOCAL_MAGIC), "two sets of entries"
        )
        _add_entry(zipped, entry, is_64=is_64)
    zipped.expect(at == len(directory) and count == zipped.count, "a directory of another length")


def _add_entry(zipped: _Zip, entry: _Entry, *, is_64: bool) -> None:
    """Compare an entry of the directory with its local header, and keep it."""
    expect, label = zipped.expect, entry.label
    local = _local(zipped, entry.offset)
    if local is None:
        expect(None, f"{label} is not where the directory says")
        return
    expect(_agree(entry, local), f"the two headers of {label} disagree")
    expect(not entry.flags & ~_USUAL_FLAGS, f"{label} has unusual flags")
    expect(not (entry.name.endswith(b"/") and entry.size), f"{label}: a directory with content")
    zipped.is_64 |= is_64 or local.is_64
    zipped.entries.append(replace(entry, data=local.data))


def _widen(extra: bytes, values: list[int]) -> tuple[list[int], bool]:
    """Apply the extra field of zip64 (4.5.3), and return whether there is one.

    Raise DamagedError if it has not exactly the numbers that it should have.
    """
    records = [content for number, content in _extras(extra) if number == 1]
    if not records:
        return values, False
    wide, rest = [], records[0]
    for value in values:
        if value == _MAX:
            value, rest = int.from_bytes(rest[:8], "little"), rest[8:]  # noqa: PLW2901
        wide.append(value)
    if len(records) > 1 or rest:
        raise DamagedError("an unusual zip64 field")
    return wide, True


def _extras(extra: bytes) -> Iterator[tuple[int, bytes]]:
    while len(extra) >= 4:  # noqa: PLR2004 - a number and a length
        number, length = struct.unpack_from("<HH", extra)
        yield number, extra[4 : 4 + length]
        extra = extra[4 + length :]


def _local(zipped: _Zip, begin: int, *, is_certain: bool = True) -> _Entry | None:
    """Read the local header at an offset; None if there is none.

    What is not certain to be one has to have usual values: programs have its four bytes as well.
    """
    try:
        fields = _LOCAL.unpack(zipped.read(begin, _LOCAL.size))
        magic, version, flags, method, checksum, packed, size, name, extra = fields
        rest = zipped.read(begin + _LOCAL.size, name + extra)
        wide, is_64 = _widen(rest[name:], [size, packed])
    except DamagedError:
        return None
    usual = version & 0xFF <= _LATEST and method in _METHODS and not flags & ~_USUAL_FLAGS
    if magic != _LOCAL_MAGIC or not (is_certain or (usual and 0 < name <= _LONGEST_NAME)):
        return None
    return _Entry(
        name=rest[:name],
        method=method,
        flags=flags,
        checksum=checksum,
        packed=wide[1],
        size=wide[0],
        offset=begin,
        data=begin + _LOCAL.size + len(rest),
        is_64=is_64,
    )


def _agree(entry: _Entry, local: _Entry) -> bool:
    """Return whether a local header says the same, or leaves to a descriptor what it does not say."""
    if (entry.name, entry.method, entry.flags) != (local.name, local.method, local.flags):
        return False
    pairs = zip(
        (entry.checksum, entry.packed, entry.size),
        (local.checksum, local.packed, local.size),
        strict=True,
    )
    return all(one == other or (entry.follows and other == 0) for one, other in pairs)


def _check_layout(zipped: _Zip) -> None:
    """Find bytes between the entries, or bytes that two of them have."""
    placed = sorted(zipped.entries, key=lambda each: each.offset)
    begins = [*(each.offset for each in placed), zipped.directory]
    for each, following in zip(placed, begins[1:], strict=True):
        gap = following - each.end
        ok = _is_descriptor(zipped, each, gap) if each.follows else gap == 0
        zipped.expect(ok, f"{gap:,} bytes between {each.label} and what follows it")
        if each.follows and each.method == _STORED:
            zipped.expect(not _has_false_end(zipped, each), f"{each.label} has a false descriptor")


def _is_descriptor(zipped: _Zip, entry: _Entry, size: int) -> bool:
    """Return whether the bytes behind an entry's data are its descriptor (4.3.9)."""
    numbers = (_DESCRIPTOR_MAGIC, entry.checksum, entry.packed, entry.size)
    return any(
        form.size == size and form.unpack(zipped.read(entry.end, size)) == numbers
        for form in _DESCRIPTORS
    )


def _has_false_end(zipped: _Zip, entry: _Entry) -> bool:
    """Return whether stored data has in it what a reader may take for its descriptor."""
    for at, _ in find(zipped.file, [_DESCRIPTOR_MAGIC], entry.data, entry.end):
        sizes = read_at(zipped.file, at + 8, 8)
        if at - entry.data in {
            int.from_bytes(sizes[:4], "little"),
            int.from_bytes(sizes, "little"),
        }:
            return True
    return False


# The entries.


def _member(
    file: BinaryIO, entry: _Entry, *, already_scanned: bool = False, stray: bool = False
) -> Member:
    name = entry.name.decode("utf-8", "surrogateescape")
    name += f" (at byte {entry.offset})" if stray else ""
    source = region(file, entry.data, entry.end)
    closed = ""
    if entry.flags & _ENCRYPTED or entry.method == _AES:
        closed, already_scanned = "encrypted", False
    elif entry.method != _STORED and entry.method not in _DECODERS:
        closed = _NAMES.get(entry.method, f"zip method {entry.method}")
    return Member(
        name=name,
        open=None if closed else partial(_unpacked if stray else _checked, entry, source),
        closed=closed,
        already_scanned=already_scanned,
        is_partial=stray,
    )


def _checked(entry: _Entry, source: Stream) -> Stream:
    """Unpack an entry, and raise DamagedError at its end if it is not what its headers say."""
    content = _unpacked(entry, source)
    size = checksum = 0

    def pull(wanted: int) -> bytes:
        nonlocal size, checksum
        data = content.some(wanted)
        size, checksum = size + len(data), zlib.crc32(data, checksum)
        if wanted and not data:
            if (size, checksum) != (entry.size, entry.checksum):
                raise DamagedError("another size or checksum than the header says")
            if source.some(1):
                raise DamagedError("bytes behind the compressed data")
        return data

    return Stream(pull)


def _unpacked(entry: _Entry, source: Stream) -> Stream:
    if entry.method == _STORED:
        return source
    if entry.method == _LZMA:
        # A version, the length of the properties, the properties (5.8.8), made into the header of
        # the format lzma.
        size = 2**64 - 1 if entry.flags & _ENDS_WITH_MARK else entry.size
        source.unread(source.read(9)[4:] + size.to_bytes(8, "little"))
    return decoded(source, _DECODERS[entry.method])


# Zips outside of the profile, and zips in programs.


def _strays(zipped: _Zip) -> Iterator[Member]:
    """Unpack whatever a local header stands in front of and the directory does not list."""
    listed = {each.offset for each in zipped.entries}
    for at, _ in find(zipped.file, [_LOCAL_MAGIC], 0, zipped.size):
        if at not in listed and (local := _local(zipped, at, is_certain=False)) is not None:
            has_size = local.method == _STORED and not local.follows
            end = min(local.end, zipped.size) if has_size else zipped.size
            yield _member(zipped.file, replace(local, packed=end - local.data), stray=True)


def _has_end(file: BinaryIO) -> bool:
    """Return whether a file of any kind, such as a program, is a zip at its end."""
    zipped = _Zip(file=file, size=file.seek(0, SEEK_END))
    try:
        _find_directory(zipped)
    except (DamagedError, struct.error):
        return False
    places = (zipped.directory, zipped.directory - zipped.shift)
    has_entries = zipped.count > 0 and any(_is_at(zipped, at, _CENTRAL_MAGIC) for at in places)
    return has_entries and not zipped.goes_on


def _extent(file: BinaryIO, begin: int, end: int) -> int:
    """Measure a zip by its end record; what has none is measured by nothing."""
    zipped = _Zip(file=file, size=end)
    try:
        if _local(zipped, begin, is_certain=False) is None:
            return 0
        for at, _ in find(file, [_END_MAGIC], begin, end):
            *_, size, offset, comment = _END.unpack(zipped.read(at, _END.size))
            if at - size - offset == begin or _is_at(zipped, at - _LOCATOR.size, _LOCATOR_MAGIC):
                length: int = at + _END.size + comment - begin
                return min(length, end - begin)
    except DamagedError:
        pass
    return end - begin


READER = FileReader(
    name="zip",
    recognise=lambda head: head.startswith(_BEGINNINGS),
    recognise_end=_has_end,
    magics=(_LOCAL_MAGIC,),
    marks=ENTRY_MARKS,
    members=_members,
    extent=_extent,
)
