"""What must be true when the storm is over: every promise that can be seen from outside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from support.backend import Backend, Row

from avscan.backend import journal

VIRUS = "virus"  # what the names of infected files begin with
GIVEN_UP = "never ended"


def right_verdict(build: Row) -> str:
    return "infected" if any(name.startswith(VIRUS) for name in build["files"]) else "clean"


def builds_of(backend: Backend) -> list[Row]:
    params = {"perPage": "1000", "sort": "created,id"}
    answer = backend.json("GET", "/api/collections/app_builds/records", params=params)
    builds: list[Row] = answer["items"]
    return builds


def violations(backend: Backend, *folders: Path) -> list[str]:
    """Yield what breaks a promise. `folders` are those of the passes."""
    return [*wrong_checks(backend), *left_processes(folders), *left_files(folders)]


def wrong_checks(backend: Backend) -> Iterator[str]:
    builds = {str(build["id"]): build for build in builds_of(backend)}
    checks = backend.checks()
    for check in checks:
        if check["build"] not in builds:
            yield f"check {check['id']} is left over from a build that is gone"
    for name, build in builds.items():
        found = [check for check in checks if check["build"] == name]
        if not build["files"]:
            continue
        if len(found) != 1:
            yield f"build {name} has {len(found)} checks"
            continue
        (check,) = found
        if check["status"] != right_verdict(build):
            yield f"build {name} is {check['status']}, not {right_verdict(build)}: {check['log']}"
        elif journal.digest_of(check["log"]) != journal.digest(build["files"]):
            yield f"build {name}: its verdict is about other files"


def left_processes(folders: Iterable[Path]) -> Iterator[str]:
    """Find what still runs in the passes' folders: clamscan is given its folder as an option."""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if any(str(folder).encode() in command for folder in folders):
            yield f"process {process.name} is left: {command.replace(bytes(1), b' ').decode()}"


def left_files(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for path in folder.glob("*/*"):  # avscan's own folder stays
            yield f"{path} is left"


def bugs(log: Path) -> Iterator[str]:
    """Find tracebacks in a pass's log; its last line may be cut off by a kill."""
    for line in log.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            continue
        try:
            event = json.loads(line)
        except ValueError:
            yield f"{log.name} has a line that is not JSON: {line.rstrip()}"
            continue
        if "traceback" in event:
            yield f"{log.name}: {event['traceback']}"
