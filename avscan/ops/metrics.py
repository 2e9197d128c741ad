"""The figures of a report and of a pass as Prometheus metrics, in one set of names.

Pure, but for the writing of the pass's own into a file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from avscan.ops.exposition import PREFIX, Gauge, exposition, gauge, gauges
from avscan.ops.report import Report, State
from avscan.records import Status
from avscan.summary import Summary
from avscan.text import printable
from avscan.verdict import Cause

# How `str` of an engine's version tells the day of its signatures.
_SIGNATURES = re.compile(r"signatures \d+ of (\d{4}-\d{2}-\d{2})\b")
_READABLE = 0o644
FAILURE_REPORTED = "pass_failure_reported_timestamp_seconds"
_REPORTED = re.compile(rf"^{PREFIX}{FAILURE_REPORTED} (\S+)$", re.MULTILINE)


def of_report(report: Report) -> Iterator[Gauge]:
    """Give a report's figures."""
    states = Counter(each.state for each in report.waiting)
    viruses = Counter(printable(each.virus) for each in report.detections)
    figures = {criterion.name: criterion.figure for criterion in report.criteria}
    yield gauges(
        "criterion_kept",
        "Whether a success criterion is kept (1) or broken (0); each has a metric of its name.",
        "criterion",
        {criterion.name: int(criterion.kept) for criterion in report.criteria},
    )
    yield gauge(
        "in_time_ratio",
        "Share of the window's builds that had their verdict within 5 minutes of the upload.",
        figures["in_time_ratio"],
    )
    yield gauge(
        "oldest_pending_seconds",
        "How long the oldest build has waited that no pass is scanning (at most 600).",
        figures["oldest_pending_seconds"],
    )
    yield gauge(
        "error_ratio",
        "Share of the window's verdicts for which the scan failed (at most 0.01).",
        figures["error_ratio"],
    )
    yield gauges("checks", "Checks by status.", "status", _by_name(report.checks))
    yield gauges(
        "waiting_builds",
        "Builds that wait for a verdict on their files.",
        "state",
        {state: states[state] for state in State},
    )
    yield gauge(
        "oldest_scanning_seconds",
        "Seconds since the upload of the oldest build under scan.",
        report.oldest_scanning,
    )
    yield gauge("stuck_checks", "Checks under scan without a heartbeat.", len(report.stuck))
    yield gauge("window_seconds", "The window of the figures below.", report.window.total_seconds())
    yield gauges("verdicts", "Verdicts of the window.", "status", _by_name(report.verdicts))
    causes = Counter(each.cause for each in report.errors)
    yield gauges(
        "errors",
        "Errors of the window; of the cause 'scan' if avscan failed.",
        "cause",
        {cause or "unknown": causes[cause] for cause in (*Cause, None)},
    )
    yield gauge("late_builds", "Builds whose verdict is or was late.", len(report.late))
    delays = report.delays
    yield gauge("verdict_delays", "Verdicts of the window that were timed.", delays.count)
    what = "of the seconds from upload to verdict."
    yield gauge("verdict_delay_median_seconds", f"Median {what}", delays.median)
    yield gauge("verdict_delay_p95_seconds", f"95th percentile {what}", delays.p95)
    yield gauge("verdict_delay_max_seconds", f"Longest {what}", delays.worst)
    yield gauges("detections", "Infected builds of the window.", "virus", viruses)
    last = report.last_verdict.timestamp() if report.last_verdict else None
    yield gauge("last_verdict_timestamp_seconds", "When the last verdict was given.", last)
    yield from _of_signatures(report.engine, report.time)


def of_pass(
    summary: Summary,
    *,
    exit_code: int,
    ended: datetime,
    seconds: float,
    requests: int,
    failure_reported: datetime | None = None,
) -> Iterator[Gauge]:
    """Return the figures of a pass that ended with this exit code.

    `failure_reported` is when a notification last said that passes fail, if they still do.
    """
    yield gauge("pass_timestamp_seconds", "When the last pass ended.", ended.timestamp())
    yield gauge("pass_duration_seconds", "How long it took.", round(seconds, 3))
    yield gauge("pass_exit_code", "Its exit code.", exit_code)
    yield gauge("pass_success", "Whether it did its work (1) or failed (0).", int(exit_code == 0))
    verdicts = {"clean": summary.clean, "infected": summary.infected, "error": summary.errors}
    yield gauges("pass_verdicts", "Its verdicts.", "status", verdicts)
    actions = ("discovered", "reopened", "reclaimed", "removed", "renewed")
    yield gauges(
        "pass_checks",
        "Builds that it discovered; checks that it reopened, reclaimed, removed or renewed.",
        "action",
        {action: getattr(summary, action) for action in actions},
    )
    yield gauge("pass_postponed_builds", "Builds that a later pass has to do.", summary.failed)
    yield gauge("pass_files", "Files that it scanned.", summary.files)
    yield gauge("pass_scanned_bytes", "Their bytes.", summary.bytes)
    yield gauge("pass_requests", "Requests that it made to PocketBase.", requests)
    reported = failure_reported.timestamp() if failure_reported else None
    yield gauge(FAILURE_REPORTED, "When a notification last said that passes fail.", reported)
    yield from _of_signatures(summary.signatures or "", ended)


def failure_reported(path: Path) -> datetime | None:
    """Read from the last pass's file when a failure was last reported; None if it was not."""
    try:
        found = _REPORTED.search(path.read_text(encoding="utf-8", errors="replace"))
        return datetime.fromtimestamp(float(found[1]), UTC) if found else None
    except (OSError, ValueError, OverflowError):
        return None


def write(path: Path, metrics: Iterator[Gauge]) -> None:
    """Replace a file with metrics, so that its reader sees it whole or not at all.

    Raise OSError if the file can't be written, or if the path is no regular file: as root, this
    would replace a device. A link is not followed, since its target may be any file. Between the
    check and the replacement, only a process that may write in the folder can change the path, and
    then nothing but an entry of that folder is replaced.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(exposition(metrics))
            os.fchmod(file.fileno(), _READABLE)  # the collector is another user
        _require_regular(path)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _require_regular(path: Path) -> None:
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _of_signatures(engine: str, now: datetime) -> Iterator[Gauge]:
    info = {engine: 1} if engine else {}
    yield gauges("signatures_info", "Engine and signatures in use.", "engine", info)
    found = _SIGNATURES.search(engine)
    age = now - datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None
    seconds = age.total_seconds() if age else None
    yield gauge("signatures_age_seconds", "Age of the daily signatures, to the day.", seconds)


def _by_name(values: dict[Status, int]) -> dict[str, float]:
    return {str(status): number for status, number in values.items()}
