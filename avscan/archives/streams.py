"""Bytes that are read once, from front to back, and decoders that are fed little at a time."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from os import SEEK_END
from typing import BinaryIO, Protocol

CHUNK = 1 << 20  # bytes that are read, unpacked or written at a time
FED = 64 << 10  # bytes of input a decoder holds at most: zlib copies what it has not used yet
CODER_MEMORY = 256 << 20  # bytes that a decoder may ask for, lest one member takes what all have


class Stream:
    """Bytes pulled from a source, each of them once.

    `pull(size)` returns up to `size` bytes, and none only at its end.
    """

    def __init__(self, pull: Callable[[int], bytes]) -> None:
        self._pull = pull
        self._ahead = b""
        self._used = 0  # how much of what is ahead has been read
        self._position = 0

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes (fewer only at the end) without consuming them."""
        begin = self._used
        if len(self._ahead) < begin + size:
            self._ahead, self._used, begin = self._ahead[begin:], 0, 0
            while len(self._ahead) < size and (data := self._pull(size - len(self._ahead))):
                self._ahead += data
        return self._ahead[begin : begin + size]

    def some(self, size: int) -> bytes:
        """Read what is at hand, up to `size` bytes; nothing only at the end."""
        if size < 1:
            return b""  # not all decoders take no bytes for no bytes
        if self._used < len(self._ahead):
            data = self._ahead[self._used : self._used + size]
            self._used += len(data)
        else:
            data = self._pull(size)
        self._position += len(data)
        return data

    def read(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end."""
        data = self.some(size)
        if len(data) == size:
            return data
        parts = [data]
        missing = size - len(data)
        while missing and (data := self.some(missing)):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""
        self._ahead, self._used = data + self._ahead[self._used :], 0
        self._position -= len(data)

    def tell(self) -> int:
        """Return how many bytes have been read."""
        return self._position

    def seek(self, position: int) -> int:
        """Read on to `position`, or to the end if that is nearer.

        Raises:
            ValueError: it lies behind.

        """
        if position < self._position:
            raise ValueError("its parts are not in order")
        while self._position < position and self.some(min(CHUNK, position - self._position)):
            pass
        return self._position

    def skip_zeros(self) -> bool:
        """Read on to the next byte that is not zero, and return whether there is one."""
        while data := self.some(CHUNK):
            if rest := data.lstrip(b"\0"):
                self.unread(rest)
                return True
        return False


def region(file: BinaryIO, begin: int, end: int) -> Stream:
    """Return the bytes of a file from `begin` to `end`; others may move its position in between.

    Raises (from the reading) EOFError if the file ends before.
    """
    position = begin

    def pull(size: int) -> bytes:
        nonlocal position
        if position >= end:
            return b""
        file.seek(position)
        if not (data := file.read(min(size, end - position))):
            raise EOFError("it is cut short")
        position += len(data)
        return data

    return Stream(pull)


def read_at(file: BinaryIO, begin: int, size: int) -> bytes:
    """Return up to `size` bytes from an offset; none if the file does not have it."""
    if size <= 0 or not 0 <= begin < file.seek(0, SEEK_END):
        return b""
    file.seek(begin)
    return file.read(size)


def find(
    file: BinaryIO, needles: Iterable[bytes], begin: int, end: int
) -> Iterator[tuple[int, bytes]]:
    """Find each place of any needle between two offsets of a file, and which one it is."""
    needles = tuple(needles)
    longest = max(map(len, needles))
    position = begin
    while position < end:
        file.seek(position)
        data = file.read(min(CHUNK, end - position))
        is_last = position + len(data) >= end or not data
        # What begins in the last bytes is found in the next chunk.
        stop = len(data) if is_last else len(data) - longest + 1
        if any(needle in data for needle in needles):  # ten times as fast as the pattern
            pattern = _pattern(needles)
            hit = pattern.search(data)
            while hit is not None and hit.start() < stop:
                yield position + hit.start(), hit[0]
                hit = pattern.search(data, hit.start() + 1)  # one may begin within another
        if is_last:
            return
        position += stop


@cache
def _pattern(needles: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, needles)))


def until(stream: Stream, end: int) -> Stream:
    """Return what a stream has from where it stands up to the position `end`, or to its own end."""
    return Stream(lambda size: stream.some(min(size, end - stream.tell())))


def chunked(chunks: Iterator[bytes]) -> Stream:
    """Return the bytes of all chunks, which come one after another; none may be empty."""
    chunk, used = b"", 0

    def pull(size: int) -> bytes:
        nonlocal chunk, used
        if used == len(chunk):
            chunk, used = next(chunks, b""), 0
        data = chunk[used : used + size]
        used += len(data)
        return data

    return Stream(pull)


class Decoder(Protocol):
    """What `bz2` and `lzma` have in common."""

    @property
    def eof(self) -> bool:
        """Whether the compressed stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes without more input."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Feed `data`, return up to `max_length` bytes."""


class Inflate:
    """The decoder of zlib with the interface of the others, for deflated data without a frame."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        """Whether the compressed stream has ended."""
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes without more input."""
        return not (self._decoder.unconsumed_tail or self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond the end."""
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Feed `data`, return up to `max_length` bytes."""
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


def bzip2_decoder() -> Decoder:
    """Decode one bzip2 stream."""
    return bz2.BZ2Decompressor()


def xz_decoder() -> Decoder:
    """Decode one xz stream."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=CODER_MEMORY)


def lzma_decoder() -> Decoder:
    """Decode the format before xz: thirteen bytes of header, then LZMA."""
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=CODER_MEMORY)


DECODING_ERRORS: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError)
"""What damaged data raises, beside OSError, EOFError and ValueError."""


def decoded(source: Stream, make: Callable[[], Decoder]) -> Stream:
    """Unpack one compressed stream. At its end `source` stands at what follows it.

    Raises (from the reading):
        EOFError: it is cut short.
        OSError, ValueError, one of DECODING_ERRORS: it is damaged.

    """
    decoder: Decoder | None = make()

    def pull(size: int) -> bytes:
        nonlocal decoder
        while decoder is not None:
            if decoder.eof:
                source.unread(decoder.unused_data)
                decoder = None  # its memory is needed for what was packed in it
                return b""
            fed = source.some(FED) if decoder.needs_input else b""
            starved = decoder.needs_input and not fed
            if data := decoder.decompress(fed, size):
                return data
            if starved and not decoder.eof:
                raise EOFError("it is cut short")
        return b""

    return Stream(pull)
