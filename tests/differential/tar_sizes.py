"""Sizes and types of a tar that are told wrongly, by headers or by pax records."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from differential.content import content, name
from differential.tar_parts import (
    decoy,
    false_size,
    hidden,
    put,
    raw,
    regular,
    some,
    spot,
)
from differential.tars import (
    BLOCK,
    Entry,
    Tar,
    base256,
    entry,
    long_name,
    octal,
    padded,
    pax,
    record,
    records,
)

TYPELESS = (b"1", b"2", b"3", b"4", b"5", b"6")


ODD_TYPES = (*(b"%c" % c for c in b"7ADEIKLMNSVXZaxgz \x80\xff/8"), b"\0")


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


def x_for_pax(rng: Random, tar: Tar) -> None:
    """Solaris' type X, which some take for pax and others for a file."""
    at = regular(rng, tar)
    size = len(tar.entries[at].data)
    pairs = rng.choice(
        (
            [(b"size", b"%d" % false_size(rng, size))],
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
    """Add a pax size to an entry that differs from its header."""
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
    wrong = b"%d" % false_size(rng, size)
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
        made["size"] = octal(false_size(rng, len(data)), 12)
    if rng.random() < 0.3:
        tar.entries[at].data = padded(tar.entries[at].data) + hidden(rng)
    tar.entries.insert(at, made)


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
        made["size"] = octal(false_size(rng, len(data)), 12)
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
        lambda: pax([(b"size", b"%d" % false_size(rng, size))]),
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
    target["size"] = octal(false_size(rng, len(target.data)), 12)
