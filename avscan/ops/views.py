"""The output of `avscan status` and `avscan history`: text and JSON.

The JSON is an interface: existing names and units do not change. That includes the names of the
fields of `Criterion`, `Waiting`, `Delays` and `Late`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
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
    value = {
        "time": report.time,
        "kept": report.kept,
        "criteria": [asdict(each) for each in report.criteria],
        "checks": report.checks,
        "oldest_pending_seconds": report.oldest_pending,
        "oldest_scanning_seconds": report.oldest_scanning,
        "waiting": [asdict(each) for each in report.waiting],
        "stuck": [{"build": each.build, "silent_seconds": each.seconds} for each in report.stuck],
        "window_seconds": report.window.total_seconds(),
        "verdicts": report.verdicts,
        "delay": asdict(report.delays),
        "late": [asdict(each) for each in report.late],
        "detections": [
            _fields(each, "build", "file", "virus", "time") for each in report.detections
        ],
        "errors": [_fields(each, "build", "cause", "reason", "time") for each in report.errors],
        "engine": report.engine or None,
        "last_verdict": report.last_verdict,
    }
    return json.dumps(value, indent=2, default=rfc3339)


def _fields(event: Event, *names: str) -> dict[str, object]:
    return {name: getattr(event, name) for name in names}


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
    found = [
        (_clock(each.time), each.build, each.file or "-", each.virus or "-")
        for each in report.detections
    ]
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
        shown = style(status, *COLOURS[check.status]) + (f", {by}" if by else "")
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
    yield "Checks", _counts(report.checks)
    yield "Verdicts", _counts(report.verdicts)
    if report.errors:
        yield "Errors", _counts(Counter(_CAUSES[each.cause] for each in report.errors))
    delays = report.delays
    delay = _durations(
        {
            "median": delays.median_seconds,
            "95th percentile": delays.p95_seconds,
            "worst": delays.max_seconds,
        }
    )
    yield "Delay", delay or "no build was uploaded and got its verdict"
    pending, scanning = report.oldest_pending or None, report.oldest_scanning or None
    yield "Oldest", _durations({"pending": pending, "scanning": scanning}) or "nothing waits"
    yield "Signatures", report.engine or "unknown: there is no verdict yet"
    last = report.last_verdict
    ago = f"{format_duration((report.time - last).total_seconds())} ago" if last else "never"
    yield "Last verdict", ago


def _counts(counts: Mapping[str, int] | Mapping[Status, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def _durations(seconds: Mapping[str, float | None]) -> str:
    """Format those durations that are not None, each after its name."""
    return ", ".join(
        f"{name} {format_duration(each)}" for name, each in seconds.items() if each is not None
    )


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
    return style(status, *COLOURS[known]) + colon + rest


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%m-%d %H:%M}"
