"""Work in daemon threads, and deadlines that do not depend on the server's behaviour."""

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
from typing import Protocol, TypeVar

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


class _Worker:
    """A thread that does one piece of work after another, and is in `_idle` between them."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name="worker", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.tasks.get()()
            _idle.append(self)


_idle: deque[_Worker] = deque()


def run_within(seconds: float, work: Callable[[], T]) -> T:
    """Run `work` in another thread and return its result, or raise its exception.

    A socket's timeout restarts with each byte, and the resolution of a name has none. Work that
    exceeds the time continues in its daemon thread.

    Raises:
        TimeoutError: the work did not end in time.

    """
    return start(work).result(seconds)


class Start(Protocol):
    """Starts work, as `start` does."""

    def __call__(self, work: Callable[[], T], /) -> Future[T]:
        """Start the work; return its outcome."""
        ...


def start(work: Callable[[], T]) -> Future[T]:
    """Run `work` in a daemon thread, without the current thread's deadline; return its outcome."""
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
    return outcome
