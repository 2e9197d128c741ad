"""Entries of a zip that are told wrongly."""

from __future__ import annotations

import struct
import zlib
from random import Random

from differential.content import content, name
from differential.gzips import deflated
from differential.zip_parts import hidden, some, wrong
from differential.zips import (
    BY_DESCRIPTOR,
    CENTRAL,
    DEFLATED,
    END,
    END64,
    LOCAL,
    MASKED,
    STORED,
    Descriptor,
    Zip,
)


def sizes(rng: Random, made: Zip) -> None:
    """Sizes that lie, up or down, in one header or both."""
    target = some(rng, made)
    key = rng.choice(("packed", "size", "packed", "size", "both"))
    keys = ("packed", "size") if key == "both" else (key,)
    value = wrong(rng, len(target.packed if keys[0] == "packed" else target.content))
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header.update(dict.fromkeys(keys, value))


def larger_inside(rng: Random, made: Zip) -> None:
    """Data that go on behind the size that both headers tell."""
    target = some(rng, made)
    whole = target.content + rng.randbytes(rng.choice((1, 100, 2000)))
    if rng.random() < 0.5:
        target.method, target.data = DEFLATED, deflated(whole)
    else:
        target.method, target.data = STORED, whole
        short = {"packed": len(target.content)}
        for header in rng.choice(((target.central,), (target.local,))):
            header.update(short)
    if rng.random() < 0.5:
        target.local["crc"] = target.central["crc"] = zlib.crc32(whole)


def trailing_data(rng: Random, made: Zip) -> None:
    """Deflate that ends before the data do: more deflate, or entries, or junk behind it."""
    target = some(rng, made)
    more = rng.choice((deflated(content(rng)), content(rng), hidden(rng).encode_local()))
    target.method, target.data = DEFLATED, deflated(target.content) + more


def crc(rng: Random, made: Zip) -> None:
    """A checksum that is not that of the content."""
    target = some(rng, made)
    value = rng.getrandbits(32)
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header["crc"] = value


def methods(rng: Random, made: Zip) -> None:
    """A method that only one header tells, or that nobody knows."""
    target = some(rng, made)
    method = rng.choice((0, 8, 8, 0, 1, 6, 9, 12, 14, 93, 95, 99, 0xFFFF))
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header["method"] = method


def descriptors(rng: Random, made: Zip) -> None:
    """Descriptors that are missing, false, of another form, or within the data."""
    target = some(rng, made)
    choice = rng.randrange(6)
    if choice == 0:
        target.flags |= BY_DESCRIPTOR
        target.descriptor = Descriptor.NONE
        if rng.random() < 0.5:
            target.local |= {"crc": 0, "packed": 0, "size": 0}
    elif choice == 1:
        target.descriptor = rng.choice((Descriptor.UNSIGNED, Descriptor.ZIP64))
    elif choice == 2:
        target.descriptor = Descriptor.USUAL
        target.local["flags"] = 0
        if rng.random() < 0.5:
            target.local |= {"packed": len(target.packed), "size": len(target.content)}
    elif choice == 3:
        first, last = content(rng), content(rng)
        false = b"PK\7\x08" + struct.pack("<III", zlib.crc32(first), len(first), len(first))
        middle = false + (hidden(rng).encode_local() if rng.random() < 0.5 else b"")
        target.method, target.data, target.content = STORED, None, first + middle + last
        target.descriptor = Descriptor.USUAL
    elif choice == 4:
        target.descriptor = Descriptor.USUAL
        sums = rng.getrandbits(32), wrong(rng, len(target.packed)), len(target.content)
        target.after_data = b"PK\7\x08" + struct.pack("<III", *sums)
    else:
        target.method, target.descriptor = STORED, Descriptor.USUAL


def names(rng: Random, made: Zip) -> None:
    """Two names for one entry, or odd ones."""
    target = some(rng, made)
    target.local_name = rng.choice((name(rng), b"", name(rng) + b"/", b"a\0b"))
    if rng.random() < 0.5:
        target.name = rng.choice((b"", name(rng) + b"/", b"a\0b", b"\xff\xfe", b"a\\b"))


def folders(rng: Random, made: Zip) -> None:
    """A folder with content, by its name or its attributes."""
    target = some(rng, made)
    if rng.random() < 0.6:
        target.name += b"/"
        if rng.random() < 0.3:
            target.central["external"] = 0o100644 << 16
    else:
        target.central["external"] = rng.choice((0o40755 << 16 | 0x10, 0x10, 0o120777 << 16))


def extras(rng: Random, made: Zip) -> None:
    """Extra fields that lie about sizes, are cut, doubled, or give another name."""
    target = some(rng, made)
    size, packed = len(target.content), len(target.packed)
    called = name(rng)
    unicode = struct.pack("<BI", 1, zlib.crc32(target.name)) + called
    extra = rng.choice(
        (
            struct.pack("<HHQQ", 1, 16, wrong(rng, size), wrong(rng, packed)),
            struct.pack("<HHQQ", 1, 16, size, packed) * 2,
            struct.pack("<HHI", 1, 4, 0),
            struct.pack("<HH", 1, 0),
            struct.pack("<HH", 1, 100),
            struct.pack("<HH", 0xCAFE, 0),
            b"\1",
            struct.pack("<HH", 0x7075, len(unicode)) + unicode,
            struct.pack("<HHHBBH", 0x9901, 7, 2, 0x41, 0x45, 3) + b"\x08\0"[:1],
            bytes(rng.randrange(1, 60)),
        )
    )
    choice = rng.randrange(3)
    if choice != 1:
        target.local_extra += extra
    if choice != 0:
        target.central_extra += extra
    if rng.random() < 0.4:
        masked = dict.fromkeys(rng.choice((("size",), ("packed",), ("size", "packed"))), MASKED)
        target.local |= masked
        if rng.random() < 0.5:
            target.central |= masked


def flags(rng: Random, made: Zip) -> None:
    """Flags of encryption, patches and masks, in one header or both."""
    target = some(rng, made)
    flag = rng.choice((1, 1 << 5, 1 << 6, 1 << 11, 1 << 13, 1 << 3, 0xFFFF))
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header["flags"] = flag


def any_field(rng: Random, made: Zip) -> None:
    """Any number in any field of any record."""
    target = some(rng, made)
    values, layout = rng.choice(
        (
            (target.local, LOCAL),
            (target.central, CENTRAL),
            (made.end, END),
            (made.end64, END64),
        )
    )
    key = rng.choice(tuple(layout))
    values[key] = rng.choice((0, 1, 0xFFFF, MASKED, rng.getrandbits(16), rng.getrandbits(4)))
    if values is made.end64:
        made.zip64 = True


def signatures(rng: Random, made: Zip) -> None:
    """A record without its signature, or another one at the beginning."""
    target = some(rng, made)
    choice = rng.randrange(4)
    if choice == 0:
        target.local["signature"] = rng.choice((0, 0x08074B50, 0x04034B51))
    elif choice == 1:
        target.central["signature"] = 0x05054B50
    elif choice == 2:
        made.prefix = b"PK\x30\x30PK00"[:4] + made.prefix
    else:
        made.before_directory += b"PK\6\x08" + struct.pack("<I", 4) + b"abcd"


def flipped(rng: Random, made: Zip) -> None:
    """Bytes changed anywhere."""
    count = rng.randrange(1, 4)

    def edit(data: bytearray) -> None:
        for _ in range(count):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)

    made.edits.append(edit)
