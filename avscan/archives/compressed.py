"""Compressed single files: gzip, bzip2, xz, and lzma, the format before xz.

The profile: one or more streams without anything between them, and at most zeros behind the last one
(RFC 1952; the specification of the format .xz). Some readers, such as the launcher's, stop at the end
of the first stream. So the content of the first stream is scanned as well.
"""

from __future__ import annotations

import struct
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from avscan.archives.reader import (
    UNREADABLE,
    Archive,
    DamagedError,
    FileReader,
    Item,
    Member,
    Problem,
)
from avscan.archives.streams import (
    Decoder,
    Inflate,
    Stream,
    chunked,
    decoded,
    lzma_decoder,
    region,
    xz_decoder,
)

PROVEN = 4096
"""Bytes of output: data that decode to so many are a compressed stream, even if it is damaged."""

LEAST = 64
"""The same for deflated data that are complete: only the checksum behind them is damaged."""

_GZIP, _OLD_GZIP = b"\x1f\x8b", b"\x1f\x9e"  # gzip(1) reads both
_RESERVED, _CHECKED, _EXTRA, _NAME, _COMMENT = 0xE0, 2, 4, 8, 16
_LONGEST_NAME = 64 << 10
_BZIP2 = tuple(b"BZh%d" % level for level in range(1, 10))
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # of a block, or of the end where there is no block
_XZ = b"\xfd7zXZ\0"


@dataclass(slots=True)
class _Unpacked:
    """The state of decompressing one file; `problem` is the first one.

    `ended` means that deflated data are complete, and `whole` that all streams are.
    """

    streams: int = 0
    ended: bool = False
    whole: bool = False
    problem: str = ""

    def note(self, problem: str, at: int) -> None:
        self.problem = self.problem or f"{problem} in the stream at byte {at}"


_Unpack = Callable[[Stream, _Unpacked], Iterator[bytes]]


def _read_extra(source: Stream, state: _Unpacked, begin: int) -> bytes:
    """Read an extra field, which consists of fields with their lengths (2.3.1.1)."""
    length = source.read(2)
    extra, at = source.read(int.from_bytes(length, "little")), 0
    while at + 4 <= len(extra):
        at += 4 + int.from_bytes(extra[at + 2 : at + 4], "little")
    if at != len(extra):  # 7-Zip would skip to the next stream
        state.note("a malformed extra field", begin)
    return length + extra


def _read_header(source: Stream, state: _Unpacked) -> None:
    """Read a header of gzip (RFC 1952, 2.3). Note what only some readers reject."""
    begin = source.tell()
    head = source.read_exactly(10)
    flags = head[3]
    if flags & _EXTRA:
        head += _read_extra(source, state, begin)
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            name, zero, _ = source.peek(_LONGEST_NAME).partition(b"\0")
            if not zero:
                raise DamagedError("a name without an end")
            head += source.read(len(name) + 1)
    if not head.startswith(_GZIP):
        state.note("an old magic", begin)
    if head[2] != 8:  # noqa: PLR2004 - deflate, the only method
        state.note(f"method {head[2]}", begin)
    if flags & _RESERVED:
        state.note("reserved flags", begin)
    if flags & _CHECKED and source.read(2) != (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little"):
        state.note("a wrong checksum of the header", begin)


def _gunzip(source: Stream, state: _Unpacked) -> Iterator[bytes]:
    begin = source.tell()
    _read_header(source, state)
    checksum = size = 0
    for data in decoded(source, Inflate).chunks():
        checksum, size = zlib.crc32(data, checksum), size + len(data)
        yield data
    state.ended = True
    if source.read_exactly(8) != struct.pack("<2I", checksum, size & 0xFFFFFFFF):
        state.note("a wrong checksum or size", begin)


def _reader(
    name: str,
    recognise: Callable[[bytes], bool],
    unpack: _Unpack,
    *,
    magics: tuple[bytes, ...],
    magic_at: int = 0,
    following: tuple[bytes, ...] = (),
    shown: bool = False,
    may_be_cut: bool = False,
) -> FileReader:
    """Make a reader of streams, where each one but the first begins with one of `following`.

    With `shown` the raw file is shown to clamscan as well. With `may_be_cut` ordinary writers split
    their input into streams anywhere.
    """
    longest = max(map(len, following), default=0)

    def streams(source: Stream, state: _Unpacked) -> Iterator[bytes]:
        while not state.streams or source.peek(longest).startswith(following):
            yield from unpack(source, state)
            state.streams += 1
        state.whole = True

    def members(archive: Archive) -> Iterator[Item]:
        source, state = region(archive.file, 0, archive.size), _Unpacked()
        yield Member(name="", open=lambda: chunked(streams(source, state)))
        if state.problem:
            yield Problem(text=state.problem)
        if state.whole and source.skip_zeros():
            yield Problem(text=f"data behind the end at byte {source.tell()}")
            yield Member(name="(behind the end)", open=lambda: source)
        if state.streams > 1:
            first = unpack(region(archive.file, 0, archive.size), _Unpacked())
            yield Member(
                name="(the first stream)", open=lambda: chunked(first), is_partial=may_be_cut
            )

    def extent(file: BinaryIO, begin: int, end: int) -> int:
        source, state = region(file, begin, end), _Unpacked()
        size = 0
        try:
            for data in streams(source, state):
                size += len(data)
        except UNREADABLE:
            return end - begin if size >= (LEAST if state.ended else PROVEN) else 0
        return source.tell() if size else 0

    return FileReader(
        name=name,
        recognise=recognise,
        magics=magics,
        magic_at=magic_at,
        members=members,
        extent=extent,
        is_compressed=not shown,
    )


def _with(make: Callable[[], Decoder]) -> _Unpack:
    return lambda source, _: decoded(source, make).chunks()


def _is_gzip(head: bytes) -> bool:
    """Return whether any reader may recognise gzip, also with reserved flags or another method."""
    usual = len(head) > 3 and (head[2] == 8 or head[3] < 0x20)  # noqa: PLR2004
    return usual and (head.startswith(_GZIP) or (head.startswith(_OLD_GZIP) and head[2] == 8))  # noqa: PLR2004


def _is_lzma(head: bytes) -> bool:
    """Check what xz checks: the usual properties, a round dictionary size, a size below 256 GiB."""
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    lowest = dictionary & -dictionary
    return (
        len(head) > 13  # noqa: PLR2004 - the header's length
        and head[0] == 0x5D  # noqa: PLR2004 - lc=3, lp=0, pb=2
        and dictionary >= 1 << 12
        and dictionary in {lowest, 3 * lowest}
        and (size == 2**64 - 1 or size < 1 << 38)
        and head[13] == 0  # the range coder's first byte
    )


_BLOCKS = tuple(level + block for level in _BZIP2 for block in _BZIP2_BLOCKS)

READERS = (
    _reader("gzip", _is_gzip, _gunzip, magics=(_GZIP + b"\x08",), following=(_GZIP, _OLD_GZIP)),
    _reader(
        "bzip2",
        lambda head: head.startswith(_BLOCKS),
        _with(BZ2Decompressor),
        magics=_BZIP2_BLOCKS,
        magic_at=len(_BZIP2[0]),
        following=_BZIP2,
        may_be_cut=True,
    ),
    _reader(
        "xz",
        lambda head: head.startswith(_XZ),
        _with(xz_decoder),
        magics=(_XZ,),
        following=(_XZ,),
        may_be_cut=True,
    ),
    _reader("lzma", _is_lzma, _with(lzma_decoder), magics=(), shown=True),
)
