"""Deadlines that hold whatever the other side does."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

# The deadline of what the current thread does, by `time.monotonic`.
_DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Allow so many seconds for what is done inside; where nested, the earliest deadline counts."""
    token = _DEADLINE.set(min(_DEADLINE.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def time_left() -> float:
    """Return the seconds until the deadline; infinite where there is none, negative behind it."""
    return _DEADLINE.get() - time.monotonic()


class _Worker:
    """A thread that does one piece of work after another, and is in `_idle` between them."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name="request", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.tasks.get()()
            _idle.append(self)


_idle: deque[_Worker] = deque()


def run_within(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises, within so many seconds.

    A socket's timeout starts anew with each byte, and the look-up of a name has none. So another
    thread does the work; work that is late goes on there until the process ends.

    Raises:
        TimeoutError: the work did not end in time.

    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            outcome.set_exception(error)

    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.tasks.put(run)
    return outcome.result(seconds)
