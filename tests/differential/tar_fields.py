"""Fields of a tar's headers that are told wrongly, and blocks around them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from differential.tar_parts import (
    hidden,
    some,
)
from differential.tars import (
    BLOCK,
    FIELDS,
    Tar,
    base256,
    padded,
    right,
    signed,
    unsigned,
)

MAGICS = (
    b"GIF89a",
    b"%PDF-1.4",
    b"MSCF\0\0\0\0",
    b"MZ\x90\0",
    b"\x7fELF\2\1\1",
    b"Rar!\x1a\7\0",
    b"Rar!\x1a\7\1\0",
    b"PK\3\4\x14\0",
    b"PK\5\6",
    b"7z\xbc\xaf\x27\x1c",
    b"BM6\0",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"RIFF",
    b"ID3\3",
    b"OggS",
    b"!<arch>\n",
    b"<html>",
    b"<?xml",
    b"From: a@b\n",
    b"{\\rtf1",
    b"\x1f\x8b\x08\x00",
    b"BZh91AY&SY",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"#!/bin/sh",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"070701",
    b"\x5d\0\0\x80\0",
    b"hsqs",
    b"CWS\x05",
    b"ITSF",
    b"\xed\xab\xee\xdb",
    b"\xca\xfe\xba\xbe",
    b"TNEF\x78\x9f\x3e\x22",
    b"begin 644 a\n",
    b"\x1f\x9d\x90",
    b"070707",
    b"MSWIM\0\0\0",
    b"GDPC\2\0\0\0",
    b"RPA-3.0 0000",
    b"xar!\0\x1c\0\1",
)


CHECKSUMS: tuple[Callable[[bytes], bytes], ...] = (
    lambda head: b"%06o\0 " % signed(head),
    lambda head: b"%06o \0" % unsigned(head),
    lambda head: b"%07o\0" % unsigned(head),
    lambda head: b"%08o" % unsigned(head),
    lambda head: b"%6o\0 " % unsigned(head),
    lambda head: b"%7o " % unsigned(head),
    lambda head: b"%o\0" % unsigned(head),
    lambda head: b" %o " % unsigned(head),
    lambda head: b"\0%06o\0" % unsigned(head),
    lambda head: b"%06o\0x" % unsigned(head),
    lambda head: b"%06ox " % unsigned(head),
    lambda head: base256(unsigned(head), 8),
    lambda head: b" " * 8,
    lambda head: bytes(8),
    lambda head: b"000000\0 ",
    lambda head: b"%06o\0 " % (unsigned(head) + 1),
    lambda head: b"%06o\0 " % (unsigned(head) | 1 << 17),
    lambda head: b"%08o" % (unsigned(head) | 1 << 21),
    lambda head: b"+%06o\0" % unsigned(head),
    lambda head: b"%06X\0 " % unsigned(head),
    lambda head: b"%d\0" % unsigned(head),
)


def checksum(rng: Random, tar: Tar) -> None:
    """A checksum that only some accept."""
    target = some(rng, tar)
    target.checksum = rng.choice(CHECKSUMS)
    if rng.random() < 0.6:
        target["uname" if tar.dialect != "v7" else "link"] = b"\xe9\xff\x80" + rng.randbytes(4)


def _odd(rng: Random, value: int, width: int) -> bytes:
    """Return a number in one of the ways that some readers read in another way, or not."""
    digits = b"%o" % value
    fits = digits[-width:]
    return rng.choice(
        (
            base256(value, width),
            digits.rjust(width)[:width],
            digits.rjust(width, b"0")[-width:],
            (digits + b" ").rjust(width)[-width:],
            (b" " + digits + b"\0").ljust(width, b"\0")[:width],
            (b"\0" + digits).ljust(width, b"\0")[:width],
            (digits + b"\0").ljust(width, b"7")[:width],
            (digits + b" ").ljust(width, b"7")[:width],
            (digits + b"8").ljust(width, b"\0")[:width],
            (digits + b"x").ljust(width, b"\0")[:width],
            (b"\t" + digits).ljust(width, b"\0")[:width],
            (b"+" + digits).ljust(width, b"\0")[:width],
            (b"-" + digits).ljust(width, b"\0")[:width],
            (b"0x%x" % value).ljust(width, b"\0")[:width],
            (b"0o" + fits).ljust(width, b"\0")[:width],
            (b"%d" % value).ljust(width, b"\0")[:width],
            (digits[:1] + b"_" + digits[1:]).ljust(width, b"\0")[:width],
            base256(-value - 1, width),
            base256(value | 1 << (8 * width - 9), width),
            base256((1 << 63) | value, width),
            bytes(width),
            b" " * width,
            b"7" * width,
            bytes((0x80 | 0x40,)) + base256(value, width)[1:],
            b"\xff" * width,
        )
    )


def odd_size(rng: Random, tar: Tar) -> None:
    """A size in an odd notation."""
    target = some(rng, tar)
    size = len(target.data)
    if rng.random() < 0.3:
        target.data = padded(target.data) + hidden(rng)
    target["size"] = _odd(rng, size, 12)


def odd_number(rng: Random, tar: Tar) -> None:
    """Another number in an odd notation."""
    target = some(rng, tar)
    key = rng.choice(("mode", "uid", "gid", "mtime", "major", "minor"))
    value = 0 if key in ("major", "minor") else 0o644
    target[key] = _odd(rng, value, FIELDS[key][1])


def blocks_in_front(rng: Random, tar: Tar) -> None:
    """Zero blocks or junk in front of a header, mostly the first."""
    target = some(rng, tar)
    count = rng.choice((1, 1, 1, 2, 3, 20))
    zeros = bytes(BLOCK * count)
    junk = rng.randbytes(BLOCK * count)
    text = (b"text " * 600)[: BLOCK * count]
    target.before = rng.choice((zeros, zeros, junk, text, zeros[:-1], junk[:100], b"\n"))


def magic_name(rng: Random, tar: Tar) -> None:
    """A name that begins like another format."""
    target = some(rng, tar)
    target["name"] = rng.choice(MAGICS) + target["name"].rstrip(b"\0")


def odd_name(rng: Random, tar: Tar) -> None:
    """Names that are empty, long, or not text."""
    target = some(rng, tar)
    target["name"] = rng.choice(
        (
            b"",
            b"n" * 100,
            b"\0hidden",
            b"a\0b",
            b"\xff\xfe\xfd",
            b".",
            b"./",
            b"a//b",
            b" ",
            b"a/./b",
        )
    )
    if rng.random() < 0.3 and tar.dialect != "v7":
        target["prefix"] = rng.choice((b"p" * 155, b"p/", b"\xff", b"\0q"))


def ustar_magic(rng: Random, tar: Tar) -> None:
    """Another magic, with which some fields mean something else."""
    target = some(rng, tar)
    target["magic"] = rng.choice(
        (
            bytes(8),
            b"ustar\x0000",
            b"ustar  \0",
            b"ustar\0\0\0",
            b"ustar 00",
            b"ustar\x0001",
            b"ustar\x0099",
            b"USTAR\x0000",
            b"ustarXXX",
            b"\0ustar00",
            b"xxxxxxxx",
        )
    )
    if rng.random() < 0.5:
        target["prefix"] = rng.choice((b"a/prefix", b"\xff" * 155, b"0" * 130 + b"\0tar\0"))
    if rng.random() < 0.2:
        target.head[508:512] = b"tar\0"
    if rng.random() < 0.2:
        target["extended"] = b"\1"


def any_field(rng: Random, tar: Tar) -> None:
    """Any bytes in any field."""
    target = some(rng, tar)
    key = rng.choice(tuple(FIELDS))
    size = FIELDS[key][1]
    target[key] = rng.choice((rng.randbytes(size), bytes(size), b" " * size, b"0" * size))


def end(rng: Random, tar: Tar) -> None:
    """No end, a short one, or more behind it."""
    tar.tail = rng.choice(
        (
            b"",
            bytes(BLOCK),
            bytes(BLOCK) + hidden(rng) + bytes(2 * BLOCK),
            bytes(2 * BLOCK) + hidden(rng) + bytes(2 * BLOCK),
            bytes(2 * BLOCK) + rng.randbytes(700),
            hidden(rng)[: BLOCK * 2 - 100],
            bytes(100),
            bytes(2 * BLOCK) + b"x",
            rng.randbytes(BLOCK) + hidden(rng) + bytes(2 * BLOCK),
        )
    )


def bytes_flipped(rng: Random, tar: Tar) -> None:
    """Bytes of headers changed, the checksum right again or not."""
    target = some(rng, tar)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(BLOCK)
        target.head[at] = rng.choice((0, 0x20, 0x30, 0x37, 0x80, 0xFF, rng.randrange(256)))
    if rng.random() < 0.2:
        fixed = right(bytes(target.head))
        target.checksum = lambda _: fixed
        at = rng.randrange(BLOCK)
        target.head[at] ^= 1 << rng.randrange(8)


def cut(rng: Random, tar: Tar) -> None:
    """The end cut off."""
    count = rng.choice((1, 512, 700, 1024, 1500, 3000))

    def edit(data: bytearray) -> None:
        tail = len(tar.tail)
        del data[max(BLOCK, len(data) - tail - count) :]

    tar.edits.append(edit)
