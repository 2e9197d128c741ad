"""What a pass takes of memory and disk: for one large artifact, and for many small builds."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

from bench.lab import Lab, avscan
from bench.scale import MIB
from bench.stock import stock, waiting
from bench.table import Row, Table


def measure_large_artifacts(lab: Lab) -> Table:
    """Measure a pass over one large artifact, raw and as a tar.gz."""
    folder, size = lab.folder(), lab.scale.artifact_size
    kinds = {
        "one small file": _noise(folder / "small.pak", 1),
        f"a {size // MIB} MiB file": _noise(folder / "game.pak", size),
        f"a {size // MIB} MiB tar.gz": _packed_noise(folder / "game.tar.gz", size),
    }
    return Table(
        title="One artifact",
        note=(
            "'Memory' is avscan's own peak, without clamscan's; 'disk' the most that WORK_DIR held."
            " The tar.gz holds files of 64 MiB."
        ),
        rows=[{"artifact": name, **_measure(lab, [[file]])} for name, file in kinds.items()],
    )


def measure_backlogs(lab: Lab) -> Table:
    """Measure a pass over many builds that wait, as on the first day."""
    small = _noise(lab.folder() / "small.pak", 1000)
    return Table(
        title="A backlog",
        note="Builds of one small file each, none of which has a check yet.",
        rows=[
            {"builds": count, **_measure(lab, [[small]] * count)} for count in lab.scale.backlogs
        ],
    )


def _measure(lab: Lab, builds: Sequence[Sequence[Path]]) -> Row:
    with lab.backend() as backend:
        backend.init()
        stock(backend, waiting(builds))
        done = avscan(backend, "--full", folder=backend.work_dir)
    assert done.finished["clean"] == len(builds), done.finished
    return {
        "memory, MiB": done.cost.memory / MIB,
        "disk, MiB": done.cost.disk / MIB,
        "seconds": done.cost.wall,
        "requests": done.finished["requests"],
    }


def _noise(path: Path, size: int) -> Path:
    chance = random.Random(path.name)
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(chance.randbytes(min(MIB, size - start)))
    return path


def _packed_noise(path: Path, size: int) -> Path:
    """Write a tar.gz of about `size` bytes: what it holds can't be made smaller."""
    member = _noise(path.with_name("member"), min(size, 64 * MIB))
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for number in range(size // member.stat().st_size):
            archive.add(member, arcname=f"game/{number}.pak")
    return path
