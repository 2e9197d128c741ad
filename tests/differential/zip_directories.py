"""Directories and ends of a zip that are told wrongly, and what they omit."""

from __future__ import annotations

import struct
from random import Random

from differential.content import content, name
from differential.zip_parts import hidden, insert, some, wrong
from differential.zips import (
    DEFLATED,
    MASKED,
    STORED,
    Descriptor,
    Zip,
    ZipEntry,
    entry,
)


def directory_in_front(rng: Random, made: Zip) -> None:
    """A directory in front of the entries."""
    made.in_front = True
    if rng.random() < 0.5:
        insert(rng, made, hidden(rng))


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
        target = some(rng, made)
        target.central["packed"] = len(target.packed) + rng.choice((40, 200, 3000))
        if rng.random() < 0.5:
            target.method = STORED
            target.central["size"] = target.central["packed"]
            target.local |= {"packed": target.central["packed"], "size": target.central["packed"]}
    else:
        copy = rng.choice(made.entries)
        other = some(rng, made)
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
        made.end |= dict.fromkeys(("entries", "entries here"), wrong(rng, count) & 0xFFFF)
    elif key.startswith("entries"):
        made.end[key] = wrong(rng, count)
    else:
        made.end[key] = wrong(rng, rng.choice((100, 46, len(made.encode()))))


def offsets(rng: Random, made: Zip) -> None:
    """A record that points to another place than its entry's."""
    made.encode()
    target, other = some(rng, made), some(rng, made)
    target.central["offset"] = rng.choice((other.offset, target.offset + 1, 0, MASKED))


def in_front(rng: Random, made: Zip) -> None:
    """A prefix, with or without offsets that count it."""
    made.prefix += rng.choice(
        (b"\0", rng.randbytes(300), b"GIF89a" + bytes(40), b"MZ" + bytes(600))
    )
    made.adjusted = rng.random() < 0.5


def cut(rng: Random, made: Zip) -> None:
    """The end cut off."""
    count = rng.choice((1, 10, 22, 30, 100, 300))

    def edit(data: bytearray) -> None:
        del data[max(4, len(data) - count) :]

    made.edits.append(edit)


def unlisted(rng: Random, made: Zip) -> None:
    """An entry that the directory omits."""
    insert(rng, made, hidden(rng))


def unlisted_zip64(rng: Random, made: Zip) -> None:
    """An entry that the directory omits, with zip64 sizes."""
    omitted = hidden(rng)
    omitted.zip64 = True
    if rng.random() < 0.3:
        omitted.local_extra = struct.pack("<HHQQ", 1, 16, len(omitted.content), len(omitted.packed))
    insert(rng, made, omitted)


def unlisted_descriptor(rng: Random, made: Zip) -> None:
    """An entry that the directory omits, with a descriptor."""
    omitted = hidden(rng)
    omitted.descriptor = rng.choice((Descriptor.USUAL, Descriptor.UNSIGNED, Descriptor.ZIP64))
    omitted.zip64 = rng.random() < 0.3
    insert(rng, made, omitted)


def gaps(rng: Random, made: Zip) -> None:
    """Bytes between entries, or in front of the directory or the end."""
    junk = rng.choice((b"\0", bytes(100), rng.randbytes(50), b"PK\3\4", hidden(rng).encode_local()))
    choice = rng.randrange(3)
    if choice == 0:
        some(rng, made).before = junk
    elif choice == 1:
        made.before_directory += junk
    else:
        made.before_end = junk
