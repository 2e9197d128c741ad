"""What can be told wrongly in a zip, by family."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from random import Random

from differential.content import content, name
from differential.gzips import deflated
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
    ZipEntry,
    entry,
)

Mutation = Callable[[Random, Zip], None]


def _unlisted(rng: Random) -> ZipEntry:
    made = ZipEntry(name(rng), content(rng), rng.choice((STORED, DEFLATED)))
    made.listed = False
    return made


def _wrong(rng: Random, value: int) -> int:
    return max(
        0,
        rng.choice(
            (0, 1, value - 1, value + 1, value // 2, value * 2, value + 100, MASKED, MASKED - 1)
        ),
    )


def _some(rng: Random, made: Zip) -> ZipEntry:
    return rng.choice(made.entries)


def sizes(rng: Random, made: Zip) -> None:
    """Sizes that lie, up or down, in one header or both."""
    target = _some(rng, made)
    key = rng.choice(("packed", "size", "packed", "size", "both"))
    keys = ("packed", "size") if key == "both" else (key,)
    value = _wrong(rng, len(target.packed if keys[0] == "packed" else target.content))
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header.update(dict.fromkeys(keys, value))


def larger_inside(rng: Random, made: Zip) -> None:
    """Data that go on behind the size that both headers tell."""
    target = _some(rng, made)
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
    target = _some(rng, made)
    more = rng.choice((deflated(content(rng)), content(rng), _unlisted(rng).encode_local()))
    target.method, target.data = DEFLATED, deflated(target.content) + more


def crc(rng: Random, made: Zip) -> None:
    """A checksum that is not that of the content."""
    target = _some(rng, made)
    value = rng.getrandbits(32)
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header["crc"] = value


def methods(rng: Random, made: Zip) -> None:
    """A method that only one header tells, or that nobody knows."""
    target = _some(rng, made)
    method = rng.choice((0, 8, 8, 0, 1, 6, 9, 12, 14, 93, 95, 99, 0xFFFF))
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header["method"] = method


def unlisted(rng: Random, made: Zip) -> None:
    """An entry that the directory omits."""
    _insert(rng, made, _unlisted(rng))


def unlisted_zip64(rng: Random, made: Zip) -> None:
    """An entry that the directory omits, with zip64 sizes."""
    hidden = _unlisted(rng)
    hidden.zip64 = True
    if rng.random() < 0.3:
        hidden.local_extra = struct.pack("<HHQQ", 1, 16, len(hidden.content), len(hidden.packed))
    _insert(rng, made, hidden)


def unlisted_descriptor(rng: Random, made: Zip) -> None:
    """An entry that the directory omits, with a descriptor."""
    hidden = _unlisted(rng)
    hidden.descriptor = rng.choice((Descriptor.USUAL, Descriptor.UNSIGNED, Descriptor.ZIP64))
    hidden.zip64 = rng.random() < 0.3
    _insert(rng, made, hidden)


def _insert(rng: Random, made: Zip, hidden: ZipEntry) -> None:
    if rng.random() < 0.2:
        made.before_directory = hidden.encode_local()
    elif rng.random() < 0.2:
        hidden.before = rng.choice((b"x", bytes(30), rng.randbytes(100)))
        made.entries.insert(rng.randrange(len(made.entries) + 1), hidden)
    elif rng.random() < 0.2:
        made.prefix += hidden.encode_local()
    else:
        made.entries.insert(rng.randrange(len(made.entries) + 1), hidden)


def descriptors(rng: Random, made: Zip) -> None:
    """Descriptors that are missing, false, of another form, or within the data."""
    target = _some(rng, made)
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
        middle = false + (_unlisted(rng).encode_local() if rng.random() < 0.5 else b"")
        target.method, target.data, target.content = STORED, None, first + middle + last
        target.descriptor = Descriptor.USUAL
    elif choice == 4:
        target.descriptor = Descriptor.USUAL
        wrong = rng.getrandbits(32), _wrong(rng, len(target.packed)), len(target.content)
        target.after_data = b"PK\7\x08" + struct.pack("<III", *wrong)
    else:
        target.method, target.descriptor = STORED, Descriptor.USUAL


def directory_in_front(rng: Random, made: Zip) -> None:
    """A directory in front of the entries."""
    made.in_front = True
    if rng.random() < 0.5:
        _insert(rng, made, _unlisted(rng))


def two_directories(rng: Random, made: Zip) -> None:
    """A second directory, to which the zip64 record points."""
    made.other = [entry(rng) for _ in range(rng.randrange(1, 3))]
    made.zip64 = True
    if rng.random() < 0.4:
        made.end |= {"entries": 0xFFFF, "entries here": 0xFFFF}
    if rng.random() < 0.4:
        made.end["directory offset"] = MASKED
    if rng.random() < 0.2:
        made.before_end = rng.choice((b"x", bytes(20)))


def overlap(rng: Random, made: Zip) -> None:
    """Entries that overlap, or one within the data of another."""
    choice = rng.randrange(3)
    inner = ZipEntry(name(rng), content(rng), rng.choice((STORED, DEFLATED)))
    if choice == 0:  # within a stored one; listed by an offset of its own
        within = inner.encode_local()
        outer = ZipEntry(name(rng), b"lead" + within + b"tail", STORED)
        made.entries.insert(0, outer)
        if rng.random() < 0.6:
            ghost = ZipEntry(inner.name, inner.content, inner.method)
            made.before_directory += _ghost(made, ghost, 30 + len(outer.name) + 4)
    elif choice == 1:
        target = _some(rng, made)
        target.central["packed"] = len(target.packed) + rng.choice((40, 200, 3000))
        if rng.random() < 0.5:
            target.method = STORED
            target.central["size"] = target.central["packed"]
            target.local |= {"packed": target.central["packed"], "size": target.central["packed"]}
    else:
        copy = rng.choice(made.entries)
        other = _some(rng, made)
        copy.central["offset"] = other.offset or len(made.prefix)


def _ghost(made: Zip, ghost: ZipEntry, offset: int) -> bytes:
    """List an entry that stands somewhere else already."""
    base = len(made.prefix) if made.adjusted else 0
    record = ghost.encode_central(base + offset)
    made.end |= {
        "entries": sum(each.listed for each in made.entries) + 1,
        "entries here": sum(each.listed for each in made.entries) + 1,
    }

    def edit(data: bytearray) -> None:
        at = data.rfind(b"PK\5\6")
        if not 0 <= at <= len(data) - 20:
            return
        size, start = struct.unpack_from("<II", data, at + 12)
        moved = (size + len(record)) & MASKED, (start - len(record)) & MASKED
        struct.pack_into("<II", data, at + 12, *moved)

    made.edits.append(edit)
    return record


def two_ends(rng: Random, made: Zip) -> None:
    """Another end record: of another zip in front or behind, or in the comment."""
    other = Zip([entry(rng)]).encode()
    choice = rng.randrange(6)
    if choice == 0:
        made.tail = other
    elif choice == 1:
        made.prefix, made.adjusted = other + made.prefix, rng.random() < 0.5
    elif choice == 2:
        made.comment = other
    elif choice == 3:
        made.comment = b"PK\5\6" + bytes(18)
    elif choice == 4:
        moved = Zip([entry(rng)], prefix=b"p" * len(made.encode())).encode()
        made.tail = moved[len(made.encode()) :]
    else:
        made.comment = other
        made.end["comment length"] = rng.choice((0, len(other) - 22))


def trailing(rng: Random, made: Zip) -> None:
    """Bytes behind the end, or a comment whose length is wrong."""
    if rng.random() < 0.5:
        made.tail = rng.choice((b"\0", b"\n", bytes(1000), bytes(70_000), rng.randbytes(30)))
    else:
        made.comment = b"c" * rng.choice((0, 10, 1000))
        made.end["comment length"] = rng.choice((0, 1, 5, len(made.comment) + 1, 0xFFFF))


def counts(rng: Random, made: Zip) -> None:
    """Numbers of entries, sizes and offsets of the directory that are wrong."""
    count = sum(each.listed for each in made.entries)
    key = rng.choice(("entries", "entries here", "both", "directory size", "directory offset"))
    if key == "both":
        made.end |= dict.fromkeys(("entries", "entries here"), _wrong(rng, count) & 0xFFFF)
    elif key.startswith("entries"):
        made.end[key] = _wrong(rng, count)
    else:
        made.end[key] = _wrong(rng, rng.choice((100, 46, len(made.encode()))))


def offsets(rng: Random, made: Zip) -> None:
    """A record that points to another place than its entry's."""
    made.encode()
    target, other = _some(rng, made), _some(rng, made)
    target.central["offset"] = rng.choice((other.offset, target.offset + 1, 0, MASKED))


def names(rng: Random, made: Zip) -> None:
    """Two names for one entry, or odd ones."""
    target = _some(rng, made)
    target.local_name = rng.choice((name(rng), b"", name(rng) + b"/", b"a\0b"))
    if rng.random() < 0.5:
        target.name = rng.choice((b"", name(rng) + b"/", b"a\0b", b"\xff\xfe", b"a\\b"))


def folders(rng: Random, made: Zip) -> None:
    """A folder with content, by its name or its attributes."""
    target = _some(rng, made)
    if rng.random() < 0.6:
        target.name += b"/"
        if rng.random() < 0.3:
            target.central["external"] = 0o100644 << 16
    else:
        target.central["external"] = rng.choice((0o40755 << 16 | 0x10, 0x10, 0o120777 << 16))


def extras(rng: Random, made: Zip) -> None:
    """Extra fields that lie about sizes, are cut, doubled, or give another name."""
    target = _some(rng, made)
    size, packed = len(target.content), len(target.packed)
    called = name(rng)
    unicode = struct.pack("<BI", 1, zlib.crc32(target.name)) + called
    extra = rng.choice(
        (
            struct.pack("<HHQQ", 1, 16, _wrong(rng, size), _wrong(rng, packed)),
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
    target = _some(rng, made)
    flag = rng.choice((1, 1 << 5, 1 << 6, 1 << 11, 1 << 13, 1 << 3, 0xFFFF))
    for header in rng.choice(((target.local,), (target.central,), (target.local, target.central))):
        header["flags"] = flag


def any_field(rng: Random, made: Zip) -> None:
    """Any number in any field of any record."""
    target = _some(rng, made)
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
    target = _some(rng, made)
    choice = rng.randrange(4)
    if choice == 0:
        target.local["signature"] = rng.choice((0, 0x08074B50, 0x04034B51))
    elif choice == 1:
        target.central["signature"] = 0x05054B50
    elif choice == 2:
        made.prefix = b"PK\x30\x30PK00"[:4] + made.prefix
    else:
        made.before_directory += b"PK\6\x08" + struct.pack("<I", 4) + b"abcd"


def gaps(rng: Random, made: Zip) -> None:
    """Bytes between entries, or in front of the directory or the end."""
    junk = rng.choice(
        (b"\0", bytes(100), rng.randbytes(50), b"PK\3\4", _unlisted(rng).encode_local())
    )
    choice = rng.randrange(3)
    if choice == 0:
        _some(rng, made).before = junk
    elif choice == 1:
        made.before_directory += junk
    else:
        made.before_end = junk


def in_front(rng: Random, made: Zip) -> None:
    """A prefix, with or without offsets that count it."""
    made.prefix += rng.choice(
        (b"\0", rng.randbytes(300), b"GIF89a" + bytes(40), b"MZ" + bytes(600))
    )
    made.adjusted = rng.random() < 0.5


def flipped(rng: Random, made: Zip) -> None:
    """Bytes changed anywhere."""
    count = rng.randrange(1, 4)

    def edit(data: bytearray) -> None:
        for _ in range(count):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)

    made.edits.append(edit)


def cut(rng: Random, made: Zip) -> None:
    """The end cut off."""
    count = rng.choice((1, 10, 22, 30, 100, 300))

    def edit(data: bytearray) -> None:
        del data[max(4, len(data) - count) :]

    made.edits.append(edit)


MUTATIONS: dict[str, Mutation] = {
    "zip-" + re.sub("_", "-", mutation.__name__): mutation
    for mutation in (
        sizes,
        larger_inside,
        trailing_data,
        crc,
        methods,
        unlisted,
        unlisted_zip64,
        unlisted_descriptor,
        descriptors,
        directory_in_front,
        two_directories,
        overlap,
        two_ends,
        trailing,
        counts,
        offsets,
        names,
        folders,
        extras,
        flags,
        any_field,
        signatures,
        gaps,
        in_front,
        flipped,
        cut,
    )
}
