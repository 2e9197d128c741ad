"""The examination of a downloaded file by an inspector, and the report on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from avscan.backend.download import Artifact
from avscan.findings import Examination
from avscan.inspector.process import Broken, Examined, Inspector
from avscan.verdict import Cause, FileReport, Policies, file_status

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two calls of `meanwhile` during an examination."""


class GaveWay:
    """The examination was given up in favour of others; there is no result for the file."""


Outcome: TypeAlias = FileReport | Broken | GaveWay


def inspect(
    inspector: Inspector,
    build: str,
    name: str,
    artifact: Artifact,
    *,
    policies: Policies,
    timeout: float,
    meanwhile: Callable[[], bool],
) -> Outcome:
    """Have an inspector examine a build's file within `timeout` seconds of running.

    `meanwhile` is called each second and may pause the inspector; if it returns False, the
    examination is given up. `Broken` means that the inspector ended before it found anything: the
    caller must find out whether the file or the installation is the cause.
    """
    where = {"build": build, "file": name, "size": artifact.size}
    log.info("file.started", extra=where)
    inspector.begin(artifact.path)
    while (ended := inspector.wait(TICK)) is None:
        if inspector.ran > timeout:
            break
        if not meanwhile():
            return GaveWay()
    found = inspector.examination
    if not isinstance(ended, Examined):
        reason = ended.reason if ended else f"not scanned within {timeout:g} s"
        log.warning("inspector.failed", extra=where | {"reason": reason})
        if ended and not found.sightings:
            return ended
        found = replace(found, errors=(reason, *found.errors))
    report = FileReport(
        name=name,
        examination=found,
        size=artifact.size,
        sha256=artifact.sha256,
        seconds=inspector.ran,
    )
    log.info(
        "file.finished",
        extra=where
        | {
            "status": file_status(report, policies),
            "signatures": [sighting.signature for sighting in found.sightings],
            "seconds": round(report.seconds, 3),
        },
    )
    return report


def failure(name: str, reason: str, cause: Cause) -> FileReport:
    """Return the report on a file that could not be examined."""
    return FileReport(name=name, examination=Examination(errors=(reason,)), cause=cause)
