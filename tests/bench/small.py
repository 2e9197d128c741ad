"""Archives of many small files, and whole games, beside one clamscan over the same archive."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sysconfig
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from support.signatures import write_signatures

from avscan.inspector.process import Engine, Examined, Inspector
from bench.contenders import one_clamscan
from bench.lab import Lab
from bench.passes import by_turns
from bench.table import MB, Row, Table

GAMES = (
    *("openttd-opengfx", "crawl-tiles-data", "pingus-data", "neverball-data"),
    *("frozen-bubble-data", "extremetuxracer-data", "lincity-ng-data", "supertux-data"),
)
"""Packages of Debian with the data of games, from 3 to 160 MB."""

_WORDS = ["function", "local", "return", "if", "then", "end", "print", "self", "x", "y"]


def compare_small(lab: Lab) -> Table:
    """Measure the inspection of one archive at a time, with few signatures."""
    return Table(
        title="Many small files, and games",
        note=(
            f"Seconds, medians of {lab.scale.runs} runs by turns, each with the start of its"
            " processes, and with few signatures: what their loading takes would hide the rest."
            " 'One clamscan' scans the same archive with avscan's own options."
        ),
        rows=[_compare(lab, archive) for archive in _archives(lab)],
    )


def _archives(lab: Lab) -> Iterator[Path]:
    folder = lab.folder()
    yield _tar_of_scripts(folder / "scripts.tar.gz", lab.scale.scripts)
    yield _zip_of_scripts(folder / "scripts.zip", lab.scale.scripts)
    yield _packed(Path(sysconfig.get_path("stdlib")), folder / "python.tar.gz")
    for game in GAMES[: lab.scale.games]:
        yield _game(game, folder)


def _compare(lab: Lab, archive: Path) -> Row:
    signatures = write_signatures(lab.folder() / "signatures")
    times = by_turns(
        lab.scale.runs,
        {
            "avscan": lambda: _inspect(archive, signatures, lab.folder()),
            "one clamscan": lambda: one_clamscan([archive], signatures, lab.folder()),
        },
    )
    return {
        "archive": archive.name,
        "MB": archive.stat().st_size / MB,
        **times,
        "avscan / one clamscan": times["avscan"] / times["one clamscan"],
    }


def _inspect(archive: Path, signatures: Path, folder: Path) -> float:
    """Have an inspector examine an archive; in seconds."""
    os.link(archive, artifact := folder / "artifact")
    (own := folder / "inspector").mkdir()
    started = time.perf_counter()
    program = shutil.which("clamscan") or "clamscan"
    inspector = Inspector(Engine(program=program, signatures=signatures), own)
    try:
        inspector.prove(lambda: None)
        inspector.begin(artifact)
        while (ended := inspector.wait(60.0)) is None:
            pass
        assert ended == Examined(), ended
        assert not inspector.examination.errors, inspector.examination.errors
        return time.perf_counter() - started
    finally:
        inspector.close()


def _scripts(number: int) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(5)
    for each in range(number):
        text = " ".join(chance.choice(_WORDS) for _ in range(12))
        yield f"scripts/{each % 100}/{each}.lua", f"{text} {each}\n".encode()


def _tar_of_scripts(path: Path, number: int) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in _scripts(number):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def _zip_of_scripts(path: Path, number: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _scripts(number):
            archive.writestr(name, content)
    return path


def _packed(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name, filter=_without_packages)
    return path


def _without_packages(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(member.name).parts
    return None if {"test", "site-packages", "dist-packages"} & {*parts} else member


def _game(package: str, folder: Path) -> Path:
    """Fetch a package, and pack its files as a publisher packs a game."""
    (place := folder / package).mkdir()
    # apt's own user may not write here.
    options = ["-q", "-o", "APT::Sandbox::User=root"]
    subprocess.run(
        ["apt-get", *options, "download", package], cwd=place, check=True, capture_output=True
    )
    (deb,) = place.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", deb, place / "files"], check=True)
    return _packed(place / "files", folder / f"{package}.tar.gz")
