"""Archives of real writers, in every form that they write: all of them are valid."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Literal

Write = Callable[[Path, Path], None]
"""Pack a folder into a file."""


def game(folder: Path) -> Path:
    """Make a folder with all that a game's folder may have: names, links, holes, programs."""
    rng = Random("a game")
    root = folder / "game"
    (root / "data" / ("deep" * 20) / ("deeper" * 20)).mkdir(parents=True)
    for number, name in enumerate(
        (
            "game.exe",
            "run.sh",
            "data/" + "long" * 30 + ".bin",
            "data/" + "deep" * 20 + "/" + "deeper" * 20 + "/" + "leaf" * 20,
            "data/игра и музыка.ogg",
            "data/with space.txt",
        )
    ):
        head = {0: b"MZ\x90\0", 1: b"#!/bin/sh\nexit 0\n"}.get(number, b"")
        (root / name).write_bytes(head + rng.randbytes(rng.choice((511, 512, 700, 5000))))
    (root / "run.sh").chmod(0o755)
    (root / "empty").touch()
    (root / "latest").symlink_to("game.exe")
    (root / "same.exe").hardlink_to(root / "game.exe")
    with (root / "holes.dat").open("wb") as file:
        for number in range(30):
            file.seek(number * 256 * 1024)
            file.write(rng.randbytes(4096))
        file.truncate(31 * 256 * 1024)
    return root


def run(line: str) -> Write:
    """Return a writer that runs a line of the shell in the parent folder; OUT is the file."""

    def write(folder: Path, target: Path) -> None:
        filled = line.replace("OUT", shlex.quote(str(target)))
        done = subprocess.run(
            ["sh", "-ec", filled], cwd=folder.parent, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    return write


def python_tar(form: int, mode: Literal["w", "w:gz", "w|gz"]) -> Write:
    """Return a writer by `tarfile`."""

    def write(folder: Path, target: Path) -> None:
        with tarfile.open(str(target), mode, format=form) as archive:
            archive.add(folder, "game")

    return write


def python_zip(folder: Path, target: Path) -> None:
    """Write by `zipfile`, deflated and stored, and one as a stream."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
        with archive.open("streamed.bin", "w", force_zip64=True) as file:
            file.write(b"streamed" * 100)


def self_extracting(folder: Path, target: Path) -> None:
    """Write a zip behind a program, whose offsets count the program."""
    plain = target.with_suffix(".zip")
    run("zip -qr OUT game")(folder, plain)
    target.write_bytes(b"MZ\x90\0" + b"program " * 500 + plain.read_bytes())
    run("zip -qA OUT || true")(folder, target)
    plain.unlink()


def writers() -> Iterator[tuple[str, Write]]:
    """Return the name of each form, and what writes it."""
    for form in ("v7", "oldgnu", "gnu", "ustar", "posix"):
        quietly = "2>/dev/null || true" if form in ("v7", "ustar") else ""  # names too long for it
        yield f"GNU tar {form}", run(f"tar -cf OUT --format={form} game {quietly}")
        yield f"GNU tar {form} gz", run(f"tar -czf OUT --format={form} game {quietly}")
    for form in ("gnu", "oldgnu"):
        yield f"GNU tar sparse {form}", run(f"tar -cSf OUT --format={form} game")
    for version in ("0.0", "0.1", "1.0"):
        options = f"--format=posix --sparse-version={version}"
        yield f"GNU tar sparse {version}", run(f"tar -cSf OUT {options} game")
        yield f"GNU tar sparse {version} gz", run(f"tar -cSzf OUT {options} game")
    yield "GNU tar label", run("tar -czf OUT --label=game-1.0 game")
    yield "GNU tar xattrs", run("tar -czf OUT --format=posix --xattrs --acls game")
    yield "GNU tar appended", run("tar -cf OUT game/run.sh && tar -rf OUT game/game.exe")
    yield "GNU tar pigz-like", run("tar -cf - game | gzip -9n > OUT")
    for form in ("v7", "ustar", "pax", "bsdtar", "gnutar"):
        quietly = "2>/dev/null || true" if form in ("v7", "ustar") else ""
        yield f"bsdtar {form}", run(f"bsdtar -cf OUT --format={form} game {quietly}")
        yield f"bsdtar {form} gz", run(f"bsdtar -czf OUT --format={form} game {quietly}")
    yield "bsdtar zip", run("bsdtar -cf OUT --format=zip game")
    yield "bsdtar zip piped", run("bsdtar -cf - --format=zip game | cat > OUT")
    yield "busybox tar", run("busybox tar -cf OUT game")
    yield "busybox tar gz", run("busybox tar -czf OUT game")
    for number, called in ((tarfile.GNU_FORMAT, "gnu"), (tarfile.PAX_FORMAT, "pax")):
        yield f"tarfile {called}", python_tar(number, "w")
        yield f"tarfile {called} gz", python_tar(number, "w:gz")
        yield f"tarfile {called} stream", python_tar(number, "w|gz")
    yield "zipfile", python_zip
    yield "zip", run("zip -qr OUT game")
    yield "zip stored", run("zip -qr0 OUT game")
    yield "zip symlinks", run("zip -qry OUT game")
    yield "zip piped", run("zip -qr - game | cat > OUT")
    yield "zip zip64", run("zip -qr -fz OUT game")
    yield "zip from a pipe", run("cat game/game.exe | zip -q OUT -")
    yield "zip comment", run("zip -qr OUT game && echo a studio | zip -qz OUT")
    yield "zip self-extracting", self_extracting
    yield "7zz tar", run("7zz a -bd -ttar OUT game")
    yield "7zz zip", run("7zz a -bd -tzip OUT game")
    yield "7zz zip stored", run("7zz a -bd -tzip -mx=0 OUT game")
    yield "7zz tar.gz", run("7zz a -bd -ttar -so x.tar game | 7zz a -bd -tgzip -si OUT")
    yield "gzip named", run("cp game/game.exe g.bin && gzip -c g.bin > OUT")
    yield "gzip rsyncable", run("tar -cf - game | gzip --rsyncable > OUT")
    if shutil.which("jar"):
        yield "jar", run("jar -cf OUT game")
