"""Notifications of failed passes: at once, then hourly, by the time in the metrics file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.channel import Recorder

from avscan.errors import EngineError, Interrupted
from avscan.ops import metrics, watch
from avscan.ops.exposition import gauge
from avscan.ops.notify import Notifier
from avscan.ops.watch import Watch
from avscan.settings import Settings

BROKEN = EngineError("no signatures")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Replace all channels by a recorder."""
    found = Recorder(events=frozenset({"pass_failed"}))
    monkeypatch.setattr(watch, "CHANNELS", (lambda _settings: found,))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "avscan.prom"


def run(path: Path | None, error: BaseException | None = None) -> None:
    settings = {"POCKETBASE_URL": "http://localhost", "POCKETBASE_TOKEN": "token"}
    settings["METRICS_FILE"] = str(path or "")
    try:
        with Watch(Settings.parse(settings)):
            if error is not None:
                raise error
    except (EngineError, Interrupted, ZeroDivisionError):
        pass


def report_failure(path: Path, *, ago: timedelta) -> None:
    """Write the metrics of a pass that reported a failure some time ago."""
    at = (datetime.now(UTC) - ago).timestamp()
    metrics.write(path, [gauge(metrics.FAILURE_REPORTED, "When.", at)])


def test_repeated_failures_are_reported_once(path: Path, recorder: Recorder) -> None:
    for _ in range(3):
        run(path, BROKEN)
    assert recorder.delivered == ["pass_failed"]


@pytest.mark.parametrize(
    ("ago", "times"),
    [
        (timedelta(minutes=59), 0),
        (timedelta(minutes=61), 1),
        (timedelta(minutes=-5), 1),  # the clock was set back
    ],
)
def test_a_lasting_failure_is_reported_again_after_an_hour(
    path: Path, recorder: Recorder, *, ago: timedelta, times: int
) -> None:
    report_failure(path, ago=ago)
    run(path, BROKEN)
    assert len(recorder.delivered) == times


def test_a_failure_after_a_success_is_reported_at_once(path: Path, recorder: Recorder) -> None:
    for error, sent in ((BROKEN, 1), (None, 1), (BROKEN, 2)):
        run(path, error)
        assert recorder.delivered == ["pass_failed"] * sent


def test_an_interrupted_pass_neither_reports_nor_ends_a_failure(
    path: Path, recorder: Recorder
) -> None:
    for error, sent in ((Interrupted(15), 0), (BROKEN, 1), (Interrupted(15), 1), (BROKEN, 1)):
        run(path, error)
        assert recorder.delivered == ["pass_failed"] * sent


@pytest.mark.parametrize(
    ("error", "reason"),
    [(BROKEN, "no signatures"), (ZeroDivisionError("a secret"), "a bug; see the log")],
)
def test_a_report_has_the_reason_unless_it_is_a_bug(
    path: Path, recorder: Recorder, error: Exception, reason: str
) -> None:
    run(path, error)
    assert [message.values["reason"] for message in recorder.messages] == [reason]


@pytest.mark.parametrize(("error", "seconds"), [(BROKEN, 15.0), (Interrupted(15), 1.0)])
def test_after_a_signal_the_wait_for_notifications_is_short(
    error: BaseException, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Notifier, "close", lambda _self, *, within: waits.append(within))
    run(None, error)
    assert waits == [seconds]


def test_an_undelivered_report_is_sent_by_the_next_pass(path: Path, recorder: Recorder) -> None:
    recorder.failure = "answered 500"
    run(path, BROKEN)
    recorder.failure = None
    run(path, BROKEN)
    run(path, BROKEN)
    assert recorder.delivered == ["pass_failed"] * 2


def test_without_a_metrics_file_every_failed_pass_is_reported(recorder: Recorder) -> None:
    run(None, BROKEN)
    run(None, BROKEN)
    assert recorder.delivered == ["pass_failed"] * 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"avscan_pass_failure_reported_timestamp_seconds soon\n",
        b"avscan_pass_failure_reported_timestamp_seconds 1e999\n",
        b"avscan_pass_failure_reported_timestamp_seconds nan\n",
        b"\xff\x00",
    ],
)
def test_an_unreadable_metrics_file_does_not_suppress_a_report(
    path: Path, recorder: Recorder, content: bytes
) -> None:
    path.write_bytes(content)
    run(path, BROKEN)
    assert recorder.delivered == ["pass_failed"]
    assert metrics.failure_reported(path) is not None


def test_a_failure_that_no_channel_delivers_is_not_recorded_as_reported(
    path: Path, recorder: Recorder
) -> None:
    recorder.events = frozenset({"infected"})
    run(path, BROKEN)
    assert recorder.delivered == []
    assert metrics.failure_reported(path) is None
