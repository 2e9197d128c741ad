"""Sparse files of a tar: the offsets of their pieces, in the four forms of GNU tar.

The profile is what GNU tar and bsdtar write, including the order of the records ("Storing Sparse
Files" in the manual of GNU tar). Other readers support other records, and not all of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from avscan.archives.reader import Archive, DamagedError, FileReader, Item, Member
from avscan.archives.streams import CHUNK, Stream, chunked, region
from avscan.archives.tar_fields import BLOCK, MOST, decimal, has_sum, number

KEY = b"GNU.sparse."
_KEYS = re.compile(
    b"size numblocks (offset numbytes )*|size numblocks name map |major minor name realsize "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """The pieces of a sparse file (offsets and lengths); their data begin at `begin` of the entry.

    `header` is the length of its header, with the blocks behind it that continue the map.
    """

    pieces: tuple[tuple[int, int], ...]
    size: int
    begin: int = 0
    header: int = BLOCK

    def check(self, packed: int) -> None:
        """Raise DamagedError if the pieces are out of order, or do not fit `packed` bytes of data."""
        end, total = 0, self.begin
        for offset, length in self.pieces:
            # GNU tar pads each piece to whole blocks, others do not.
            if offset < end or ((total - self.begin) % BLOCK and length):
                raise DamagedError("a sparse file whose map is out of order")
            end, total = offset + length, total + length
        if end != self.size or total != packed:  # GNU tar drops a last hole
            raise DamagedError("a sparse file whose map does not fit its data")

    def reader(self) -> FileReader:
        """Return a reader of the entry's data, which some tools unpack as they are."""
        return FileReader(name="sparse file", members=self._members)

    def _members(self, archive: Archive) -> Iterator[Item]:
        yield Member(name="", open=lambda: chunked(self._expanded(archive)))

    def _expanded(self, archive: Archive) -> Iterator[bytes]:
        position, at = 0, self.begin
        for offset, length in (*self.pieces, (self.size, 0)):
            for begin in range(position, offset, CHUNK):
                yield bytes(min(CHUNK, offset - begin))
            piece = region(archive.file, at, at + length)
            yield from piece.chunks()
            position, at = offset + length, at + length


def from_header(stream: Stream) -> Sparse:
    """Parse GNU tar's map in a header and the blocks behind it. Raise DamagedError."""
    block = stream.peek(BLOCK)
    fields, more, header = block[386:482], block[482], BLOCK
    try:
        size = number(block[483:495])
        while more:
            header += BLOCK
            block = stream.peek(header)[header - BLOCK :]
            if len(block) < BLOCK or header > MOST or has_sum(block):
                raise DamagedError("a sparse file with an unusual map")
            fields, more = fields + block[:504], block[504]
        pairs = (fields[at : at + 24] for at in range(0, len(fields), 24))
        pieces = tuple((number(pair[:12]), number(pair[12:])) for pair in pairs if pair[0])
    except ValueError as error:
        raise DamagedError("a sparse file with an unusual map") from error
    return Sparse(pieces=pieces, size=size, header=header)


def from_records(records: list[tuple[bytes, bytes]], packed: int, stream: Stream) -> Sparse:
    """Parse a map of the versions 0.0, 0.1 and 1.0, in pax records or in front of the data.

    `packed` is the entry's size, and the stream is at its header. Raise DamagedError.
    """
    keys = b"".join(key.removeprefix(KEY) + b" " for key, _ in records)
    if _KEYS.fullmatch(keys) is None:
        raise DamagedError("a sparse file of an unusual kind")
    first, second, *numbers = [value for _, value in records]
    begin = 0
    if keys.startswith(b"major"):
        if (first, second) != (b"1", b"0"):
            raise DamagedError("a sparse file of an unusual kind")
        first = numbers[1]
        lines = stream.peek(BLOCK + min(packed, MOST))[BLOCK:].split(b"\n")[:-1] or [b""]
        second, *numbers = lines[: 1 + 2 * decimal(lines[0])]
        begin = sum(len(line) + 1 for line in (second, *numbers))
        begin += -begin % BLOCK
    elif keys.endswith(b"map "):
        numbers = numbers[1].split(b",")
    values = [decimal(number) for number in numbers]
    if len(values) != 2 * decimal(second):
        raise DamagedError("a sparse file with an unusual map")
    pieces = tuple(zip(values[::2], values[1::2], strict=True))
    return Sparse(pieces=pieces, size=decimal(first), begin=begin)
