"""The live output of a pass, rendered on a screen of 80 columns."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pyte
import pytest

from avscan.events import Downloading, Event, Scanned, Scanning, Settled, Unsettled
from avscan.findings import Examination
from avscan.ops.console import Console
from avscan.ops.terminal import Style
from avscan.records import Build, Status
from avscan.verdict import FileReport, Verdict

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LONG = "a_name_that_goes_on_and_on_" * 9


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Seen:
    """A console, and the screen that it writes to."""

    def __init__(self) -> None:
        self.stream = io.StringIO(newline="")
        self.clock = Clock()
        self.console = Console(
            self.stream, style=Style(colour=True), max_width=lambda: 80, clock=self.clock
        )

    def after(self, *events: Event) -> list[str]:
        for event in events:
            self.console(event)
        self.console.tick()
        return self.lines()

    def lines(self) -> list[str]:
        screen = pyte.Screen(80, 30)
        stream = pyte.Stream(screen)
        stream.feed(self.stream.getvalue().replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def scanning(file: str = "game.zip", size: int = 1_200_000_000) -> Scanning:
    return Scanning(build="b" * 15, file=file, size=size)


def downloading(received: int, file: str = "game.zip", size: int = 120_000_000) -> Downloading:
    return Downloading(build="b" * 15, file=file, received=received, size=size)


def settled(status: Status, reason: str) -> Settled:
    report = FileReport(name="f", examination=Examination(), size=1500)
    build = Build(id="b" * 15, files=("f",), created=NOON, updated=NOON)
    verdict = Verdict(status=status, reason=reason)
    return Settled(build=build, verdict=verdict, reports=(report,), at=NOON, known=False)


def test_without_a_build_the_progress_line_shows_the_search(seen: Seen) -> None:
    seen.clock.now = 3
    assert seen.after() == ["looking for builds, 3.0 s"]


def test_a_download_shows_its_progress(seen: Seen) -> None:
    assert seen.after(downloading(45_300_000)) == [
        "downloading game.zip, 45.3 MB of 120.0 MB, 37 %"
    ]


def test_a_scan_shows_its_duration_and_the_next_download(seen: Seen) -> None:
    seen.console(scanning())
    seen.clock.now = 130
    assert seen.after() == ["scanning game.zip (1.2 GB), 2 min 10 s"]
    assert seen.after(downloading(30_000_000)) == [
        "scanning game.zip (1.2 GB), 2 min 10 s; next file 25 %"
    ]


def test_between_two_scans_the_download_is_shown(seen: Seen) -> None:
    scanned = Scanned(build="b" * 15, file="game.zip")
    assert seen.after(downloading(30_000_000), scanning(), scanned) == [
        "downloading game.zip, 30.0 MB of 120.0 MB, 25 %"
    ]


def test_an_abandoned_download_is_not_shown(seen: Seen) -> None:
    *_, last = seen.after(
        downloading(30_000_000), Unsettled(build="b" * 15, reason="PocketBase failed")
    )
    assert last == "looking for builds, 0 s"


def test_a_long_file_name_is_cut_and_the_figures_are_not(seen: Seen) -> None:
    (line,) = seen.after(downloading(45_300_000, file=LONG))
    assert line.endswith("…, 45.3 MB of 120.0 MB, 37 %")
    assert len(line) <= 79
    (line,) = seen.after(scanning(file=LONG))
    assert line.endswith("… (1.2 GB), 0 s; next file 37 %")
    assert len(line) <= 79


def test_a_line_per_build_is_printed_above_the_progress_line(seen: Seen) -> None:
    assert seen.after(
        scanning(),
        Scanned(build="b" * 15, file="game.zip"),
        settled(Status.CLEAN, "nothing found in 1 file, 6 bytes"),
        Unsettled(build="c" * 15, reason="changed"),
    ) == [
        "clean     bbbbbbbbbbbbbbb  nothing found in 1 file, 6 bytes",
        "waits     ccccccccccccccc  changed",
        "looking for builds, 0 s",
    ]


def test_a_long_or_hostile_reason_is_cut_and_escaped(seen: Seen) -> None:
    seen.after(settled(Status.ERROR, f"\x1b[2J\x07{LONG}"))
    first, *_ = seen.lines()
    assert first.startswith("error     bbbbbbbbbbbbbbb  \\x1b[2J\\x07a_name")
    assert len(first) <= 80


def test_a_log_line_is_printed_above_the_progress_line(seen: Seen) -> None:
    seen.console(scanning())
    seen.console.tick()
    seen.console.line("warn  heartbeat.failed")
    assert seen.after() == ["warn  heartbeat.failed", "scanning game.zip (1.2 GB), 0 s"]


def test_a_pass_ends_with_a_table(seen: Seen) -> None:
    with seen.console:
        seen.after(settled(Status.CLEAN, "x"), settled(Status.CLEAN, "x"))
        seen.after(settled(Status.INFECTED, "x"))
        seen.clock.now = 42
    assert seen.lines()[3:] == [
        "          BUILDS  FILES  SIZE",
        "clean     2       2      3.0 kB",
        "infected  1       1      1.5 kB",
        "3 builds in 42 s",
        "`avscan history BUILD` prints a build's whole log.",
    ]


def test_a_pass_without_work_ends_with_one_line(seen: Seen) -> None:
    with seen.console:
        pass
    assert seen.lines() == ["no build waited for a scan (0 s)"]


def test_a_pass_that_fails_at_once_prints_no_table(seen: Seen) -> None:
    with pytest.raises(ZeroDivisionError), seen.console:
        raise ZeroDivisionError
    assert seen.lines() == []


def test_a_pass_that_fails_after_a_verdict_prints_the_table(seen: Seen) -> None:
    seen.console(settled(Status.CLEAN, "x"))
    with pytest.raises(ZeroDivisionError), seen.console:
        raise ZeroDivisionError
    assert seen.lines()[-1] == "1 build in 0 s"


def test_a_closed_terminal_does_not_end_the_pass(seen: Seen) -> None:
    seen.stream.close()
    with seen.console:
        seen.console(settled(Status.CLEAN, "x"))
        seen.console.tick()
