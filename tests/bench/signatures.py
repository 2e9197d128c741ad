"""A set of signatures as large as the official one, which may not be handed on: a seeded likeness.

7 million signatures of these kinds take clamscan about as long to load (11 to 13 s) and as much
memory (1.2 GB) as the official set's main, daily and bytecode together.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.signatures import write_signatures

SEED = 1
BATCH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of signature: its share of the set, its random bytes, and how its line is written.

    The formats are those of ClamAV's manual, chapter 'Signatures'.
    """

    suffix: str
    share: float
    width: int
    line: Callable[[int, str], str]


KINDS = (
    Kind(
        suffix="mdb",  # sections of programs, by MD5
        share=0.44,
        width=16,
        line=lambda number, digits: (
            f"{4096 + 512 * (number % 400)}:{digits}:Bench.Section-{number}"
        ),
    ),
    Kind(
        suffix="hsb",  # whole files, by SHA-256
        share=0.38,
        width=32,
        line=lambda number, digits: f"{digits}:{1000 + number % 900_000}:Bench.Whole-{number}",
    ),
    Kind(
        suffix="hdb",  # whole files, by MD5
        share=0.158,
        width=16,
        line=lambda number, digits: f"{digits}:{1000 + number % 900_000}:Bench.File-{number}",
    ),
    Kind(
        suffix="ndb",  # bytes anywhere, half of them in programs only
        share=0.015,
        width=24,
        line=lambda number, digits: f"Bench.Body-{number}:{number % 2}:*:{digits}",
    ),
    Kind(
        suffix="ldb",  # two pieces, both of which a program must have
        share=0.007,
        width=24,
        line=lambda number, digits: (
            f"Bench.Logic-{number};Engine:51-255,Target:1;0&1;{digits[:24]};{digits[24:]}"
        ),
    ),
)


def signature_set(cache: Path, count: int) -> Path:
    """Return a folder with about `count` signatures and EICAR's; made when it is not there yet."""
    folder = cache / f"signatures-{SEED}-{count}"
    if not folder.exists():
        scratch = folder.with_suffix(".part")
        shutil.rmtree(scratch, ignore_errors=True)
        write_signatures(scratch)
        for kind in KINDS:
            with (scratch / f"bench.{kind.suffix}").open("w") as file:
                file.writelines(_lines(kind, round(count * kind.share)))
        scratch.rename(folder)
    return folder


def _lines(kind: Kind, count: int) -> Iterator[str]:
    chance = random.Random(f"{SEED} {kind.suffix}")
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        digits, width = chance.randbytes(size * kind.width).hex(), 2 * kind.width
        for place in range(size):
            yield kind.line(start + place, digits[place * width : (place + 1) * width]) + "\n"
