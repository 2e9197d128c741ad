"""Prometheus metrics of a status report and of a pass, and the metrics file of a pass."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from avscan.ops.exposition import PREFIX, gauge, gauges
from avscan.ops.report import Report, State
from avscan.summary import Summary
from avscan.text import printable
from avscan.verdict import Cause

# Matches the date in `str(EngineVersion)`.
_SIGNATURES = re.compile(r"signatures \d+ of (\d{4}-\d{2}-\d{2})\b")
_READABLE = 0o644
_CRITERIA = {
    "in_time_ratio": "Share of the window's builds judged within 5 minutes of their upload.",
    "oldest_pending_seconds": "Seconds since the oldest build began to wait for a scan (at most 600).",
    "error_ratio": "Share of the window's verdicts with a failed scan (at most 0.01).",
}
FAILURE_REPORTED = "pass_failure_reported_timestamp_seconds"
_REPORTED = re.compile(rf"^{PREFIX}{FAILURE_REPORTED} (\S+)$", re.MULTILINE)


def of_report(report: Report) -> Iterator[str]:
    """Yield the metrics of a status report."""
    states = Counter(each.state for each in report.waiting)
    viruses = Counter(printable(each.virus) for each in report.detections)
    yield gauges(
        "criterion_kept",
        "Whether a criterion is kept (1) or broken (0); its figure is the metric of that name.",
        "criterion",
        {criterion.name: int(criterion.kept) for criterion in report.criteria},
    )
    for criterion in report.criteria:
        yield gauge(criterion.name, _CRITERIA[criterion.name], criterion.figure)
    yield gauges("checks", "Checks by status.", "status", report.checks)
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
    yield gauges("verdicts", "Verdicts of the window.", "status", report.verdicts)
    causes = Counter(each.cause for each in report.errors)
    yield gauges(
        "errors",
        "Errors of the window; the cause is 'scan' if avscan failed.",
        "cause",
        {cause or "unknown": causes[cause] for cause in (*Cause, None)},
    )
    yield gauge("late_builds", "Builds whose verdict is or was late.", len(report.late))
    delays = report.delays
    yield gauge("verdict_delays", "Verdicts of the window that were timed.", delays.count)
    what = "of the seconds from upload to verdict."
    yield gauge("verdict_delay_median_seconds", f"Median {what}", delays.median_seconds)
    yield gauge("verdict_delay_p95_seconds", f"95th percentile {what}", delays.p95_seconds)
    yield gauge("verdict_delay_max_seconds", f"Longest {what}", delays.max_seconds)
    yield gauges("detections", "Infected builds of the window.", "virus", viruses)
    last = report.last_verdict.timestamp() if report.last_verdict else None
    yield gauge("last_verdict_timestamp_seconds", "Time of the last verdict.", last)
    yield from _of_signatures(report.engine, report.time)


def of_pass(
    summary: Summary,
    *,
    exit_code: int,
    ended: datetime,
    seconds: float,
    failure_reported: datetime | None = None,
) -> Iterator[str]:
    """Yield the metrics of a pass that ended with this exit code.

    `failure_reported` is the time of the last notification of failing passes, None if the pass
    succeeded or none was sent.
    """
    yield gauge("pass_timestamp_seconds", "Time when the last pass ended.", ended.timestamp())
    yield gauge("pass_duration_seconds", "Duration of the last pass.", round(seconds, 3))
    yield gauge("pass_exit_code", "Exit code of the last pass.", exit_code)
    yield gauge(
        "pass_success", "Whether the last pass succeeded (1) or failed (0).", int(exit_code == 0)
    )
    verdicts = {"clean": summary.clean, "infected": summary.infected, "error": summary.errors}
    yield gauges("pass_verdicts", "Verdicts of the last pass.", "status", verdicts)
    actions = ("discovered", "reopened", "reclaimed", "removed", "renewed")
    yield gauges(
        "pass_checks",
        "Builds that the last pass discovered; checks that it reopened, reclaimed, removed or renewed.",
        "action",
        {action: getattr(summary, action) for action in actions},
    )
    yield gauge(
        "pass_postponed_builds", "Builds that the last pass left to a later one.", summary.failed
    )
    yield gauge("pass_files", "Files that the last pass scanned.", summary.files)
    yield gauge("pass_scanned_bytes", "Bytes that the last pass scanned.", summary.bytes)
    yield gauge("pass_requests", "Requests of the last pass to PocketBase.", summary.requests)
    reported = failure_reported.timestamp() if failure_reported else None
    yield gauge(FAILURE_REPORTED, "Time of the last notification of failing passes.", reported)
    yield from _of_signatures(summary.signatures or "", ended)


def failure_reported(path: Path) -> datetime | None:
    """Return the time of the last failure notification from a metrics file, or None."""
    try:
        found = _REPORTED.search(path.read_text(encoding="utf-8", errors="replace"))
        return datetime.fromtimestamp(float(found[1]), UTC) if found else None
    except (OSError, ValueError, OverflowError):
        return None


def write(path: Path, metrics: Iterable[str]) -> None:
    """Write metrics to a file, which is replaced atomically.

    The settings refuse a path of a link or a device. One that is made later, by a user who can
    write to the folder, is replaced itself: nothing outside of that folder changes.

    Raises:
        OSError: the file can't be written.

    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(metrics)
            os.fchmod(file.fileno(), _READABLE)  # node_exporter runs as another user
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _of_signatures(engine: str, now: datetime) -> Iterator[str]:
    info = {engine: 1} if engine else {}
    yield gauges("signatures_info", "Engine and signatures in use.", "engine", info)
    if found := _SIGNATURES.search(engine):
        age = now - datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
        text = "Age of the daily signatures, to the day."
        yield gauge("signatures_age_seconds", text, age.total_seconds())
