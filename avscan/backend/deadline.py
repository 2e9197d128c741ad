"""Deadlines that hold whatever the other side does."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
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


def run_within(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises, within so many seconds.

    A socket's timeout starts anew with each byte, and the look-up of a name has none. So a thread
    of its own does the work; what is late goes on there until the process ends.

    Raises:
        TimeoutError: the work did not end in time.

    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            outcome.set_exception(error)

    threading.Thread(target=run, name="request", daemon=True).start()
    return outcome.result(seconds)
