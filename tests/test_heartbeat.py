"""The heartbeat: its interval, its errors and its end."""

from __future__ import annotations

import threading
import time

import pytest

from avscan.heartbeat import INTERVAL, Heartbeat

SOON = 10.0


def beating() -> threading.Thread:
    (thread,) = [each for each in threading.enumerate() if each.name == "heartbeat"]
    return thread


def test_it_beats_repeatedly() -> None:
    beats = threading.Semaphore(0)
    with Heartbeat(beats.release, interval=0.01):
        for _ in range(3):
            assert beats.acquire(timeout=SOON)


def test_it_stops_with_its_context() -> None:
    beats: list[float] = []
    with Heartbeat(lambda: beats.append(time.monotonic()), interval=0.01):
        thread = beating()
    thread.join(SOON)
    assert not thread.is_alive()


def test_it_does_not_beat_before_its_interval() -> None:
    beats: list[bool] = []
    with Heartbeat(lambda: beats.append(True), interval=SOON):
        time.sleep(0.05)
    assert beats == []


def test_a_failed_beat_is_logged_and_the_next_one_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    beats = threading.Semaphore(0)

    def beat() -> None:
        beats.release()
        message = "no network"
        raise RuntimeError(message)

    with Heartbeat(beat, interval=0.01):
        thread = beating()
        assert beats.acquire(timeout=SOON)
        assert beats.acquire(timeout=SOON)
    thread.join(SOON)
    assert {record.message for record in caplog.records} == {"heartbeat.failed"}
    assert caplog.records[0].exc_info


def test_the_end_does_not_wait_for_a_hanging_beat() -> None:
    begun, end = threading.Event(), threading.Event()

    def beat() -> None:
        begun.set()
        end.wait(SOON)

    with Heartbeat(beat, interval=0.01):
        thread = beating()
        assert begun.wait(SOON)
        started = time.monotonic()
    assert time.monotonic() - started < SOON / 2
    assert thread.daemon
    end.set()
    thread.join(SOON)


def test_several_beats_fit_into_the_shortest_stuck_after() -> None:
    assert INTERVAL * 2 <= 30
