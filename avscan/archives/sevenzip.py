"""What a 7z archive is packed with: clamscan 1.4 says `OK` over methods that it can't unpack.

Only the header is read (7zFormat.txt of 7-Zip tells its form); the members are clamscan's.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from os import SEEK_END
from typing import BinaryIO

from avscan.archives import streams
from avscan.archives.looks import mistaken_for_disk
from avscan.archives.reader import HEAD, Archive, FileReader, Item, Member
from avscan.archives.streams import Stream

MAGIC = b"7z\xbc\xaf\x27\x1c"

# Measured with clamscan 1.4.6 and 7-Zip; of the last one, encryption, it says so itself.
_UNPACKED = {"00", "21", "030101", "030401", "03030103", "0303011b", "03030501", "06f10701"}
_LZMA = "030101"
_NAMES = {
    "03": "delta",
    "0a": "ARM64",
    "0b": "RISC-V",
    "020302": "swap",
    "03030205": "PPC",
    "03030401": "IA64",
    "03030701": "ARMT",
    "03030805": "SPARC",
    "040108": "deflate",
    "040109": "deflate64",
    "040202": "bzip2",
    "04f71101": "zstd",
}

_MALFORMED: tuple[type[Exception], ...] = (
    ValueError,
    EOFError,
    struct.error,
    *streams.DECODING_ERRORS,
)

SOLID = 1 << 30
"""Bytes of a block that clamscan unpacks in memory, at the most; over a longer one it says `OK`."""

_START = struct.Struct("<8sIQQ4x")
START = _START.size
_HEADER_LIMIT = 16 << 20  # bytes of header, packed or not
_COUNT_LIMIT = 1 << 20
_CODERS_LIMIT = 32
_END, _HEADER, _STREAMS, _FILES, _PACKED, _FOLDERS, _SIZES, _FOLDER = 0, 1, 4, 5, 6, 7, 9, 11
_UNPACKED_SIZES, _ENCODED = 12, 23
_ID_LENGTH, _COMPLEX, _PROPERTIES = 0x0F, 0x10, 0x20


def _extent(file: BinaryIO, begin: int, end: int) -> int:
    file.seek(begin)
    start = file.read(START)
    if len(start) < START:
        return 0
    _, checksum, offset, length = _START.unpack(start)
    whole: int = START + offset + length
    return min(whole, end - begin) if zlib.crc32(start[12:]) == checksum else 0


def _members(archive: Archive) -> Iterator[Item]:
    if name := unsupported(archive.file):
        yield Member(name="", closed=name)


READER = FileReader(
    name="7z",
    recognise=lambda head: head.startswith(MAGIC),
    magics=(MAGIC,),
    members=_members,
    extent=_extent,
)


def unsupported(file: BinaryIO) -> str:
    """Name what clamscan can't unpack of a 7z archive: its methods, or a header of no sense."""
    try:
        methods, longest = _methods(file)
    except _MALFORMED:
        return "7z with a header that can't be read"
    if longest > SOLID:
        return f"7z with a block of {longest} bytes"
    file.seek(0)
    if mistaken_for_disk(file.read(HEAD)):
        return "7z that looks like a disk"
    unknown = sorted(_NAMES.get(method, method) for method in methods - _UNPACKED)
    return f"7z {', '.join(unknown)}" if unknown else ""


def _methods(file: BinaryIO) -> tuple[set[str], int]:
    """Find the methods of the members and of the header, which may be packed itself.

    Tells also how many bytes the longest block of members has.
    """
    file.seek(0)
    _, _, offset, length = _START.unpack(file.read(START))
    base = START
    if not length:
        return set(), 0  # an empty archive
    header = _Header(_part(file, base + offset, length))
    methods: set[str] = set()
    kind = header.number()
    if kind == _ENCODED:
        at, packed = header.packed()
        coders, sizes = header.folders()
        methods = {method for method, _ in coders}
        if methods != {_LZMA}:
            return methods, 0  # encrypted, or nothing that 7-Zip writes
        content = _unpacked(_part(file, base + at, packed), coders[0][1], sizes[0])
        header = _Header(content)
        kind = header.number()
    if kind != _HEADER:
        raise ValueError("no header")
    if (kind := header.number()) in {_END, _FILES}:
        return methods, 0  # nothing but empty files
    if kind != _STREAMS:
        raise ValueError("a header of another form")
    header.packed()
    coders, sizes = header.folders()
    return methods | {method for method, _ in coders}, max(sizes)


def _part(file: BinaryIO, offset: int, length: int) -> bytes:
    """Read a part of the archive."""
    if length > _HEADER_LIMIT or offset + length > file.seek(0, SEEK_END):
        raise ValueError("a header out of bounds")
    file.seek(offset)
    return file.read(length)


def _unpacked(data: bytes, properties: bytes, size: int) -> bytes:
    """Unpack a header, as the format that LZMA had before xz: held to a memory limit."""
    if size > _HEADER_LIMIT:
        raise ValueError("a header out of bounds")
    source = Stream(lambda _: b"")
    source.unread(properties[:5] + size.to_bytes(8, "little") + data)
    return streams.decoded(source, streams.lzma_decoder).read(size)


class _Header:
    """A header, read from its beginning on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Read bytes. Raises EOFError."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        if len(taken) < size:
            raise EOFError("a header is cut short")
        return taken

    def number(self) -> int:
        """Read a number, the first byte of which tells by its high bits how many more follow."""
        first = self.take(1)[0]
        extra = 8 - (~first & 0xFF).bit_length()
        low = int.from_bytes(self.take(extra), "little")
        return low | (first & (0x7F >> extra)) << 8 * extra

    def count(self) -> int:
        """Read a number of things. Raises ValueError if it is absurd."""
        if (count := self.number()) > _COUNT_LIMIT:
            raise ValueError("a number out of bounds")
        return count

    def packed(self) -> tuple[int, int]:
        """Read where the packed streams begin, and the first one's length."""
        self.expect(_PACKED)
        begin, streams = self.number(), self.count()
        sizes = [0]
        while (kind := self.number()) != _END:
            if kind != _SIZES:
                raise ValueError("sums of packed streams")  # 7-Zip writes none
            sizes = [self.number() for _ in range(streams)]
        return begin, (sizes or [0])[0]

    def folders(self) -> tuple[list[tuple[str, bytes]], list[int]]:
        """Read the methods of all folders with their properties, and all unpacked sizes."""
        self.expect(_FOLDERS)
        self.expect(_FOLDER)
        folders = self.count()
        self.expect(0)  # not elsewhere
        coders: list[tuple[str, bytes]] = []
        given = 0
        for _ in range(folders):
            methods, outputs = self._folder()
            coders += methods
            given += outputs
        self.expect(_UNPACKED_SIZES)
        return coders, [self.number() for _ in range(max(1, given))]

    def expect(self, kind: int) -> None:
        """Read a number that must be this one. Raises ValueError."""
        if self.number() != kind:
            raise ValueError("a header of another form")

    def _folder(self) -> tuple[list[tuple[str, bytes]], int]:
        """Read the methods of a folder, and how many streams come out of them."""
        coders = []
        taken = given = 0
        for _ in range(self._few()):
            kind = self.take(1)[0]
            method = self.take(kind & _ID_LENGTH).hex()
            inputs, outputs = (self._few(), self._few()) if kind & _COMPLEX else (1, 1)
            taken, given = taken + inputs, given + outputs
            properties = self.take(self.count()) if kind & _PROPERTIES else b""
            coders.append((method, properties))
        bonds = given - 1
        for _ in range(2 * bonds + (taken - bonds if taken - bonds > 1 else 0)):
            self.number()
        return coders, given

    def _few(self) -> int:
        if (count := self.number()) > _CODERS_LIMIT:
            raise ValueError("a number out of bounds")
        return count
