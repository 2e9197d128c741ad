"""Fills a stopped PocketBase: rows straight into its database, files straight into its storage."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from support.backend import BUILD, Backend

from avscan.backend import journal
from avscan.backend.checks import LONGEST_LOG
from avscan.findings import Examination
from avscan.records import BUILDS, CHECKS, Status, format_time
from avscan.verdict import FileReport, Policies, judge

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
SCANNING = timedelta(minutes=1)
NAMES = ("game_0a1b2c3d4e.tar.gz",)
IDS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stocked:
    """A build as it is put there: with `verdict` its check is settled as clean, else it has none.

    `files` are copied from where they lie; those of `names` are only listed.
    """

    id: str
    updated: datetime
    files: Sequence[Path] = ()
    names: tuple[str, ...] = ()
    verdict: bool = False


def judged(count: int) -> Iterator[Stocked]:
    """Return builds of one file each that were scanned long ago."""
    chance = random.Random(count)
    for number in range(count):
        updated = LONG_AGO + timedelta(seconds=number)
        yield Stocked(id=draw_id(chance), updated=updated, names=NAMES, verdict=True)


def waiting(artifacts: Iterable[Sequence[Path]]) -> Iterator[Stocked]:
    """Return builds that were uploaded just now, with these files."""
    chance, now = random.Random(0), datetime.now(UTC)
    for number, files in enumerate(artifacts):
        yield Stocked(id=draw_id(chance), updated=now + timedelta(milliseconds=number), files=files)


def draw_id(chance: random.Random) -> str:
    """Draw an id as PocketBase does."""
    return "".join(chance.choices(IDS, k=15))


def stock(backend: Backend, builds: Iterable[Stocked]) -> None:
    """Put builds into a backend; its server stops for that and starts again."""
    backend.stop()
    ((collection,),) = backend.sql("SELECT id FROM _collections WHERE name = ?", BUILDS)
    storage = backend.server.data / "storage" / str(collection)
    with closing(sqlite3.connect(backend.server.data / "data.db")) as database:
        database.execute("PRAGMA synchronous = OFF")
        for build in builds:
            for file in build.files:
                _store(file, storage / build.id / file.name)
            _insert(database, BUILDS, _build_row(build, backend))
            if build.verdict:
                _insert(database, CHECKS, _check_row(build))
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backend.start()


def _store(file: Path, target: Path) -> None:
    """Put a file into the storage, without copying it where a second name will do."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def _insert(database: sqlite3.Connection, table: str, row: dict[str, str]) -> None:
    marks = ", ".join("?" * len(row))
    database.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
    )


def _build_row(build: Stocked, backend: Backend) -> dict[str, str]:
    return {
        "id": build.id,
        "app": backend.app,
        "branch": backend.branch,
        **BUILD | {"install_rules": json.dumps(BUILD["install_rules"])},
        "files": json.dumps(_names(build)),
        "created": format_time(build.updated),
        "updated": format_time(build.updated),
    }


def _check_row(build: Stocked) -> dict[str, str]:
    ended = format_time(build.updated + SCANNING)
    return {
        "id": build.id,
        "build": build.id,
        "status": Status.CLEAN,
        "scan_time": ended,
        "log": _verdict(tuple(_names(build))),
        "created": format_time(build.updated),
        "updated": ended,
    }


@cache
def _verdict(names: tuple[str, ...]) -> str:
    """Write the log that these files' verdict has; its circumstances don't matter."""
    reports = [
        FileReport(name=name, examination=Examination(), size=50_000_000, sha256="0" * 64)
        for name in names
    ]
    policies = Policies()
    scan = journal.Scan(
        uploaded=LONG_AGO,
        engine="ClamAV 1.4.6, signatures 27800 of 2026-01-01",
        host="scanner-1",
        claim="6fe0a5ff2f7c",
        started=LONG_AGO,
        ended=LONG_AGO + SCANNING,
    )
    verdict = judge(reports, policies)
    return journal.settled(verdict, reports, scan, policies, before=(), limit=LONGEST_LOG)


def _names(build: Stocked) -> list[str]:
    return [*build.names, *(file.name for file in build.files)]
