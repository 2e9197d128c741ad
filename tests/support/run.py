"""Runs of the command line, as its users start it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log's lines, each of which has to be JSON."""
        return [json.loads(line) for line in self.err.splitlines()]

    def event(self, name: str) -> dict[str, Any]:
        """The one event of this name."""
        (found,) = [event for event in self.events if event["event"] == name]
        return found

    def named(self, name: str) -> list[dict[str, Any]]:
        """All events of this name."""
        return [event for event in self.events if event["event"] == name]


def avscan(*arguments: str, env: Mapping[str, str]) -> Run:
    """Run avscan to its end."""
    process = start(*arguments, env=env)
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    return Run(code=process.returncode, out=out, err=err)


def start(*arguments: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start avscan and leave it running."""
    return subprocess.Popen(
        [sys.executable, "-m", "avscan", *arguments],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
