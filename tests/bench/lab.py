"""Where a measurement takes place: folders, servers, and runs of avscan."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from support.backend import ZAPUSKALKAS, Backend, Template, make_template, running

from bench.builds import make_builds
from bench.measure import Cost, run
from bench.scale import Scale
from bench.signatures import signature_set

# The command `avscan`, in which chance does not decide whether all of many builds are compared:
# --full does.
_ENTRY = "import avscan.sweep, avscan.cli;avscan.sweep.FULL_TURNS = 0.0;avscan.cli.main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A pass that has ended, and what it said of itself last."""

    cost: Cost
    finished: dict[str, Any]


class Lab:
    """`cache` keeps what is slow to make, `scratch` is removed when the measurement is done."""

    def __init__(self, scale: Scale, *, cache: Path, scratch: Path) -> None:
        self.scale = scale
        self.scratch = scratch.resolve()
        self._cache = cache.resolve()
        self._templates: dict[str, Template] = {}

    @cached_property
    def signatures(self) -> Path:
        """The folder of signatures."""
        return signature_set(self._cache, self.scale.signatures)

    def builds(self, count: int) -> list[list[Path]]:
        """Return the files of as many builds."""
        return make_builds(self._cache, count=count, size=self.scale.build_size)

    def folder(self) -> Path:
        """Make an empty folder."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    @contextmanager
    def backend(self, version: str = ZAPUSKALKAS) -> Iterator[Backend]:
        """Run a PocketBase with Zapuskalka's collections, on which nobody ran `avscan init`."""
        if version not in self._templates:
            self._templates[version] = make_template(self.folder() / version, version)
        with running(self._templates[version], self.folder() / "backend") as backend:
            yield backend


def avscan(
    backend: Backend,
    *arguments: str,
    changes: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Pass:
    """Do a pass, with changes to its environment; `folder` is watched (see `run`)."""
    command = [sys.executable, "-c", _ENTRY, "run", *arguments]
    cost = run(command, env=backend.environment(**(changes or {})), folder=folder)
    (finished,) = [
        event
        for event in map(json.loads, cost.err.splitlines())
        if event["event"] == "pass.finished"
    ]
    return Pass(cost=cost, finished=finished)
