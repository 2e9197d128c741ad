"""What mutations of zips share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from differential.content import content, name
from differential.zips import (
    DEFLATED,
    MASKED,
    STORED,
    Zip,
    ZipEntry,
)

Mutation = Callable[[Random, Zip], None]


def hidden(rng: Random) -> ZipEntry:
    """Return an entry that the directory will omit."""
    made = ZipEntry(name(rng), content(rng), rng.choice((STORED, DEFLATED)))
    made.listed = False
    return made


def wrong(rng: Random, value: int) -> int:
    """Return another size, smaller, larger or masked; now and then the right one."""
    return max(
        0,
        rng.choice(
            (0, 1, value - 1, value + 1, value // 2, value * 2, value + 100, MASKED, MASKED - 1)
        ),
    )


def some(rng: Random, made: Zip) -> ZipEntry:
    """Return an entry."""
    return rng.choice(made.entries)


def insert(rng: Random, made: Zip, entry: ZipEntry) -> None:
    """Put an entry anywhere: between others, behind them, in front, or behind junk."""
    if rng.random() < 0.2:
        made.before_directory = entry.encode_local()
    elif rng.random() < 0.2:
        entry.before = rng.choice((b"x", bytes(30), rng.randbytes(100)))
        made.entries.insert(rng.randrange(len(made.entries) + 1), entry)
    elif rng.random() < 0.2:
        made.prefix += entry.encode_local()
    else:
        made.entries.insert(rng.randrange(len(made.entries) + 1), entry)
