"""Zip: every entry of its directory, and every entry that the directory keeps quiet about.

Programs disagree about damaged and cunning zips, so nothing is taken on trust: an entry's data is
unpacked to its real end, whatever size the directory says; where the directory and the header in
front of the data disagree, that is said; what no entry covers is searched for further entries.
Zipfile reads the directory, and nothing else.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from avscan.archives import streams
from avscan.archives.containers import UNREADABLE, Member, NotWholeError
from avscan.archives.plainzip import DIRECTORY, is_plain
from avscan.archives.streams import CHUNK, Stream

PASSED_OVER = {"zip-lzma": 14, "zip-zstd": 93, "zip-xz": 95, "zip-ppmd": 98}  # APPNOTE 4.4.5
"""The methods of entries that clamscan says nothing of, by names to tell of them."""

ZIP64 = "zip64"
"""The same for an entry whose sizes stand elsewhere."""

ENTRY_MARKS = frozenset({*PASSED_OVER, ZIP64})

INFLATION = 1032  # bytes that one byte of deflated data can become, at most (zlib.net)

_LOCAL = struct.Struct("<4sBxHHHHIIIHH")
_LOCAL_MAGIC = b"PK\3\4"
_END_MAGIC = b"PK\5\6"
_TAIL = 22 + 0xFFFF  # bytes of the end record with the longest comment
_LATEST = 63  # the format's version 6.3
_ENCRYPTED = 0x1
_ENDS_WITH_MARK = 0x2  # of LZMA
_SIZES_FOLLOW = 0x8
_IN_EXTRA = 0xFFFFFFFF
_STORED, _IMPLODED, _DEFLATED, _DEFLATED64, _BZIP2, _LZMA = 0, 6, 8, 9, 12, 14
_ZSTD, _XZ, _AES = 93, 95, 99
_METHODS = {*range(21), *range(93, 100)}  # those that were ever given a number (APPNOTE 4.4.5)
_DECODERS: dict[int, Callable[[], streams.Decoder]] = {
    _DEFLATED: streams.deflate_decoder,
    _BZIP2: streams.bzip2_decoder,
    _LZMA: streams.lzma_decoder,
    _XZ: streams.xz_decoder,
} | ({_ZSTD: streams.zstd_decoder} if streams.zstd_decoder else {})
# What clamscan sees of a plain zip.
_SEEN = {_STORED, _IMPLODED, _DEFLATED, _DEFLATED64}  # bzip2: only the first of several streams
_NAMES = {_IMPLODED: "imploded", _DEFLATED64: "deflate64", _ZSTD: "zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry: what is needed to unpack it."""

    name: str
    method: int
    flags: int
    data: int
    end: int
    size: int = 0  # as the directory says
    plain: bool = False  # in a zip that all programs read alike
    listed: bool = False  # by the directory, which tells where its data ends


@dataclass(frozen=True, slots=True, kw_only=True)
class _Local:
    """The header in front of an entry's data, which begins at `data`."""

    name: bytes
    version: int
    method: int
    flags: int
    packed: int
    data: int


class _Frugal:
    """A file for zipfile, which reads a directory of any length into memory at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = self._size - self.tell()
        if size > DIRECTORY:
            raise NotWholeError(f"its directory is larger than {DIRECTORY} bytes")
        return self._file.read(size)


def members(file: BinaryIO) -> Iterator[Member]:
    """Iterate over the members of a zip, which must allow seeking.

    Raises (also from reading a member): one of UNREADABLE.
    """
    size = file.seek(0, 2)
    try:
        directory = _directory(file)
    except NotWholeError:
        raise
    except UNREADABLE as error:
        yield from _strays(file, [(0, size)])
        raise NotWholeError("its directory can't be read") from error
    plain = is_plain(file)
    covered: list[tuple[int, int]] = []
    quarrels = []
    for info in directory:
        local = _local(file, info.header_offset)
        if local is None or not _agree(info, local):
            quarrels.append(info.filename)
        if local is not None:
            end = local.data + info.compress_size
            covered.append((info.header_offset, end))
            yield _member(
                file,
                _Entry(
                    name=info.filename,
                    method=info.compress_type,
                    flags=info.flag_bits,
                    data=local.data,
                    end=end,
                    size=info.file_size,
                    plain=plain,
                    listed=True,
                ),
            )
    yield from _strays(file, _gaps(covered, size))
    if quarrels:
        more = f" and {len(quarrels) - 1} more" if quarrels[1:] else ""
        raise NotWholeError(f"its directory lies about {quarrels[0]}{more}")


def has_directory(file: BinaryIO) -> bool:
    """Tell whether a file of any kind, such as a program, is a zip at its end."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    if _END_MAGIC not in file.read(_TAIL):
        return False
    try:
        return bool(_directory(file))
    except UNREADABLE:
        return False


def _directory(file: BinaryIO) -> list[zipfile.ZipInfo]:
    frugal = _Frugal(file)
    try:
        with zipfile.ZipFile(frugal) as archive:
            found: list[zipfile.ZipInfo] = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise ValueError("no directory") from error
    return found


def _local(file: BinaryIO, offset: int) -> _Local | None:
    """Read the header at `offset`; None if there is none."""
    if offset < 0:
        return None
    file.seek(offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(_LOCAL_MAGIC):
        return None
    _, version, flags, method, _, _, _, packed, _, name, extra = _LOCAL.unpack(header)
    return _Local(
        name=file.read(name),
        version=version,
        method=method,
        flags=flags,
        packed=packed,
        data=offset + _LOCAL.size + name + extra,
    )


def _agree(info: zipfile.ZipInfo, local: _Local) -> bool:
    """Tell whether a program that goes by the local headers sees the same as one that doesn't."""
    return (
        local.method == info.compress_type
        and not (local.flags ^ info.flag_bits) & _ENCRYPTED
        and (bool(local.flags & _SIZES_FOLLOW) or local.packed in {info.compress_size, _IN_EXTRA})
    )


def _member(file: BinaryIO, entry: _Entry) -> Member:
    if entry.flags & _ENCRYPTED or entry.method == _AES:
        return Member(name=entry.name, closed="encrypted")
    packed = entry.end - entry.data
    seen = entry.plain and entry.method in _SEEN
    most = max(entry.size, packed if entry.method == _STORED else packed * INFLATION)
    if entry.method != _STORED and entry.method not in _DECODERS:
        closed = _NAMES.get(entry.method, f"zip method {entry.method}")
        return Member(name=entry.name, closed=closed, seen=seen, most=most)
    return Member(name=entry.name, open=lambda: _unpacked(file, entry), seen=seen, most=most)


def _unpacked(file: BinaryIO, entry: _Entry) -> Stream:
    """Unpack an entry's data to its end, whatever size its directory says."""
    source = streams.region(file, entry.data, entry.end)
    match entry.method:
        case 0:
            return source
        case 14:
            # A version, the length of the properties, the properties (APPNOTE 5.8.8): made into the
            # header that the format before xz has, for its decoder can be held to a memory limit.
            marked = entry.flags & _ENDS_WITH_MARK
            size = 2**64 - 1 if marked else entry.size
            source.unread(source.read(9)[4:] + size.to_bytes(8, "little"))
            return streams.decoded(source, streams.lzma_decoder, magics=())
        case method:
            content = streams.decoded(source, _DECODERS[method], magics=())
            return _to_the_end(content, source) if entry.listed else content


def _to_the_end(content: Stream, source: Stream) -> Stream:
    """Give what an entry holds; behind its data, and before its end, others could be hidden."""

    def pull(size: int) -> bytes:
        data = content.some(size)
        if size and not data and source.some(1):
            raise NotWholeError("it holds more than its data")
        return data

    return Stream(pull)


def _gaps(covered: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Give what no entry covers: a prefix, holes, the directory itself, a suffix."""
    position = 0
    for begin, end in sorted(covered):
        if begin > position:
            yield position, begin
        position = max(position, end)
    if position < size:
        yield position, size


def _strays(file: BinaryIO, gaps: Iterable[tuple[int, int]]) -> Iterator[Member]:
    """Find entries that no directory names, as zips put behind one another have them."""
    for begin, end in gaps:
        for offset in _find(file, _LOCAL_MAGIC, begin, end):
            local = _local(file, offset)
            if local is not None and _plausible(local):
                sized = local.packed and not local.flags & _SIZES_FOLLOW
                until = min(end, local.data + local.packed) if sized else end
                name = local.name.decode("utf-8", "surrogateescape")
                entry = _Entry(
                    name=f"{name} (not in the directory)",
                    method=local.method,
                    flags=local.flags,
                    data=local.data,
                    end=until,
                    size=2**64 - 1,
                )
                yield _member(file, entry)


def _plausible(local: _Local) -> bool:
    """Tell whether a header found somewhere is one: four bytes are found in programs too."""
    return local.version <= _LATEST and local.method in _METHODS and bool(local.name)


def _find(file: BinaryIO, needle: bytes, begin: int, end: int) -> Iterator[int]:
    """Find each place of `needle` between two offsets of a file."""
    position = begin
    while position < end:
        file.seek(position)
        data = file.read(min(CHUNK, end - position))
        if not data:
            return
        at = data.find(needle)
        while at >= 0:
            yield position + at
            at = data.find(needle, at + 1)
        # The last bytes once more: they may be the beginning of one.
        position += max(1, len(data) - len(needle) + 1)
