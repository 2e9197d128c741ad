"""Passes on backends of up to a million builds and as many checks."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from support.backend import NEWEST, ZAPUSKALKAS, Backend

from avscan.records import format_time
from avscan.wiring import USER_AGENT
from bench.lab import Lab, avscan
from bench.scale import MIB
from bench.stock import judged, stock
from bench.table import Row, Table

LOGGED_AFTER = 15.0  # PocketBase writes its log each three seconds


def compare_large_backends(lab: Lab) -> Table:
    """Measure idle passes, without the indexes and with them, and full comparisons."""
    return Table(
        title="A large backend",
        note=(
            "Seconds. The requests' are PocketBase's own, from its log; 'whole pass' is the"
            " process, and 'memory' its peak."
        ),
        rows=[
            row
            for version in (ZAPUSKALKAS, NEWEST)
            for count in lab.scale.rows
            for row in _compare(lab, version, count)
        ],
    )


def _compare(lab: Lab, version: str, count: int) -> Iterator[Row]:
    with lab.backend(version) as backend:
        stock(backend, judged(count))
        for indexes in ("none", "init --fix"):
            if indexes != "none":
                backend.init()
            avscan(backend)  # so that the disk's cache is as it is each minute
            full = () if indexes == "none" else (("full", ("--full",)),)
            for kind, arguments in (("idle", ()), *full):
                yield {
                    "server": version,
                    "builds": count,
                    "indexes": indexes,
                    "pass": kind,
                    **_measure(backend, *arguments),
                }


def _measure(backend: Backend, *arguments: str) -> Row:
    started = datetime.now(UTC)
    # With a token: a password takes PocketBase longer to check than most questions.
    changes = {"POCKETBASE_TOKEN": backend.token}
    done = avscan(backend, *arguments, changes=changes, folder=backend.work_dir)
    assert not done.finished["discovered"] + done.finished["reopened"], done.finished
    times = _request_times(backend, since=started, count=done.finished["requests"])
    return {
        "requests": done.finished["requests"],
        "slowest request": max(times),
        "all requests": sum(times),
        "whole pass": done.cost.wall,
        "memory, MiB": done.cost.memory // MIB,
    }


def _request_times(backend: Backend, *, since: datetime, count: int) -> list[float]:
    """Read from PocketBase's log how long it took for each request of a pass, in seconds."""
    query = (
        "SELECT json_extract(data, '$.execTime') / 1000.0 FROM _logs"
        " WHERE created >= ? AND json_extract(data, '$.userAgent') = ?"
    )
    parameters = (format_time(since), USER_AGENT)
    deadline = time.monotonic() + LOGGED_AFTER
    while True:
        with closing(sqlite3.connect(backend.server.data / "auxiliary.db")) as database:
            times = [float(each) for (each,) in database.execute(query, parameters)]
        if len(times) == count:
            return times
        assert time.monotonic() < deadline, f"PocketBase logged {len(times)} of {count} requests"
        time.sleep(0.5)
