"""The status report as text, JSON and metrics, and the history of a build."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.backend import REPOSITORY

from avscan.backend.sections import RULE
from avscan.ops import metrics, views
from avscan.ops.report import Criterion, Delays, Event, Late, Report, State, Waiting
from avscan.ops.terminal import Style, width
from avscan.records import Check, Status
from avscan.summary import Summary
from avscan.text import printable

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PLAIN, COLOUR = Style(colour=False), Style(colour=True)
LONG = "a_name_that_goes_on_and_on_" * 9
HOSTILE = "\x1b]0;owned\x07\x1b[2J\n"

QUIET = Report(
    time=NOON,
    window=timedelta(days=1),
    criteria=(
        Criterion(name="in_time_ratio", kept=True, figure=1.0, bound=1.0, detail="53 of 53 builds"),
        Criterion(
            name="oldest_pending_seconds",
            kept=True,
            figure=12.0,
            bound=600.0,
            detail="0 of 1 pending",
        ),
        Criterion(name="error_ratio", kept=True, figure=0.0, bound=0.01, detail="0 of 60 verdicts"),
    ),
    checks={Status.PENDING: 1, Status.SCANNING: 0, Status.CLEAN: 5210},
    waiting=(Waiting(build="b" * 15, state=State.PENDING, seconds=12.0),),
    stuck=(),
    delays=Delays(count=53, median_seconds=41.0, p95_seconds=130.0, max_seconds=291.0),
    late=(),
    verdicts={Status.CLEAN: 60, Status.INFECTED: 0, Status.ERROR: 0},
    detections=(),
    errors=(),
    engine="ClamAV 1.4.6, signatures 27800 of 2026-04-30",
    last_verdict=NOON - timedelta(minutes=3),
)
EVENTFUL = replace(
    QUIET,
    criteria=(replace(QUIET.criteria[0], kept=False, figure=0.9999), *QUIET.criteria[1:]),
    waiting=tuple(
        Waiting(build=f"{number:015}", state=State.UNCHECKED, seconds=9000.0 - number)
        for number in range(23)
    ),
    stuck=(Waiting(build="s" * 15, state=State.SCANNING, seconds=400.0),),
    late=(Late(build="l" * 15, seconds=9000.0), Late(build="m" * 15, seconds=400.0)),
    detections=(
        Event(build="i" * 15, time=NOON, reason="r", file=LONG + HOSTILE, virus=HOSTILE + LONG),
    ),
    errors=(Event(build="e" * 15, time=NOON, reason=LONG + HOSTILE),),
)


def lines(report: Report, *, max_width: int = 80, style: Style = PLAIN) -> list[str]:
    return list(views.as_text(report, max_width=max_width, style=style))


def test_the_report_of_a_quiet_day() -> None:
    assert lines(QUIET) == [
        "2026-05-01 12:00:00 UTC, the last 24 h",
        "",
        "kept  verdict within 5 min of the upload  100.0 %  53 of 53 builds",
        "kept  none pending for over 10 min        12 s     0 of 1 pending",
        "kept  at most 1 % of scans failed         0.0 %    0 of 60 verdicts",
        "",
        "Checks        1 pending, 0 scanning, 5210 clean",
        "Verdicts      60 clean, 0 infected, 0 error",
        "Delay         median 41 s, 95th percentile 2 min 10 s, worst 4 min 51 s",
        "Oldest        pending 12 s",
        "Signatures    ClamAV 1.4.6, signatures 27800 of 2026-04-30",
        "Last verdict  3 min ago",
        "",
        "Waiting (1)",
        "  BUILD            STATE    FOR",
        "  bbbbbbbbbbbbbbb  pending  12 s",
    ]


@pytest.mark.parametrize(
    ("window", "shown"),
    [
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=90), "1 h 30 min"),
        (timedelta(hours=48), "48 h"),
        (timedelta(days=30), "30 d"),
    ],
)
def test_the_window_is_shown_in_readable_units(window: timedelta, shown: str) -> None:
    first, *_ = lines(replace(QUIET, window=window))
    assert first == f"2026-05-01 12:00:00 UTC, the last {shown}"


@pytest.mark.parametrize("max_width", [40, 80, 200])
@pytest.mark.parametrize("report", [QUIET, EVENTFUL])
def test_no_line_is_wider_than_the_screen(report: Report, max_width: int) -> None:
    assert max(map(width, lines(report, max_width=max_width))) <= max_width


def test_an_id_is_never_cut() -> None:
    shown = "\n".join(lines(EVENTFUL, max_width=40))
    assert all(each * 15 in shown for each in "0silme")


def test_a_broken_criterion_stands_out_and_its_figure_is_not_rounded_to_the_bound() -> None:
    (line,) = [line for line in lines(EVENTFUL) if line.startswith("BROKEN")]
    assert "under 100.0 %" in line
    (coloured,) = [line for line in lines(EVENTFUL, style=COLOUR) if "BROKEN" in line]
    assert coloured.startswith("\033[31;1mBROKEN\033[0m")


def test_a_long_list_ends_with_the_number_of_further_rows() -> None:
    assert "  and 13 more: see --format json" in lines(EVENTFUL)


def test_errors_are_counted_by_cause_and_their_details_named() -> None:
    shown = lines(EVENTFUL)
    assert "Errors        1 of unknown cause" in shown
    assert shown[-1] == "`avscan history BUILD` prints a build's whole log."


def test_a_reason_is_wrapped_and_not_cut_at_its_end() -> None:
    reason = "game_1a2b3c4d5e.tar.gz: cannot be scanned whole: gzip: it is cut short"
    failed = Event(build="e" * 15, time=NOON, reason=reason)
    title = "Errors (1)"
    shown = lines(replace(QUIET, errors=(failed,)))
    assert shown[shown.index(title) + 1 :][:3] == [
        "  UTC          BUILD            REASON",
        "  05-01 12:00  eeeeeeeeeeeeeee  game_1a2b3c4d5e.tar.gz: cannot be scanned whole:",
        "                                gzip: it is cut short",
    ]


def test_names_are_escaped() -> None:
    assert all(line.isprintable() for line in lines(EVENTFUL, max_width=500))
    shown = views.history("b" * 15, [check(f"clean: x{HOSTILE}\nclean  {HOSTILE}")], style=PLAIN)
    assert all(line.isprintable() for line in shown)


def test_json_has_the_whole_report_under_stable_names() -> None:
    value = json.loads(views.as_json(EVENTFUL))
    assert list(value) == [
        *("time", "kept", "criteria", "checks", "oldest_pending_seconds"),
        *("oldest_scanning_seconds", "waiting", "stuck", "window_seconds", "verdicts", "delay"),
        *("late", "detections", "errors", "engine", "last_verdict"),
    ]
    assert value["time"] == "2026-05-01T12:00:00.000Z"
    assert value["kept"] is False
    assert value["criteria"][0] == {
        "name": "in_time_ratio",
        "kept": False,
        "figure": 0.9999,
        "bound": 1.0,
        "detail": "53 of 53 builds",
    }
    assert len(value["waiting"]) == 23
    assert value["waiting"][0] == {
        "build": "0" * 15,
        "state": "unchecked",
        "seconds": 9000.0,
        "again": False,
    }
    assert value["delay"] == {
        "count": 53,
        "median_seconds": 41.0,
        "p95_seconds": 130.0,
        "max_seconds": 291.0,
    }
    assert value["late"][0] == {"build": "l" * 15, "seconds": 9000.0, "verdict": None}
    assert value["detections"][0]["virus"] == HOSTILE + LONG
    assert value["errors"][0].keys() == {"build", "cause", "reason", "time"}


def test_every_criterion_is_a_metric_of_the_same_name() -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families("".join(metrics.of_report(EVENTFUL)))
    }
    kept = {
        sample.labels["criterion"]: sample.value
        for sample in families["avscan_criterion_kept"].samples
    }
    assert kept == {criterion.name: criterion.kept for criterion in EVENTFUL.criteria}
    for criterion in EVENTFUL.criteria:
        (sample,) = families[f"avscan_{criterion.name}"].samples
        assert sample.value == criterion.figure
    (detection,) = families["avscan_detections"].samples
    assert detection.labels == {"virus": printable(HOSTILE + LONG)}
    (age,) = families["avscan_signatures_age_seconds"].samples
    assert age.value == 36 * 3600


def test_the_docs_have_a_row_for_each_metric() -> None:
    now = datetime.now(UTC)
    summary = Summary(signatures=QUIET.engine)
    of_pass = metrics.of_pass(summary, exit_code=6, ended=now, seconds=1.0, failure_reported=now)
    names = set(re.findall(r"# TYPE (\w+)", "".join((*metrics.of_report(EVENTFUL), *of_pass))))
    page = (REPOSITORY / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `avscan_")]
    assert {name for row in rows for name in re.findall(r"`(avscan_\w+)", row)} == names


# -- history --------------------------------------------------------------------------------------


def check(log: str, status: Status | None = Status.CLEAN) -> Check:
    return Check(
        id="c" * 15,
        build="b" * 15,
        status=status,
        virus_name="",
        scan_time=NOON,
        log=log,
        created=NOON,
        updated=NOON,
    )


@pytest.mark.parametrize(
    ("log", "status", "shown"),
    [
        ("clean: no threats found", Status.CLEAN, "clean"),
        ("infected: Worm in a.exe", Status.CLEAN, "clean, given by hand"),
        ("", Status.CLEAN, "clean, given by hand"),
        ("File: game.tar.gz\nno threats", Status.CLEAN, "clean, given by av-service"),
        ("", Status.PENDING, "pending"),  # created by a hook
    ],
)
def test_a_history_shows_the_author_of_a_verdict(log: str, status: Status, shown: str) -> None:
    first = next(views.history("b" * 15, [check(log, status)], style=PLAIN))
    assert first.endswith(f": {shown}")


def test_a_history_has_all_verdicts_newest_first() -> None:
    log = f'clean: {{"reason": "nothing found", "files": "1"}}\n{RULE}\ninfected: Eicar\nfiles: 2'
    assert list(views.history("b" * 15, [check(log)], style=PLAIN)) == [
        f"build {'b' * 15}, check {'c' * 15}: clean",
        "",
        "clean: nothing found",
        "  files: 1",
        "",
        "infected: Eicar",
        "  files: 2",
    ]


def test_a_check_with_an_unknown_status_and_no_log_is_shown() -> None:
    assert list(views.history("b", [check("", status=None)], style=COLOUR)) == [
        f"build b, check {'c' * 15}: a status unknown to avscan",
        "",
        "(no log)",
    ]
