"""Bytes that are read once, from front to back, and decoders with bounded memory."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from os import SEEK_END
from typing import BinaryIO

CHUNK = 1 << 20  # bytes that are read, unpacked or written at a time
FED = 64 << 10  # bytes that a decoder gets at a time: zlib copies its unused input each time
CODER_MEMORY = 256 << 20  # bytes that one decoder may allocate


class Stream:
    """Bytes from a source that is read once.

    `pull(size)` returns up to `size` bytes, and b"" only at its end.
    """

    def __init__(self, pull: Callable[[int], bytes]) -> None:
        self._pull = pull
        self._ahead = b""
        self._used = 0  # bytes of `_ahead` that have been read
        self._position = 0

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes (fewer only at the end) without reading them."""
        begin = self._used
        if len(self._ahead) < begin + size:
            self._ahead, self._used, begin = self._ahead[begin:], 0, 0
            while len(self._ahead) < size and (data := self._pull(size - len(self._ahead))):
                self._ahead += data
        return self._ahead[begin : begin + size]

    def some(self, size: int) -> bytes:
        """Read up to `size` bytes; b"" only at the end."""
        if size < 1:
            return b""  # some decoders take 0 for no limit
        if self._used < len(self._ahead):
            data = self._ahead[self._used : self._used + size]
            self._used += len(data)
        else:
            data = self._pull(size)
        self._position += len(data)
        return data

    def read(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end."""
        return self.some(len(self.peek(size)))

    def read_exactly(self, size: int) -> bytes:
        """Read `size` bytes. Raise EOFError if there are fewer."""
        data = self.read(size)
        if len(data) < size:
            raise EOFError("it is cut short")
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back, to be read again."""
        self._ahead, self._used = data + self._ahead[self._used :], 0
        self._position -= len(data)

    def tell(self) -> int:
        """Return the number of bytes that have been read."""
        return self._position

    def seek(self, position: int) -> int:
        """Read on to `position`, or to the end if that is nearer.

        Raises:
            ValueError: it has been read already.

        """
        if position < self._position:
            raise ValueError("its parts are not in order")
        while self._position < position and self.some(min(CHUNK, position - self._position)):
            pass
        return self._position

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the rest, in chunks of bounded size that are not empty."""
        return iter(partial(self.some, CHUNK), b"")

    def skip_zeros(self) -> bool:
        """Read on to the next byte that is not zero, and return whether there is one."""
        for data in self.chunks():
            if rest := data.lstrip(b"\0"):
                self.unread(rest)
                return True
        return False


def region(file: BinaryIO, begin: int, end: int) -> Stream:
    """Return the bytes of a file from `begin` to `end`, whatever its position is at each read.

    Reading raises EOFError if the file ends before.
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
    """Return up to `size` bytes at an offset, which may be outside of the file."""
    if size <= 0 or not 0 <= begin < file.seek(0, SEEK_END):
        return b""
    file.seek(begin)
    return file.read(size)


def find(
    file: BinaryIO, needles: Iterable[bytes], begin: int, end: int
) -> Iterator[tuple[int, bytes]]:
    """Iterate over the needles between two offsets of a file, each with its offset in front."""
    needles = tuple(needles)
    longest = max(map(len, needles))
    position = begin
    while position < end:
        file.seek(position)
        data = file.read(size := min(CHUNK, end - position))
        is_last = len(data) < size or position + size == end  # `end` may be behind the file's end
        # A needle that begins in the last bytes is found in the next chunk.
        stop = len(data) if is_last else len(data) - longest + 1
        if any(needle in data for needle in needles):  # ten times as fast as a regular expression
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
    """Return a stream of what another one has up to the position `end`."""
    return Stream(lambda size: stream.some(min(size, end - stream.tell())))


def chunked(chunks: Iterator[bytes]) -> Stream:
    """Return a stream of the bytes of all chunks, none of which may be empty."""
    chunk, used = b"", 0

    def pull(size: int) -> bytes:
        nonlocal chunk, used
        if used == len(chunk):
            chunk, used = next(chunks, b""), 0
        data = chunk[used : used + size]
        used += len(data)
        return data

    return Stream(pull)


class Inflate:
    """A decoder of raw deflated data with the interface of `bz2` and `lzma`."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        """Whether the compressed data have ended."""
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        """Whether there is no more output without more input."""
        return not (self._decoder.unconsumed_tail or self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        """The input behind the end of the compressed data."""
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decode `data`; return up to `max_length` bytes."""
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


Decoder = bz2.BZ2Decompressor | lzma.LZMADecompressor | Inflate


xz_decoder = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=CODER_MEMORY)
lzma_decoder = partial(lzma.LZMADecompressor, lzma.FORMAT_ALONE, memlimit=CODER_MEMORY)
"""Decoders of one xz stream, and of the format before xz: a header of thirteen bytes, then LZMA."""

DECODING_ERRORS: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError)
"""Exceptions of decoders over damaged data, beside OSError, EOFError and ValueError."""


def decoded(source: Stream, make: Callable[[], Decoder]) -> Stream:
    """Return the content of one compressed stream. At its end, `source` is at what follows it.

    Reading raises EOFError if it is cut short, and OSError, ValueError or one of `DECODING_ERRORS` if
    it is damaged.
    """
    decoder: Decoder | None = make()

    def pull(size: int) -> bytes:
        nonlocal decoder
        while decoder is not None:
            if decoder.eof:
                source.unread(decoder.unused_data)
                decoder = None  # frees its memory for the decoders of its content
                return b""
            fed = source.some(FED) if decoder.needs_input else b""
            starved = decoder.needs_input and not fed
            if data := decoder.decompress(fed, size):
                return data
            if starved and not decoder.eof:
                raise EOFError("it is cut short")
        return b""

    return Stream(pull)
