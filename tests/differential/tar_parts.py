"""What mutations of tars share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from differential.content import name
from differential.tars import (
    BLOCK,
    DIALECTS,
    Entry,
    Tar,
    entry,
    file,
)

Mutation = Callable[[Random, Tar], None]


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


def false_size(rng: Random, size: int) -> int:
    return max(
        0,
        rng.choice(
            (0, 1, size + 1, size - 1, size + 512, size - 512, size + 1024, 512, size * 2, 1 << 40)
        ),
    )
