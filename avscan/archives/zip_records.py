"""The records of a zip: its directory and its local headers, checked against a strict profile.

The profile: anything in front of the first entry, such as a program; then the entries, each with its
local header, its data and, if its flags demand it, a descriptor with its magic; then the directory,
the two records of zip64 if there are any, the end record, and a comment up to the file's end. There
are no other bytes between them, and none belongs to two of them. Readers that start from the front,
from the directory or from the end record find the same files in such a zip. Section numbers are those
of PKWARE's APPNOTE.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from avscan.archives.reader import DamagedError
from avscan.archives.streams import find, read_at

DIRECTORY = 64 << 20
"""Bytes of a directory, at the most: it is read into memory."""

_LOCAL = struct.Struct("<4s3H4x3I2H")
_CENTRAL = struct.Struct("<4s4x2H4x3I4H6xI")
END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ4x2I4Q")
LOCATOR = struct.Struct("<4sIQI")
LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_END64_MAGIC, LOCATOR_MAGIC, DESCRIPTOR_MAGIC = b"PK\6\6", b"PK\6\7", b"PK\7\x08"
_DESCRIPTORS = [struct.Struct(form) for form in ("<4s3I", "<4sI2Q")]
_ANY_END = re.compile(rb"(?=PK\x05\x06.{16}(..))", re.DOTALL)
_TAIL = END.size + 0xFFFF
_MAX, _MAX_16 = 0xFFFFFFFF, 0xFFFF
_SIZES_FOLLOW = 0x8
_USUAL_FLAGS = 0x285F  # ways to compress, descriptors, UTF-8; ways to encrypt, masked headers
STORED = 0
_METHODS = {*range(21), *range(93, 100)}  # all that have a number
_LONGEST_NAME = 1024
_LATEST = 63  # the format's version 6.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as one of its headers describes it; `offset` is that of its local header."""

    name: str
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
        """Whether a descriptor behind the data has the sizes."""
        return bool(self.flags & _SIZES_FOLLOW)

    @property
    def end(self) -> int:
        """The offset of the end of its data."""
        return self.data + self.packed


@dataclass(slots=True)
class Zip:
    """A zip as its directory describes it, with everything that is outside of the profile.

    `shift` is what the offsets in it lack, because of data in front of it.
    """

    file: BinaryIO
    size: int
    directory: int = 0
    directory_size: int = 0
    count: int = 0
    shift: int = 0
    is_64: bool = False
    has_comment: bool = False
    goes_on: bool = False
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def expect(self, condition: object, problem: str) -> None:
        """Keep a problem if the condition is false; the first hundred are enough."""
        if not condition and len(self.problems) < 100:  # noqa: PLR2004
            self.problems.append(problem)

    def read(self, at: int, size: int) -> bytes:
        """Return bytes at an offset. Raise DamagedError if there are fewer."""
        data = read_at(self.file, at, size)
        if len(data) < size:
            raise DamagedError(f"there are no {size:,} bytes at byte {at}")
        return data

    @property
    def prefix(self) -> int:
        """The number of bytes in front of the first entry."""
        return max(0, min((each.offset for each in self.entries), default=self.directory))


def read_zip(file: BinaryIO, size: int) -> Zip:
    """Parse the records of a zip as far as possible; damage is a problem too."""
    zipped = Zip(file=file, size=size)
    try:
        find_directory(zipped)
        _read_directory(zipped)
        _check_layout(zipped)
    except (DamagedError, struct.error) as error:
        zipped.expect(None, str(error) or "its directory is damaged")
    return zipped


def find_directory(zipped: Zip) -> None:
    """Find the directory by the end record. Raise DamagedError if there is none."""
    begin = max(0, zipped.size - _TAIL)
    tail = zipped.read(begin, zipped.size - begin)
    at = begin + tail.rfind(END_MAGIC)
    if at < begin:
        raise DamagedError("it has no directory")
    _, *numbers, comment = END.unpack(zipped.read(at, END.size))
    expect, end = zipped.expect, at + END.size + comment
    zipped.has_comment = at + END.size < zipped.size
    # bsdtar pads a zip with zeros when it writes into a pipe.
    zipped.goes_on = end > zipped.size or bool(tail[end - begin :].strip(b"\0"))
    expect(not zipped.goes_on, f"data behind the end record at byte {at}")
    # To some readers, the rest of the file may be the comment of another end record.
    rests = (
        len(tail) - each.start() - END.size - int.from_bytes(each[1], "little")
        for each in _ANY_END.finditer(tail, 0, at - begin)
    )
    expect(all(rests), "a second end record")
    locator = read_at(zipped.file, at - LOCATOR.size, LOCATOR.size)
    if locator.startswith(LOCATOR_MAGIC):
        zipped.is_64 = True
        at -= LOCATOR.size + _END64.size
        numbers = _wide_numbers(zipped, at, numbers, locator)
    disk, first, here, count, size, offset = numbers
    expect(disk == first == 0 and here == count, "a volume")
    zipped.directory, zipped.directory_size, zipped.count = at - size, size, count
    zipped.shift = zipped.directory - offset
    if zipped.directory < 0 or zipped.shift < 0:
        raise DamagedError("its directory is not where the end record says")
    expect(not zipped.shift or not is_at(zipped, offset, CENTRAL_MAGIC), "a second directory")


def _wide_numbers(zipped: Zip, at: int, narrow: list[int], locator: bytes) -> list[int]:
    """Return the numbers of the zip64 record at an offset (4.3.14, 4.3.15)."""
    magic, length, *wide = _END64.unpack(zipped.read(at, _END64.size))
    _, disk, claimed, disks = LOCATOR.unpack(locator)
    expect = zipped.expect
    expect((magic, length) == (_END64_MAGIC, _END64.size - 12), "an unusual zip64 record")
    expect(disk == 0 and disks <= 1, "a volume")
    limits = (_MAX_16,) * 4 + (_MAX,) * 2
    usual = all(one in {two, limit} for one, two, limit in zip(narrow, wide, limits, strict=True))
    expect(usual, "an end record that describes another directory")
    by_offsets = wide[-1] + wide[-2]
    expect(
        claimed == at or (claimed == by_offsets and not is_at(zipped, claimed, _END64_MAGIC)),
        "a second zip64 record",
    )
    return wide


def is_at(zipped: Zip, at: int, magic: bytes) -> bool:
    """Return whether a magic is at an offset."""
    return read_at(zipped.file, at, len(magic)) == magic


def _read_directory(zipped: Zip) -> None:
    """Parse the directory, and each entry's local header. Raise DamagedError if it is damaged."""
    if zipped.directory_size > DIRECTORY:
        raise DamagedError(f"its directory has more than {DIRECTORY:,} bytes")
    directory = zipped.read(zipped.directory, zipped.directory_size)
    at = count = 0
    while at < len(directory):
        fields = _CENTRAL.unpack_from(directory, at)
        magic, flags, method, checksum, packed, size, name, extra, comment, disk, offset = fields
        if magic != CENTRAL_MAGIC:
            raise DamagedError(
                f"an unusual record in the directory at byte {zipped.directory + at}"
            )
        at += _CENTRAL.size + name
        wide, is_64 = _widen(directory[at : at + extra], [size, packed, offset])
        entry = Entry(
            name=directory[at - name : at].decode("utf-8", "surrogateescape"),
            method=method,
            flags=flags,
            checksum=checksum,
            packed=wide[1],
            size=wide[0],
            offset=wide[2] + zipped.shift,
            is_64=is_64,
        )
        at += extra + comment
        count += 1
        zipped.expect(disk in {0, _MAX_16}, f"{entry.name} is on another volume")
        zipped.expect(
            not zipped.shift or not is_at(zipped, wide[2], LOCAL_MAGIC), "two sets of entries"
        )
        _add_entry(zipped, entry)
    zipped.expect(at == len(directory) and count == zipped.count, "a directory of another length")


def _add_entry(zipped: Zip, entry: Entry) -> None:
    """Compare an entry of the directory with its local header, and keep it."""
    expect, name = zipped.expect, entry.name
    local = local_header(zipped, entry.offset)
    if local is None:
        expect(None, f"{name} is not where the directory says")
        return
    expect(_agree(entry, local), f"the two headers of {name} disagree")
    expect(not entry.flags & ~_USUAL_FLAGS, f"{name} has unusual flags")
    expect(not (name.endswith("/") and entry.size), f"{name}: a directory with content")
    zipped.is_64 |= entry.is_64 or local.is_64
    zipped.entries.append(replace(entry, data=local.data))


def _widen(extra: bytes, values: list[int]) -> tuple[list[int], bool]:
    """Apply the extra field of zip64 (4.5.3), and return whether there is one.

    Raise DamagedError unless it has exactly the numbers that are missing in the header.
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


def local_header(zipped: Zip, begin: int, *, is_certain: bool = True) -> Entry | None:
    """Parse the local header at an offset; None if there is none.

    Unless it is certain to be one, it must have usual values: programs contain its magic as well.
    """
    try:
        fields = _LOCAL.unpack(zipped.read(begin, _LOCAL.size))
        magic, version, flags, method, checksum, packed, size, name, extra = fields
        rest = zipped.read(begin + _LOCAL.size, name + extra)
        wide, is_64 = _widen(rest[name:], [size, packed])
    except DamagedError:
        return None
    usual = version & 0xFF <= _LATEST and method in _METHODS and not flags & ~_USUAL_FLAGS
    if magic != LOCAL_MAGIC or not (is_certain or (usual and 0 < name <= _LONGEST_NAME)):
        return None
    return Entry(
        name=rest[:name].decode("utf-8", "surrogateescape"),
        method=method,
        flags=flags,
        checksum=checksum,
        packed=wide[1],
        size=wide[0],
        offset=begin,
        data=begin + _LOCAL.size + len(rest),
        is_64=is_64,
    )


def _agree(entry: Entry, local: Entry) -> bool:
    """Return whether a local header agrees with the directory; a descriptor may have its values."""
    if (entry.name, entry.method, entry.flags) != (local.name, local.method, local.flags):
        return False
    pairs = zip(
        (entry.checksum, entry.packed, entry.size),
        (local.checksum, local.packed, local.size),
        strict=True,
    )
    return all(one == other or (entry.follows and other == 0) for one, other in pairs)


def _check_layout(zipped: Zip) -> None:
    """Check that there are no bytes between the entries, and none that belong to two of them."""
    placed = sorted(zipped.entries, key=lambda each: each.offset)
    begins = [*(each.offset for each in placed), zipped.directory]
    for each, following in zip(placed, begins[1:], strict=True):
        gap = following - each.end
        ok = _is_descriptor(zipped, each, gap) if each.follows else gap == 0
        zipped.expect(ok, f"{gap:,} bytes between {each.name} and what follows it")
        if each.follows and each.method == STORED:
            zipped.expect(not _has_false_end(zipped, each), f"{each.name} has a false descriptor")


def _is_descriptor(zipped: Zip, entry: Entry, size: int) -> bool:
    """Return whether the bytes behind an entry's data are its descriptor (4.3.9)."""
    numbers = (DESCRIPTOR_MAGIC, entry.checksum, entry.packed, entry.size)
    return any(
        form.size == size and form.unpack(zipped.read(entry.end, size)) == numbers
        for form in _DESCRIPTORS
    )


def _has_false_end(zipped: Zip, entry: Entry) -> bool:
    """Return whether stored data contains bytes that a reader may take for its descriptor."""
    for at, _ in find(zipped.file, [DESCRIPTOR_MAGIC], entry.data, entry.end):
        packed = (int.from_bytes(read_at(zipped.file, at + 8, wide), "little") for wide in (4, 8))
        if at - entry.data in packed:
            return True
    return False
