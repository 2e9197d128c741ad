"""Contents of files: each one unique, so that its hash names it."""

from __future__ import annotations

from random import Random

_HEADS = (
    b"",
    b"",
    b"",
    b"",
    b"#!/bin/sh\n",
    b"MZ\x90\0",
    b"\x7fELF\x02\x01\x01",
    b"GIF89a",
    b"text ",
)
_SIZES = (16, 100, 511, 512, 513, 700, 1024, 1536, 3000, 10_240)


def content(rng: Random) -> bytes:
    """Return random bytes, with the head of some format now and then.

    Never HTML's: clamscan compares no hashes of what begins like it and is none.
    """
    head = rng.choice(_HEADS)
    size = rng.choice(_SIZES)
    return head + rng.randbytes(max(16, size - len(head)))


def name(rng: Random) -> bytes:
    """Return a relative name, unique enough within one archive."""
    folder = rng.choice((b"", b"", b"./", b"game/", b"game/data/"))
    ending = rng.choice((b"", b".bin", b".exe", b".txt", b".so"))
    return folder + b"f%08x" % rng.getrandbits(32) + ending
