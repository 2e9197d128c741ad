"""The output of `avscan status` and `avscan history`: text and JSON.

The JSON is an interface: existing names and units do not change.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from textwrap import wrap

from avscan.backend import journal
from avscan.backend.sections import sections
from avscan.ops.report import Criterion, Event, Report
from avscan.ops.terminal import (
    BOLD,
    COLOURS,
    DIM,
    GREEN,
    RED,
    Style,
    cut,
    format_duration,
    format_table,
)
from avscan.records import Check, Status
from avscan.text import printable, rfc3339
from avscan.verdict import Cause

_MAX_HOURS = 48  # a longer window is shown in days
ROWS = 10  # the maximum for each list; JSON has all rows
REASON_LINES = 3

_CAUSES = {
    Cause.CONTENT: "of content that can't be inspected",
    Cause.MISSING: "of missing files",
    Cause.SCAN: "of failed scans",
    None: "of unknown cause",
}
_WORDS = {
    "in_time_ratio": "verdict within 5 min of the upload",
    "oldest_pending_seconds": "none pending for over 10 min",
    "error_ratio": "at most 1 % of scans failed",
}


def as_json(report: Report) -> str:
    """Format a report as JSON: times in RFC 3339, durations in seconds, ratios from 0 to 1."""
    delays = report.delays
    value = {
        "time": rfc3339(report.time),
        "kept": report.kept,
        "criteria": [
            {
                "name": criterion.name,
                "kept": criterion.kept,
                "figure": criterion.figure,
                "bound": criterion.bound,
                "detail": criterion.detail,
            }
            for criterion in report.criteria
        ],
        "checks": report.checks,
        "oldest_pending_seconds": report.oldest_pending,
        "oldest_scanning_seconds": report.oldest_scanning,
        "waiting": [
            {"build": each.build, "state": each.state, "seconds": each.seconds, "again": each.again}
            for each in report.waiting
        ],
        "stuck": [{"build": each.build, "silent_seconds": each.seconds} for each in report.stuck],
        "window_seconds": report.window.total_seconds(),
        "verdicts": report.verdicts,
        "delay": {
            "count": delays.count,
            "median_seconds": delays.median,
            "p95_seconds": delays.p95,
            "max_seconds": delays.worst,
        },
        "late": [
            {"build": each.build, "seconds": each.seconds, "verdict": each.verdict}
            for each in report.late
        ],
        "detections": [
            {
                "build": each.build,
                "file": each.file,
                "virus": each.virus,
                "time": rfc3339(each.time),
            }
            for each in report.detections
        ],
        "errors": [
            {
                "build": each.build,
                "cause": each.cause,
                "reason": each.reason,
                "time": rfc3339(each.time),
            }
            for each in report.errors
        ],
        "engine": report.engine or None,
        "last_verdict": rfc3339(report.last_verdict) if report.last_verdict else None,
    }
    return json.dumps(value, indent=2)


def as_text(report: Report, *, max_width: int, style: Style) -> Iterator[str]:
    """Yield a report as lines of at most `max_width` columns."""
    hours, rest = divmod(report.window.total_seconds(), 3600)
    in_hours = not rest and hours <= _MAX_HOURS
    window = f"{hours:.0f} h" if in_hours else format_duration(report.window.total_seconds())
    yield cut(f"{report.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, the last {window}", max_width)
    yield ""
    yield from _criteria(report.criteria, max_width, style)
    yield ""
    for name, text in _facts(report):
        yield cut(f"{name:13} {text}", max_width)
    waiting = [(each.build, each.state, format_duration(each.seconds)) for each in report.waiting]
    yield from _listed("Waiting", ("BUILD", "STATE", "FOR"), waiting, max_width, style)
    stuck = [(each.build, format_duration(each.seconds)) for each in report.stuck]
    yield from _listed("Stuck", ("BUILD", "NO HEARTBEAT FOR"), stuck, max_width, style)
    late = [
        (each.build, each.verdict or "none yet", format_duration(each.seconds))
        for each in report.late
    ]
    yield from _listed("Late", ("BUILD", "VERDICT", "AFTER"), late, max_width, style)
    found = [_detection(each) for each in report.detections]
    yield from _listed("Infected", ("UTC", "BUILD", "FILE", "VIRUS"), found, max_width, style)
    failed = [(_clock(each.time), each.build, each.reason) for each in report.errors]
    yield from _listed("Errors", ("UTC", "BUILD", "REASON"), failed, max_width, style)
    if found or failed:
        yield ""
        yield cut("`avscan history BUILD` prints a build's whole log.", max_width)


def history(build: str, checks: Sequence[Check], *, style: Style) -> Iterator[str]:
    """Yield all checks of a build with their complete logs, newest first."""
    for check in checks:
        status = str(check.status or "a status unknown to avscan")
        by = journal.author(check.log, check.status) if check.status and check.settled else ""
        shown = style(status, *_colours(check.status)) + (f", {by}" if by else "")
        yield f"build {build}, check {check.id}: {shown}"
        for section in sections(check.log):
            yield ""
            head, *rest = journal.lines_of(section or "(no log)")
            yield _coloured(printable(head), style)
            yield from (f"  {printable(line)}" for line in rest)


def _criteria(criteria: Sequence[Criterion], max_width: int, style: Style) -> Iterator[str]:
    rows = [
        ("kept" if each.kept else "BROKEN", _WORDS[each.name], figure(each), each.detail)
        for each in criteria
    ]
    for line, criterion in zip(format_table(rows, max_width), criteria, strict=True):
        word = "kept" if criterion.kept else "BROKEN"
        colours = (GREEN,) if criterion.kept else (RED, BOLD)
        yield style(word, *colours) + line.removeprefix(word)


def figure(criterion: Criterion) -> str:
    """Format a criterion's figure. A ratio that rounds to the bound gets `under` or `over`."""
    if criterion.name.endswith("_seconds"):
        return format_duration(criterion.figure)
    text, bound = f"{criterion.figure:.1%}", f"{criterion.bound:.1%}"
    close = text == bound and criterion.figure != criterion.bound
    nearly = ("under " if criterion.figure < criterion.bound else "over ") if close else ""
    return nearly + text.replace("%", " %")


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "Checks", ", ".join(f"{number} {name}" for name, number in report.checks.items())
    yield "Verdicts", ", ".join(f"{number} {name}" for name, number in report.verdicts.items())
    if report.errors:
        causes = Counter(_CAUSES[each.cause] for each in report.errors)
        yield "Errors", ", ".join(f"{number} {name}" for name, number in causes.items())
    delays = report.delays
    if delays.median is None or delays.p95 is None or delays.worst is None:
        yield "Delay", "no build was uploaded and got its verdict"
    else:
        yield (
            "Delay",
            ", ".join(
                f"{name} {format_duration(seconds)}"
                for name, seconds in (
                    ("median", delays.median),
                    ("95th percentile", delays.p95),
                    ("worst", delays.worst),
                )
            ),
        )
    oldest = [
        f"{name} {format_duration(seconds)}"
        for name, seconds in (
            ("pending", report.oldest_pending),
            ("scanning", report.oldest_scanning),
        )
        if seconds
    ]
    yield "Oldest", ", ".join(oldest) or "nothing waits"
    yield "Signatures", report.engine or "unknown: there is no verdict yet"
    last = report.last_verdict
    ago = f"{format_duration((report.time - last).total_seconds())} ago" if last else "never"
    yield "Last verdict", ago


def _detection(event: Event) -> tuple[str, ...]:
    return _clock(event.time), event.build, event.file or "-", event.virus or "-"


def _listed(
    title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], max_width: int, style: Style
) -> Iterator[str]:
    """Yield a titled table, or nothing if there are no rows."""
    if not rows:
        return
    yield ""
    shown = [line for row in rows[:ROWS] for line in _wrapped(row, head, max_width - 2)]
    first, *others = format_table([head, *shown], max_width - 2, whole=(head.index("BUILD"),))
    yield f"{style(title, BOLD)} ({len(rows)})"
    yield from (f"  {line}" for line in (style(first, DIM), *others))
    if len(rows) > ROWS:
        yield f"  and {len(rows) - ROWS} more: see --format json"


def _wrapped(
    row: tuple[str, ...], head: tuple[str, ...], max_width: int
) -> Iterator[tuple[str, ...]]:
    """Yield a row, with a reason on up to `REASON_LINES` lines: its end says what is wrong."""
    *cells, last = row
    if head[-1] != "REASON":
        yield row
        return
    room = max(20, max_width - sum(len(cell) + 2 for cell in cells))
    for line in wrap(printable(last), room, max_lines=REASON_LINES, placeholder="…") or [""]:
        yield (*cells, line)
        cells = [""] * len(cells)


def _coloured(line: str, style: Style) -> str:
    """Colour the status at the start of a log section."""
    status, colon, rest = line.partition(":")
    known = Status(status) if status in set(Status) else None
    return style(status, *_colours(known)) + colon + rest


def _colours(status: Status | None) -> tuple[str, ...]:
    return COLOURS[status] if status else ()


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%m-%d %H:%M}"
