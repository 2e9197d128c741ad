"""Gzip streams written field by field, and what can be told wrongly in them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from differential.content import content
from differential.tar_parts import hidden

FTEXT, FHCRC, FEXTRA, FNAME, FCOMMENT = 1, 2, 4, 8, 16


def deflated(data: bytes, level: int = 6) -> bytes:
    """Return raw deflate."""
    packer = zlib.compressobj(level, wbits=-15)
    return packer.compress(data) + packer.flush()


@dataclass
class Gzip:
    """A gzip file before it is written: one stream, and what stands around it."""

    data: bytes
    magic: bytes = b"\x1f\x8b"
    method: int = 8
    flags: int = 0
    mtime: int = 0
    xfl: int = 0
    system: int = 3
    extra: bytes = b""
    extra_length: int | None = None
    name: bytes = b""
    comment: bytes = b""
    header_crc: int | None = None
    level: int = 6
    crc: int | None = None
    size: int | None = None
    before: bytes = b""
    after: bytes = b""
    cut: int = 0
    edits: list[Callable[[bytearray], None]] = field(default_factory=list)

    def head(self) -> bytes:
        head = self.magic + struct.pack(
            "<BBIBB", self.method, self.flags, self.mtime, self.xfl, self.system
        )
        if self.flags & FEXTRA:
            length = len(self.extra) if self.extra_length is None else self.extra_length
            head += struct.pack("<H", length) + self.extra
        if self.flags & FNAME:
            head += self.name + b"\0"
        if self.flags & FCOMMENT:
            head += self.comment + b"\0"
        if self.flags & FHCRC:
            crc = zlib.crc32(head) if self.header_crc is None else self.header_crc
            head += struct.pack("<H", crc & 0xFFFF)
        return head

    def encode(self) -> bytes:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        size = len(self.data) if self.size is None else self.size
        made = bytearray(self.head() + deflated(self.data, self.level))
        made += struct.pack("<II", crc & 0xFFFFFFFF, size & 0xFFFFFFFF)
        for edit in self.edits:
            edit(made)
        made = made[: len(made) - self.cut]
        return self.before + bytes(made) + self.after


def valid(rng: Random, inner: bytes | None = None) -> Gzip:
    """Return what gzip, Python, Go, Rust or a browser write."""
    made = Gzip(content(rng) if inner is None else inner, level=rng.choice((1, 6, 9)))
    made.mtime = rng.choice((0, 1_700_000_000))
    made.system = rng.choice((3, 255, 0, 11))
    made.xfl = rng.choice((0, 2, 4))
    if rng.random() < 0.3:
        made.flags, made.name = FNAME, b"game.tar"
    return made


def reserved_flags(rng: Random, made: Gzip) -> None:
    """Flags that mean nothing, or encryption to old programs."""
    made.flags |= rng.choice((0x20, 0x40, 0x80, 0xE0))


def other_method(rng: Random, made: Gzip) -> None:
    """Another method than deflate's."""
    made.method = rng.choice((0, 1, 7, 9, 8 | 0x80, 255))


def other_magic(rng: Random, made: Gzip) -> None:
    """The magic of an older gzip, or of none."""
    made.magic = rng.choice((b"\x1f\x9e", b"\x1f\xa1", b"\x1f\x9d", b"\x1f\x1e", b"\x1f\xa0"))


def more_streams(rng: Random, made: Gzip) -> None:
    """A second stream, whole or with half of the data, with or without something between."""
    between = rng.choice((b"", b"", b"", bytes(1), bytes(512), b"\n", rng.randbytes(20)))
    if rng.random() < 0.5:
        at = rng.randrange(len(made.data) + 1)
        if rng.random() < 0.5:
            at -= at % 512
        second = made.data[at:]
        made.data = made.data[:at]
    else:
        second = rng.choice((hidden(rng) + bytes(1024), content(rng)))
    made.after += between + valid(rng, second).encode()


def header_crc(rng: Random, made: Gzip) -> None:
    """A checksum of the header, right or wrong."""
    made.flags |= FHCRC
    if rng.random() < 0.6:
        made.header_crc = rng.choice((0, 0xFFFF, rng.getrandbits(16)))


def extra_field(rng: Random, made: Gzip) -> None:
    """An extra field, whose length is right or not."""
    made.flags |= FEXTRA
    made.extra = rng.choice((b"BC\2\0\1\0", b"", b"XX\xff\xff", rng.randbytes(600)))
    if rng.random() < 0.4:
        made.extra_length = max(0, len(made.extra) + rng.choice((1, -1, 10, 1000)))


def odd_names(rng: Random, made: Gzip) -> None:
    """Names and comments that are long, or look like something else."""
    made.flags |= rng.choice((FNAME, FCOMMENT, FNAME | FCOMMENT, FTEXT))
    text = rng.choice(
        (b"", b"n" * 5000, b"a" * 247 + b"ustar", b"a" * 502 + b"EFI PART", b"\xff/../x")
    )
    made.name, made.comment = text, rng.choice((b"", b"c" * 600))


def trailing(rng: Random, made: Gzip) -> None:
    """Bytes behind the stream."""
    made.after += rng.choice(
        (b"\0", bytes(512), bytes(10_000), b"\x1f", b"\x1f\x8b", rng.randbytes(30), hidden(rng))
    )


def wrong_sums(rng: Random, made: Gzip) -> None:
    """A checksum or size that is not that of the data, or not all of it."""
    choice = rng.randrange(3)
    if choice == 0:
        made.crc = rng.getrandbits(32)
    elif choice == 1:
        made.size = rng.choice((0, len(made.data) + 1, 1 << 31))
    else:
        made.cut = rng.randrange(1, 12)


def in_front(rng: Random, made: Gzip) -> None:
    """Something in front of the stream: bytes, zeros, an empty stream."""
    made.before = rng.choice((b"\0", bytes(512), b"\n", Gzip(b"").encode(), rng.randbytes(40)))


def stored(rng: Random, made: Gzip) -> None:
    """Blocks that are not compressed."""
    made.level = 0


def flipped(rng: Random, made: Gzip) -> None:
    """A byte changed: of the header, of the data, or of the sums."""

    def edit(data: bytearray) -> None:
        at = rng.choice((rng.randrange(12), rng.randrange(len(data)), len(data) - 1))
        data[at] ^= 1 << rng.randrange(8)

    made.edits.append(edit)
