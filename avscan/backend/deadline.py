"""Deadlines that do not depend on the server's behaviour."""

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

# The current thread's deadline, by `time.monotonic`.
_DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Set a deadline in so many seconds for the block; of nested deadlines the earliest counts."""
    token = _DEADLINE.set(min(_DEADLINE.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def time_left() -> float:
    """Return the seconds until the deadline: infinite without one, negative after it."""
    return _DEADLINE.get() - time.monotonic()


def run_within(seconds: float, work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own and return its result, or raise its exception.

    A socket's timeout restarts with each byte, and the resolution of a name has none. Work that
    exceeds the time continues in its daemon thread.

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
