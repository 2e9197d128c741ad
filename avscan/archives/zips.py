"""Zip: the content of its entries, and which of them clamscan scans by itself.

The profile is that of `zip_records`: every byte has one owner, and both headers of an entry agree.
In any other zip, the entries that the directory omits are members as well.
"""

from __future__ import annotations

import struct
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from os import SEEK_END
from typing import BinaryIO

from avscan.archives.executables import is_program
from avscan.archives.reader import HEAD, Archive, DamagedError, FileReader, Item, Member, Problem
from avscan.archives.streams import (
    Decoder,
    Inflate,
    Stream,
    decoded,
    find,
    lzma_decoder,
    region,
    xz_decoder,
)
from avscan.archives.zip_records import (
    CENTRAL_MAGIC,
    DESCRIPTOR_MAGIC,
    END,
    END_MAGIC,
    LOCAL_MAGIC,
    LOCATOR,
    LOCATOR_MAGIC,
    STORED,
    Entry,
    Zip,
    find_directory,
    is_at,
    local_header,
    read_zip,
)

UNSUPPORTED_METHODS = {"zip-lzma": 14, "zip-zstd": 93, "zip-xz": 95, "zip-ppmd": 98}
"""The compression methods of entries for which clamscan prints `OK` unopened, by name (4.4.5)."""

ZIP64 = "zip64"
"""The same for an entry whose sizes are in an extra field."""

ENTRY_MARKERS = frozenset({*UNSUPPORTED_METHODS, ZIP64})

_BEGINNINGS = (
    LOCAL_MAGIC,
    CENTRAL_MAGIC,
    END_MAGIC,
    DESCRIPTOR_MAGIC,  # of a part of several, or of an entry, which busybox skips
    b"PK00" + LOCAL_MAGIC,
)
_ENCRYPTED, _ENDS_WITH_MARK = 0x1, 0x2
_PLAIN_FLAGS = 0x080E  # ways to compress, descriptors, UTF-8
_IMPLODED, _DEFLATED, _DEFLATED64, _BZIP2, _LZMA, _XZ, _AES = 6, 8, 9, 12, 14, 95, 99
_DECODERS: dict[int, Callable[[], Decoder]] = {
    _DEFLATED: Inflate,
    _BZIP2: BZ2Decompressor,
    _LZMA: lzma_decoder,
    _XZ: xz_decoder,
}
_NAMES = {_IMPLODED: "imploded", _DEFLATED64: "deflate64", 93: "zstd"}
_SCANNED = {STORED, _DEFLATED, _DEFLATED64}  # of bzip2, clamscan scans the first stream only


def _members(archive: Archive) -> Iterator[Item]:
    zipped = read_zip(archive.file, archive.size)
    plain = _is_plain(zipped)
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


def _is_plain(zipped: Zip) -> bool:
    """Return whether clamscan scans the same entries as other tools unpack."""
    begin = zipped.read(0, min(zipped.size, HEAD))
    return not (
        zipped.prefix
        or zipped.is_64
        or zipped.has_comment
        or zipped.problems
        or any(each.flags & ~_PLAIN_FLAGS for each in zipped.entries)
        or begin[257:262] == b"ustar"  # it would be a tar to clamscan
        or begin[512:520] == b"EFI PART"  # it would be a disk
    )


def _member(
    file: BinaryIO, entry: Entry, *, already_scanned: bool = False, stray: bool = False
) -> Member:
    name = f"{entry.name} (at byte {entry.offset})" if stray else entry.name
    source = region(file, entry.data, entry.end)
    closed = ""
    if entry.flags & _ENCRYPTED or entry.method == _AES:
        closed, already_scanned = "encrypted", False
    elif entry.method != STORED and entry.method not in _DECODERS:
        closed = _NAMES.get(entry.method, f"zip method {entry.method}")
    return Member(
        name=name,
        open=None if closed else partial(_unpacked if stray else _checked, entry, source),
        closed=closed,
        already_scanned=already_scanned,
        is_partial=stray,
    )


def _checked(entry: Entry, source: Stream) -> Stream:
    """Return an entry's content, which raises DamagedError at its end if it contradicts the headers."""
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


def _unpacked(entry: Entry, source: Stream) -> Stream:
    if entry.method == STORED:
        return source
    if entry.method == _LZMA:
        # A version, the length of the properties, the properties (5.8.8). They become a header of
        # the format lzma.
        size = 2**64 - 1 if entry.flags & _ENDS_WITH_MARK else entry.size
        source.unread(source.read(9)[4:] + size.to_bytes(8, "little"))
    return decoded(source, _DECODERS[entry.method])


def _strays(zipped: Zip) -> Iterator[Member]:
    """Iterate over the entries with a local header that the directory does not list."""
    listed = {each.offset for each in zipped.entries}
    for at, _ in find(zipped.file, [LOCAL_MAGIC], 0, zipped.size):
        if at not in listed and (local := local_header(zipped, at, is_certain=False)) is not None:
            has_size = local.method == STORED and not local.follows
            end = min(local.end, zipped.size) if has_size else zipped.size
            yield _member(zipped.file, replace(local, packed=end - local.data), stray=True)


def _has_end(file: BinaryIO) -> bool:
    """Return whether a file, such as a program, ends with a zip."""
    zipped = Zip(file=file, size=file.seek(0, SEEK_END))
    try:
        find_directory(zipped)
    except (DamagedError, struct.error):
        return False
    places = (zipped.directory, zipped.directory - zipped.shift)
    has_entries = zipped.count > 0 and any(is_at(zipped, at, CENTRAL_MAGIC) for at in places)
    return has_entries and not zipped.goes_on


def _extent(file: BinaryIO, begin: int, end: int) -> int:
    """Return the length of a zip by its end record, or all bytes if it has none."""
    zipped = Zip(file=file, size=end)
    try:
        if local_header(zipped, begin, is_certain=False) is None:
            return 0
        for at, _ in find(file, [END_MAGIC], begin, end):
            *_, size, offset, comment = END.unpack(zipped.read(at, END.size))
            if at - size - offset == begin or is_at(zipped, at - LOCATOR.size, LOCATOR_MAGIC):
                length: int = at + END.size + comment - begin
                return min(length, end - begin)
    except DamagedError:
        pass
    return end - begin


READER = FileReader(
    name="zip",
    recognise=lambda head: head.startswith(_BEGINNINGS),
    recognise_end=_has_end,
    magics=(LOCAL_MAGIC,),
    markers=ENTRY_MARKERS,
    members=_members,
    extent=_extent,
)
