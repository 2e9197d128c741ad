"""The heartbeat: its interval, its errors and its end."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

import pytest

from avscan.heartbeat import INTERVAL, Heartbeat

SOON = 10.0


def test_it_beats_repeatedly() -> None:
    beats = threading.Semaphore(0)
    with Heartbeat(beats.release, interval=0.01):
        for _ in range(3):
            assert beats.acquire(timeout=SOON)


def test_it_stops_with_its_context() -> None:
    threads: SimpleQueue[threading.Thread] = SimpleQueue()
    with Heartbeat(lambda: threads.put(threading.current_thread()), interval=0.01):
        thread = threads.get(timeout=SOON)
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
    threads: SimpleQueue[threading.Thread] = SimpleQueue()

    def beat() -> None:
        threads.put(threading.current_thread())
        message = "no network"
        raise RuntimeError(message)

    with Heartbeat(beat, interval=0.01):
        threads.get(timeout=SOON)
        thread = threads.get(timeout=SOON)
    thread.join(SOON)
    assert {record.message for record in caplog.records} == {"heartbeat.failed"}
    assert caplog.records[0].exc_info


def test_the_end_does_not_wait_for_a_hanging_beat() -> None:
    threads: SimpleQueue[threading.Thread] = SimpleQueue()
    end = threading.Event()

    def beat() -> None:
        threads.put(threading.current_thread())
        end.wait(SOON)

    with Heartbeat(beat, interval=0.01):
        thread = threads.get(timeout=SOON)
        started = time.monotonic()
    assert time.monotonic() - started < SOON / 2
    assert thread.daemon
    end.set()
    thread.join(SOON)


def test_several_beats_fit_into_the_shortest_stuck_after() -> None:
    assert INTERVAL * 2 <= 30
