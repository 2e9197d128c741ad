"""Builds to scan: game folders packed in the ways in which games are, of seeded content."""

from __future__ import annotations

import io
import random
import shutil
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MIB = 1 << 20
_WORDS = b"sword shield dragon castle river forest king queen night level quest gold".split()


def make_builds(cache_folder: Path, *, count: int, size: int) -> list[list[Path]]:
    """Return the files of `count` builds, three each; made when they are not there yet.

    Each file holds about `size` bytes unpacked: a tar.gz and a zip of a game folder, and a package
    of packed assets.
    """
    home = cache_folder / f"builds-{size}"
    return [_make_build(home / str(number), seed=number, size=size) for number in range(count)]


def _make_build(folder: Path, *, seed: int, size: int) -> list[Path]:
    if not folder.exists():
        scratch = folder.with_suffix(".part")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        _write_tar(scratch / "game-linux.tar.gz", f"{seed} linux", size)
        _write_zip(scratch / "game-windows.zip", f"{seed} windows", size)
        (scratch / "bonus.pak").write_bytes(random.Random(f"{seed} bonus").randbytes(size))
        scratch.rename(folder)
    return sorted(folder.iterdir())


def _write_tar(path: Path, seed: str, size: int) -> None:
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        for name, content in game(seed, size):
            info = tarfile.TarInfo(f"game/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _write_zip(path: Path, seed: str, size: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in game(seed, size):
            archive.writestr(f"game/{name}", content)


def game(seed: str, size: int) -> Iterator[tuple[str, bytes]]:
    """Make a game's files: half assets that are packed already, a quarter text, a quarter code."""
    chance = random.Random(seed)
    for number in range(4):
        yield f"textures-{number}.pak", chance.randbytes(size // 8)
    for number in range(16):
        words = chance.choices(_WORDS, k=size // 64 // 6)
        yield f"levels/{number}.txt", b" ".join(words)
    left = size // 4
    for path in chance.sample(programs(), k=len(programs())):
        if (content := path.read_bytes()) and len(content) <= left:
            left -= len(content)
            yield f"bin/{path.name}", content


@cache
def programs() -> list[Path]:
    """List real programs that every machine has which runs this: Python's own libraries."""
    return sorted(Path(sysconfig.get_config_var("DESTSHARED")).glob("*.so"))
