"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The sizes of everything; `runs` and `idle_runs` are how often passes are repeated, by turns.

    `signatures` is a number; `builds`, `rows` and `backlogs` are numbers of builds that are tried
    one after another; `scripts` is how many small files an archive has, `games` how many games are
    tried; `build_size` and `artifact_size` are in bytes.
    """

    runs: int
    idle_runs: int
    signatures: int
    builds: tuple[int, ...]
    build_size: int
    rows: tuple[int, ...]
    artifact_size: int
    backlogs: tuple[int, ...]
    scripts: int
    games: int


FULL = Scale(
    runs=3,
    idle_runs=25,
    signatures=7_000_000,
    builds=(1, 10, 50),
    build_size=8 * MIB,
    rows=(1_000, 100_000, 1_000_000),
    artifact_size=1024 * MIB,
    backlogs=(100, 10_000),
    scripts=50_000,
    games=8,
)
# Shows that the benchmark works, and nothing else: what it prints means nothing.
TINY = Scale(
    runs=1,
    idle_runs=1,
    signatures=1_000,
    builds=(1, 2),
    build_size=MIB // 8,
    rows=(10, 1_500),
    artifact_size=MIB,
    backlogs=(2, 4),
    scripts=200,
    games=0,
)
