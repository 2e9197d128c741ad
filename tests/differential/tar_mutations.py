"""What can be told wrongly in a tar, by family."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from differential.content import content, name
from differential.tars import (
    BLOCK,
    DIALECTS,
    FIELDS,
    SPARSE,
    Entry,
    Tar,
    base256,
    entry,
    file,
    long_name,
    octal,
    padded,
    pax,
    record,
    records,
    right,
    signed,
    sparse,
    sparse_map,
    unsigned,
)

Mutation = Callable[[Random, Tar], None]

TYPELESS = (b"1", b"2", b"3", b"4", b"5", b"6")
ODD_TYPES = (*(b"%c" % c for c in b"7ADEIKLMNSVXZaxgz \x80\xff/8"), b"\0")
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


def hidden(rng: Random) -> bytes:
    """Return whole entries, to be put where only some readers look."""
    dialect = rng.choice(DIALECTS)
    made = b"".join(each.encode() for each in file(rng, dialect))
    if rng.random() < 0.3:
        made += b"".join(each.encode() for each in file(rng, dialect))
    return made


def raw(data: bytes) -> Entry:
    """Return whole entries as one."""
    return Entry(bytearray(data[:BLOCK]), data[BLOCK:])


def decoy(rng: Random, size: int) -> bytes:
    """Return a header whose content is what follows, and a block of junk behind it."""
    head = entry(rng.choice(DIALECTS), name(rng), size=size)
    return head.encode()[:BLOCK] + rng.randbytes(BLOCK)


def spot(rng: Random, tar: Tar) -> int:
    """Return where to put another entry: often first."""
    return 0 if rng.random() < 0.3 else rng.randrange(len(tar.entries) + 1)


def put(rng: Random, tar: Tar, *made: Entry) -> None:
    at = spot(rng, tar)
    tar.entries[at:at] = made


def some(rng: Random, tar: Tar) -> Entry:
    """Return an entry: often the first."""
    return tar.entries[0] if rng.random() < 0.6 else rng.choice(tar.entries)


def regular(rng: Random, tar: Tar) -> int:
    """Return the place of an entry with data."""
    places = [
        at for at, each in enumerate(tar.entries) if each.data and each["kind"] in (b"0", b"\0")
    ]
    if not places:
        tar.entries += file(rng, tar.dialect)
        places = [len(tar.entries) - 1]
    return rng.choice(places)


def content_behind_types_without(rng: Random, tar: Tar) -> None:
    """A folder, link or device with a size, and entries or nothing behind it."""
    kind = rng.choice(TYPELESS if rng.random() < 0.7 else ODD_TYPES)
    called = name(rng) + (b"/" if kind == b"5" or rng.random() < 0.2 else b"")
    at = spot(rng, tar)
    how = rng.randrange(3)
    following = b"".join(each.encode() for each in tar.entries[at : at + rng.choice((1, 1, 2))])
    if how == 0:
        made = entry(tar.dialect, called, hidden(rng), kind=kind, link=b"x")
    elif how == 1:
        if not following:
            following = hidden(rng)
            tar.entries.append(raw(following))
        made = entry(tar.dialect, called, decoy(rng, BLOCK + len(following)), kind=kind, link=b"x")
    else:
        made = entry(tar.dialect, called, kind=kind, link=b"x", size=len(following) or 512)
    tar.entries.insert(at, made)


def folder_by_name(rng: Random, tar: Tar) -> None:
    """A plain file whose name ends like a folder's: some take it for one without content."""
    kind = rng.choice((b"\0", b"0", b"7"))
    made = entry(tar.dialect, name(rng) + b"/", hidden(rng), kind=kind)
    if rng.random() < 0.3:
        made = entry(tar.dialect, name(rng) + b"/", content(rng), kind=kind)
    put(rng, tar, made)


def retype(rng: Random, tar: Tar) -> None:
    """Any type for any entry."""
    some(rng, tar)["kind"] = rng.choice((*ODD_TYPES, *TYPELESS))


def _wrong_size(rng: Random, size: int) -> int:
    return max(
        0,
        rng.choice(
            (0, 1, size + 1, size - 1, size + 512, size - 512, size + 1024, 512, size * 2, 1 << 40)
        ),
    )


def x_for_pax(rng: Random, tar: Tar) -> None:
    """Solaris' type X, which some take for pax and others for a file."""
    at = regular(rng, tar)
    size = len(tar.entries[at].data)
    pairs = rng.choice(
        (
            [(b"size", b"%d" % _wrong_size(rng, size))],
            [(b"path", name(rng)), (b"size", b"%d" % (size + 512))],
            [(b"path", name(rng))],
            [(b"GNU.sparse.size", b"%d" % (size + 512)), (b"GNU.sparse.map", b"0,%d" % size)],
        )
    )
    if rng.random() < 0.3:
        made = entry(tar.dialect, name(rng), hidden(rng), kind=b"X")
    else:
        made = pax(pairs, b"X")
    tar.entries.insert(at, made)
    if rng.random() < 0.5:
        tar.entries.insert(at + 2, raw(hidden(rng)))


def _sized(rng: Random, tar: Tar, *, above: bool) -> None:
    """Give an entry a pax size that its header does not have."""
    at = regular(rng, tar)
    target = tar.entries[at]
    size = len(target.data)
    extra = hidden(rng)
    if above:
        if rng.random() < 0.5:  # the larger size is true
            target["size"] = octal(rng.choice((0, 1, size // 2, size // 512 * 512)), 12)
            claimed = size
        else:
            claimed = size + rng.choice(
                (1, 512, 1024, len(padded(target.data)) - size + len(extra))
            )
            target.data = padded(target.data) + extra
    else:
        claimed = rng.choice((0, 1, size // 2, max(0, size - 512)))
        if rng.random() < 0.6:
            target.data = padded(target.data) + extra
            target["size"] = octal(len(target.data), 12)
            claimed = rng.choice((size, claimed))
    kind = b"g" if rng.random() < 0.25 else b"x"
    tar.entries.insert(at, pax([(b"size", b"%d" % claimed)], kind))


def pax_size_above(rng: Random, tar: Tar) -> None:
    """A pax size above the header's."""
    _sized(rng, tar, above=True)


def pax_size_below(rng: Random, tar: Tar) -> None:
    """A pax size below the header's."""
    _sized(rng, tar, above=False)


def pax_records(rng: Random, tar: Tar) -> None:
    """Records that are malformed, doubled, or of odd numbers."""
    at = regular(rng, tar)
    size = len(tar.entries[at].data)
    good = record(b"size", b"%d" % size)
    wrong = b"%d" % _wrong_size(rng, size)
    data = rng.choice(
        (
            good + record(b"size", wrong),
            record(b"size", wrong) + good,
            record(b"size", b" %d" % (size + 512)),
            record(b"size", b"+%d" % (size + 512)),
            record(b"size", b"0x%x" % (size + 512)),
            record(b"size", b"-1"),
            record(b"size", b""),
            record(b"size", b"%d.0" % (size + 512)),
            record(b"size", b"%d\0" % (size + 512)),
            record(b"size", wrong)[:-1] + b" ",
            b"0" + record(b"size", wrong),
            b" " + record(b"size", wrong),
            b"99 size=" + wrong + b"\n",
            b"5 size=" + wrong + b"\n",
            record(b"comment", b"a\n" + record(b"size", wrong)),
            b"30 comment=x\n" + record(b"size", wrong),
            record(b"comment", b"x") + b"\0" + record(b"size", wrong),
            record(b"path", b""),
            record(b"path", b"a\0b"),
            record(b"hdrcharset", b"BINARY") + record(b"path", b"\xff\xfe"),
            record(b"SCHILY.realsize", wrong),
            record(b"GNU.sparse.realsize", wrong),
            record(b"GNU.sparse.size", wrong),
            record(b"GNU.volume.size", wrong),
            record(b"SCHILY.filetype", b"dir"),
            record(b"LIBARCHIVE.symlinktype", b"dir"),
            record(b"linkpath", b"x"),
        )
    )
    kind = rng.choice((b"x", b"x", b"x", b"g"))
    made = entry("pax", b"PaxHeaders/1", data, kind=kind)
    if rng.random() < 0.15:
        made["size"] = octal(_wrong_size(rng, len(data)), 12)
    if rng.random() < 0.3:
        tar.entries[at].data = padded(tar.entries[at].data) + hidden(rng)
    tar.entries.insert(at, made)


def sparse_sizes(rng: Random, tar: Tar) -> None:
    """A sparse file whose size does not agree with its data."""
    how = rng.choice(SPARSE)
    pieces, size = sparse_map(rng)
    made = sparse(how, name(rng), pieces, size)
    main = made[-1]
    packed = len(main.data)
    choice = rng.randrange(4)
    if choice == 0:
        main["size"] = octal(_wrong_size(rng, packed), 12)
    elif choice == 1 and how == "gnu":
        main["realsize"] = octal(_wrong_size(rng, size), 12)
    elif choice == 1:
        wrong = b"%d" % _wrong_size(rng, size)
        key = rng.choice((b"size", b"GNU.sparse.size", b"GNU.sparse.realsize"))
        made[0] = entry("pax", b"x", made[0].data + record(key, wrong), kind=b"x")
    elif choice == 2:
        main.data = padded(main.data) + hidden(rng)
    else:
        main.data = padded(main.data) + hidden(rng)
        main["size"] = octal(len(main.data), 12)
    put(rng, tar, *made)


def sparse_pieces(rng: Random, tar: Tar) -> None:
    """A sparse map whose pieces overlap, go beyond the end, back, or are not there."""
    how = rng.choice(SPARSE)
    pieces, size = sparse_map(rng)
    table = [(at, len(data)) for at, data in pieces]
    packed = b"".join(data for _, data in pieces)
    choice = rng.randrange(8)
    if choice == 0:
        table.reverse()
    elif choice == 1:
        table = [(0, length) for _, length in table]
    elif choice == 2:
        table.append((size + 1024, 512))
    elif choice == 3:
        table = [(at, length + rng.choice((1, 512, 4096))) for at, length in table]
    elif choice == 4:
        table = [(at, max(0, length - rng.choice((1, 512)))) for at, length in table]
    elif choice == 5:
        table = table[: len(table) // 2]
    elif choice == 6:
        table.append((rng.choice((1 << 40, (1 << 63) - 1, 1 << 64)), 512))
    else:
        table = [(at + 1, length) for at, length in table]
    if rng.random() < 0.3:
        packed += hidden(rng)
    put(rng, tar, *_mapped(rng, how, name(rng), table=table, packed=packed, size=size))


def _mapped(
    rng: Random,
    how: str,
    called: bytes,
    *,
    table: list[tuple[int, int]],
    packed: bytes,
    size: int,
) -> list[Entry]:
    """Return a sparse file of any map."""
    numbers = [number for piece in table for number in piece]
    if how == "gnu":
        made = entry("gnu", called, packed, kind=b"S")
        described = [octal(at, 12) + octal(length, 12) for at, length in table]
        made["sparse"] = b"".join(described[:4])
        made["realsize"] = octal(size, 12)
        if len(described) > 4 or rng.random() < 0.2:
            made["extended"] = b"\1"
            block = b"".join(described[4:25]).ljust(504, b"\0")
            made.data = block.ljust(BLOCK, b"\0") + packed
            if rng.random() < 0.3:
                made["size"] = octal(len(made.data), 12)
        return [made]
    if how == "1.0":
        count = rng.choice((len(table), len(table), len(table) + 1, max(0, len(table) - 1)))
        text = b"%d\n" % count + b"".join(b"%d\n" % number for number in numbers)
        if rng.random() < 0.2:
            text = text.replace(b"\n", rng.choice((b"\r\n", b" ", b"\n\n")))
        data = (padded(text) if rng.random() < 0.8 else text) + packed
        head = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]
        tell = rng.choice((b"GNU.sparse.realsize", b"GNU.sparse.size"))
        return [
            pax([*head, (b"GNU.sparse.name", called), (tell, b"%d" % size)]),
            entry("pax", b"GNUSparseFile.0/s", data),
        ]
    if how == "0.1":
        pairs = [
            (b"GNU.sparse.map", b",".join(b"%d" % number for number in numbers)),
            (b"GNU.sparse.size", b"%d" % size),
            (b"GNU.sparse.numblocks", b"%d" % len(table)),
        ]
        return [pax(rng.sample(pairs, rng.choice((3, 3, 2)))), entry("pax", called, packed)]
    pairs = [
        (b"GNU.sparse.size", b"%d" % size),
        (b"GNU.sparse.numblocks", b"%d" % (len(table) + rng.choice((0, 0, 1)))),
    ]
    for at, length in table:
        pairs += [
            (b"GNU.sparse.offset", b"%d" % at),
            (b"GNU.sparse.numbytes", b"%d" % length),
        ]
    return [pax(pairs), entry("pax", called, packed)]


def sparse_version(rng: Random, tar: Tar) -> None:
    """Sparse records of two versions, or of one that nobody knows."""
    at = regular(rng, tar)
    target = tar.entries[at]
    size = len(target.data)
    pairs = rng.choice(
        (
            [(b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")],
            [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"1")],
            [(b"GNU.sparse.major", b"1")],
            [(b"GNU.sparse.minor", b"0")],
            [(b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", b"1")],
            [(b"GNU.sparse.realsize", b"%d" % (size // 2))],
            [(b"GNU.sparse.size", b"%d" % (size // 2))],
            [(b"GNU.sparse.map", b"0,16")],
            [(b"GNU.sparse.name", name(rng))],
            [(b"SUN.holesdata", b" 0 %d" % (size // 2))],
            [
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.map", b"0,%d" % size),
                (b"GNU.sparse.size", b"%d" % size),
            ],
        )
    )
    if rng.random() < 0.5 and any(key.endswith((b"jor", b"nor")) for key, _ in pairs):
        text = padded(b"1\n0\n%d\n" % size)
        tar.entries[at] = entry("pax", name(rng), text + target.data)
    tar.entries.insert(at, pax(pairs, rng.choice((b"x", b"x", b"x", b"g"))))


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


def entries_in_a_header(rng: Random, tar: Tar) -> None:
    """Entries inside the content of a header of headers."""
    kind = rng.choice((b"L", b"K", b"x", b"g", b"X", b"V", b"N", b"A"))
    text = {b"L": name(rng) + b"\0", b"K": b"target\0"}.get(kind, records([(b"comment", b"c")]))
    data = rng.choice((hidden(rng), padded(text) + hidden(rng), text))
    made = entry(rng.choice(("gnu", tar.dialect)), b"././@LongLink", data, kind=kind)
    choice = rng.randrange(5)
    if choice == 0:
        made["size"] = octal(len(text), 12)
    elif choice == 1:
        made["size"] = octal(_wrong_size(rng, len(data)), 12)
    elif choice == 2:
        made["size"] = base256(len(data), 12)
    put(rng, tar, made)


def headers_in_a_row(rng: Random, tar: Tar) -> None:
    """Several headers of headers before one entry, in any order, or at the end."""
    at = regular(rng, tar)
    size = len(tar.entries[at].data)
    makers: tuple[Callable[[], Entry], ...] = (
        lambda: long_name(name(rng)),
        lambda: long_name(name(rng), b"K"),
        lambda: pax([(b"path", name(rng))]),
        lambda: pax([(b"size", b"%d" % _wrong_size(rng, size))]),
        lambda: pax([(b"comment", b"c")], b"g"),
        lambda: pax([], b"x"),
        lambda: pax([], b"g"),
        lambda: entry("gnu", b"././@LongLink", b"", kind=b"L"),
        lambda: entry(tar.dialect, name(rng), kind=b"5"),
        lambda: pax([(b"size", b"512")], b"x"),
    )
    made = [rng.choice(makers)() for _ in range(rng.choice((2, 2, 3, 4)))]
    if rng.random() < 0.15:
        at = len(tar.entries)
    tar.entries[at:at] = made


def wrong_size(rng: Random, tar: Tar) -> None:
    """A header's size that is not that of its data."""
    target = some(rng, tar)
    target["size"] = octal(_wrong_size(rng, len(target.data)), 12)


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


MUTATIONS: dict[str, Mutation] = {
    re.sub("_", "-", mutation.__name__): mutation
    for mutation in (
        content_behind_types_without,
        folder_by_name,
        retype,
        x_for_pax,
        pax_size_above,
        pax_size_below,
        pax_records,
        sparse_sizes,
        sparse_pieces,
        sparse_version,
        checksum,
        odd_size,
        odd_number,
        blocks_in_front,
        magic_name,
        odd_name,
        ustar_magic,
        entries_in_a_header,
        headers_in_a_row,
        wrong_size,
        any_field,
        end,
        bytes_flipped,
        cut,
    )
}
