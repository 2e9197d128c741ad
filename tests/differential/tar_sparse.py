"""Sparse files of a tar that are told wrongly."""

from __future__ import annotations

from random import Random

from differential.content import name
from differential.tar_parts import (
    false_size,
    hidden,
    put,
    regular,
)
from differential.tars import (
    BLOCK,
    SPARSE,
    Entry,
    Tar,
    entry,
    octal,
    padded,
    pax,
    record,
    sparse,
    sparse_map,
)


def sparse_sizes(rng: Random, tar: Tar) -> None:
    """A sparse file whose size does not agree with its data."""
    how = rng.choice(SPARSE)
    pieces, size = sparse_map(rng)
    made = sparse(how, name(rng), pieces, size)
    main = made[-1]
    packed = len(main.data)
    choice = rng.randrange(4)
    if choice == 0:
        main["size"] = octal(false_size(rng, packed), 12)
    elif choice == 1 and how == "gnu":
        main["realsize"] = octal(false_size(rng, size), 12)
    elif choice == 1:
        wrong = b"%d" % false_size(rng, size)
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
