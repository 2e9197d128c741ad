"""From a file that was fetched to the report on it, by whatever engine there is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, assert_never

from avscan.backend.download import Artifact, Missing, TooLarge
from avscan.backend.fetch import Fetched
from avscan.errors import EngineError, WorkspaceError
from avscan.findings import Examination
from avscan.verdict import FileReport, Policies, file_status
from avscan.workspace import Workspace

log = logging.getLogger(__name__)


class Scanner(Protocol):
    """The engine, as a pass needs it."""

    def version(self) -> object:
        """Tell the engine's and its signatures' version, as a line of text by `str`."""
        ...

    def warm_up(self) -> None:
        """Begin loading the signatures, without waiting."""
        ...

    def prove(self) -> None:
        """Wait until the engine has found its canary; EngineError if it does not work."""
        ...

    def examine(self, path: Path) -> Examination:
        """Scan one artifact, member by member where it can't be seen whole."""
        ...

    def close(self) -> None:
        """End the engine's process; the next use starts a fresh one."""
        ...


class Inspector:
    """Reports on files, one after another."""

    def __init__(
        self,
        scanner: Scanner,
        workspace: Workspace,
        policies: Policies,
        clock: Callable[[], float],
    ) -> None:
        self._scanner = scanner
        self._workspace = workspace
        self._policies = policies
        self._clock = clock

    def report(self, build: str, name: str, fetched: Fetched) -> FileReport:
        """Say what a build's file is like.

        Raises:
            EngineError: the engine does not work, at this file at least (see `works`).
            WorkspaceError: the disk does not, likewise.

        """
        match fetched:
            case Artifact():
                return self._examine(build, name, fetched)
            case Missing():
                return failure(name, "missing from the storage")
            case TooLarge(size=size, capacity=capacity):
                return failure(name, f"of {size} bytes, more than the disk's {capacity}")
            case _:
                assert_never(fetched)

    def works(self) -> bool:
        """Tell whether engine and disk work without the file at which one of them failed."""
        try:
            self._scanner.close()
            self._scanner.prove()
            self._workspace.require_room()
        except (EngineError, WorkspaceError):
            return False
        return True

    def _examine(self, build: str, name: str, artifact: Artifact) -> FileReport:
        where = {"build": build, "file": name, "size": artifact.size}
        log.info("file.started", extra=where)
        started = self._clock()
        examination = self._scanner.examine(artifact.path)
        if examination.errors:
            self._workspace.require_room()
        report = FileReport(
            name=name,
            examination=examination,
            size=artifact.size,
            sha256=artifact.sha256,
            seconds=self._clock() - started,
        )
        log.info(
            "file.finished",
            extra=where
            | {
                "status": file_status(report, self._policies),
                "signatures": [sighting.signature for sighting in examination.sightings],
                "seconds": round(report.seconds, 3),
            },
        )
        return report


def failure(name: str, reason: str) -> FileReport:
    """Report on a file that could not be looked at."""
    return FileReport(name=name, examination=Examination(errors=(reason,)))
