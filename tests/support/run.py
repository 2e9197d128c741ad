"""Runs of the command line: to its end (`avscan`), in the background (`start`), or a `Pass`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chaos.gate import eventually

from support.warm import Process

TIMEOUT = 300.0
# Seconds. A pass is to end within five of SIGTERM and SIGINT; a busy machine can stall for as long.
STOPPING = 15.0
MAX_WAIT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The result of a run."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log's lines, parsed as JSON."""
        return [json.loads(line) for line in self.err.splitlines()]

    def event(self, name: str) -> dict[str, Any]:
        """Return the only event of this name."""
        (found,) = [event for event in self.events if event["event"] == name]
        return found

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return all events of this name."""
        return [event for event in self.events if event["event"] == name]


def avscan(*arguments: str, env: Mapping[str, str]) -> Run:
    """Run avscan to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = Process(arguments, env=env, stdout=out.fileno(), stderr=err.fileno())
        try:
            code = process.wait(TIMEOUT)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return Run(code=code, out=out.read(), err=err.read())


def kill_after(seconds: float, *arguments: str, env: Mapping[str, str]) -> None:
    """Run avscan, and kill it after some seconds if it has not ended."""
    with Path(os.devnull).open("wb") as nowhere:
        process = Process(arguments, env=env, stdout=nowhere.fileno(), stderr=nowhere.fileno())
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait()


def start(*arguments: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start avscan in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "avscan", *arguments],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


class Pass:
    """A running pass, whose log can be read."""

    def __init__(self, log: Path, env: Mapping[str, str]) -> None:
        self._log = log
        with log.open("wb") as stderr, Path(os.devnull).open("wb") as devnull:
            self.process = Process(
                ("run", "--full"), env=env, stdout=devnull.fileno(), stderr=stderr.fileno()
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [
            line for line in self._log.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def until(self, event: str) -> None:
        eventually(lambda: self.events(event) or self.process.poll() is not None)
        assert self.events(event), self._log.read_text()

    def end(self, *, within: float = MAX_WAIT) -> int:
        """Wait for the exit code. Fail with a stack trace if the pass does not end in time."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            pytest.fail(f"it did not end within {within:.0f} s:\n{self._log.read_text()}")

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.end(within=STOPPING)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def left_in(folder: Path) -> list[Path]:
    """Return the paths in a work folder, without avscan's own folder."""
    return [path for path in folder.rglob("*") if path.parent != folder]
