"""Archives behind something that is none: a program, a script, the headers of an rpm.

Self-extracting programs and installers carry their load so, and clamscan finds only some of it. The
magic bytes alone are no proof: a large program has three given bytes by chance, and one that unpacks
archives has every magic. So each place that has one is tried. What does not unpack for a while, or
has not the right sums, is no archive; what does, and is damaged further on, is noted.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from os import SEEK_END
from typing import BinaryIO

from avscan.archives import containers, sevenzip
from avscan.archives.containers import HEAD, UNREADABLE, Kind, Member
from avscan.archives.streams import CHUNK, Stream, region

PROVEN = 4096  # bytes that come out of no gzip stream by chance

_LONGEST = 16  # bytes of the longest magic
_USTAR = 257  # where a tar's header has it
# Inno Setup's table of its parts, as innoextract knows its first bytes.
_INNO = rb"rDlPtS(?:0[24567]\x87eVx|\xcd\xe6\xd7\x7b\x0b\x2a)"
_MAGICS = re.compile(
    rb"\x1f\x8b\x08[\0-\x1f]|BZh[1-9](?:1AY&SY|\x17rE8P\x90)|\xfd7zXZ\0|ustar|"
    rb"\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c\0|Rar!\x1a\x07[\0\1]|" + _INNO
)
_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_BLOCK = 128 << 10  # bytes of a block of zstd (RFC 8878)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A place in a file, which ends at `end`."""

    file: BinaryIO
    at: int
    end: int

    @property
    def name(self) -> str:
        return f"(at byte {self.at})"

    def read(self, size: int) -> bytes:
        self.file.seek(self.at)
        return self.file.read(size)

    def stream(self) -> Stream:
        return region(self.file, self.at, self.end)

    def forward(self, size: int) -> _Place:
        return replace(self, at=self.at + size)


Found = Generator[Member, None, int]
"""The members that are found at a place, and after them how many bytes they take there."""


def archives(file: BinaryIO, tick: Callable[[], None]) -> Iterator[Member]:
    """Iterate over the archives in a file, each of them as a member (of a tar, its members).

    `tick` is called now and then. Reading a member raises nothing: it ends where it is damaged.
    """
    end = file.seek(0, SEEK_END)
    done = 1  # what is at the very beginning is the file itself
    for at in _hits(file):
        tick()
        if at >= done:
            done = at + (yield from _found(_Place(file=file, at=at, end=end), tick))


def _hits(file: BinaryIO) -> Iterator[int]:
    """Find each place where an archive may begin, and each chunk's beginning, which is none."""
    position = 0
    while True:
        file.seek(position)
        data = file.read(CHUNK)
        yield 0
        hit = _MAGICS.search(data)
        while hit is not None:  # one may begin within another, so that finditer would pass it by
            yield position + hit.start() - _USTAR * (hit[0] == b"ustar")
            hit = _MAGICS.search(data, hit.start() + 1)
        if len(data) < CHUNK:
            return
        # The last bytes once more: they may be the beginning of one.
        position += len(data) - _LONGEST


def _found(place: _Place, tick: Callable[[], None]) -> Found:
    """See what is at a place."""
    head = place.read(HEAD)
    kind = containers.sniff(head)
    closed = ""
    if kind is Kind.TAR:
        return (yield from _tar(place))
    if head.startswith(_ZSTD) and not _is_zstd(place, tick):
        return 1
    if kind is not None and kind.squeezed:
        return (yield from _squeezed(place, kind))
    if size := sevenzip.extent(head[: sevenzip.START]):
        closed = sevenzip.unsupported(place.file, place.at)  # else clamscan opens it
    elif head.startswith(b"rDlPtS"):
        closed = "Inno Setup"
    elif _is_rar(head) or head.startswith(_ZSTD):
        closed = containers.opaque(head)
    if closed:
        yield Member(name=place.name, closed=closed)
    return min(max(size, 1), place.end - place.at)


def _squeezed(place: _Place, kind: Kind) -> Found:
    """Unpack a stream, if it is one."""
    if not _unpacks(place, kind):
        return 1
    source = place.stream()
    content = _Lenient(_content(kind, source))
    yield Member(name=place.name, open=lambda: content.stream)
    content.exhaust()
    if content.damaged:
        yield Member(name=place.name, closed=f"damaged {kind.value}")
    return max(1, source.tell())


def _content(kind: Kind, source: Stream) -> Stream:
    """Give what the first member of a compressed stream holds, which is all of it."""
    opener = next(containers.members(kind, source)).open
    if opener is None:
        raise containers.NotWholeError("nothing to open")
    return opener()


def _unpacks(place: _Place, kind: Kind) -> bool:
    """Tell whether a stream is more than a few bytes of magic. The others begin with sums."""
    content = _Lenient(_content(kind, place.stream()))
    size = len(content.stream.read(PROVEN if kind is Kind.GZIP else 1))
    return size > 0 and (size == PROVEN or not content.damaged)


def _tar(place: _Place) -> Found:
    """Give the members of a tar, whose header had the right sum."""
    source = place.stream()
    members = containers.members(Kind.TAR, source)
    damaged = False
    try:
        while (member := next(members, None)) is not None and not member.rest:
            if member.open is not None:
                content = _Lenient(member.open())
                yield Member(
                    name=f"{place.name}/{member.name}",
                    open=lambda it=content: it.stream,  # type: ignore[misc] # a default binds it now
                )
                damaged |= content.damaged
    except UNREADABLE:
        damaged = True
    if damaged:
        yield Member(name=place.name, closed="damaged tar")
    return max(1, source.tell())


class _Lenient:
    """A stream that ends where it is damaged, and tells."""

    def __init__(self, content: Stream) -> None:
        self._content = content
        self.damaged = False
        self.stream = Stream(self._pull)

    def exhaust(self) -> None:
        while self.stream.some(CHUNK):
            pass

    def _pull(self, size: int) -> bytes:
        if self.damaged:  # decoders can't be asked again
            return b""
        try:
            return self._content.some(size)
        except UNREADABLE:
            self.damaged = True
            return b""


def _is_rar(head: bytes) -> bool:
    """Check the first block's sum and type (technote.txt of rar 4, and that of rar 5)."""
    if head.startswith(b"Rar!\x1a\x07\0"):
        size = int.from_bytes(head[12:14], "little")
        total = zlib.crc32(head[9 : 7 + size]) & 0xFFFF
        return head[7:10] == total.to_bytes(2, "little") + b"\x73"
    if head.startswith(b"Rar!\x1a\x07\1\0") and len(head) == HEAD:
        total = zlib.crc32(head[12 : 13 + head[12]])  # its length is a byte, and not in itself
        return head[8:12] == total.to_bytes(4, "little") and head[13] in {1, 4}
    return False


def _is_zstd(place: _Place, tick: Callable[[], None]) -> bool:
    """Tell whether a frame begins here, and is no few bytes that look like one (RFC 8878, 3.1.1).

    Every program that has zstd's library has its magic too, and code behind it: that is no chain of
    several blocks up to the last one, nor one block that ends with the file or before another frame.
    """
    head = place.read(HEAD)
    if len(head) < 6 or head[4] & 8:  # noqa: PLR2004 - magic, flags, size
        return False
    flags = head[4]
    single = flags >> 5 & 1
    length = 6 - single + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    place, blocks, last = place.forward(length), 0, False
    while not last:
        tick()
        header = int.from_bytes(place.read(3).ljust(3, b"\xff"), "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3 or size > _MOST_BLOCK or place.at >= place.end:  # noqa: PLR2004 - reserved
            return False
        place = place.forward(3 + (1 if kind == 1 else size))
        blocks += 1
    place = place.forward(4 if flags & 4 else 0)
    if place.at >= place.end:
        return place.at == place.end
    return blocks > 1 or place.read(len(_ZSTD)) == _ZSTD
