"""How SIGTERM and SIGINT end a command: in order if that can be, and soon in any case."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from avscan.errors import Interrupted

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

TICK = 1.0
"""Seconds from one look at what came to the next, at the most."""

LONGEST_END = 8.0
"""Seconds from a signal to the end of the process, at the most; Docker kills after ten."""

_ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first SIGTERM or SIGINT; ignore the others.

    Three things would have a signal come to nothing. Python runs a handler between two of its
    instructions, so one that comes just before a call that blocks waits for the call's end, which
    may be that of a scan: an alarm cuts each call short now and then (Python resumes it, PEP 475).
    Within a callback of the interpreter's (a weak reference's, of which each import has one, or
    `__del__`) Python drops what is raised: it is raised again. And what ends in order may hang, on a
    disk or on whoever reads the log: then the process just ends, and a later pass takes over from it
    as from one that was killed.
    """
    stop = _Stop()
    stop.listen()
    try:
        yield
    finally:
        stop.leave()


class _Stop:
    """Whether a signal has asked for the end, and whether that was heard."""

    def __init__(self) -> None:
        self._asked: Interrupted | None = None
        self._dropped = False
        self._latest = 0.0

    def listen(self) -> None:
        for each in _ENDING:
            signal.signal(each, self.on_signal)
        signal.signal(signal.SIGALRM, self.on_alarm)
        sys.unraisablehook = self.on_unraisable
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)

    def leave(self) -> None:
        """Have nothing raised any more: what is still to be done, nobody would catch it at."""
        signal.setitimer(signal.ITIMER_REAL, 0)  # Python takes its handler away in the end
        if self._asked is None:
            for each in _ENDING:
                signal.signal(each, signal.SIG_DFL)

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        self._latest = time.monotonic() + LONGEST_END
        self._asked = Interrupted(number)
        raise self._asked

    def on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked is None:
            return
        if time.monotonic() > self._latest:
            os._exit(self._asked.exit_code)  # without a word: the log may be what hangs
        if self._dropped:
            self._dropped = False
            raise self._asked

    def on_unraisable(self, unraisable: UnraisableHookArgs, /) -> None:
        if self._asked is None:
            sys.__unraisablehook__(unraisable)
        elif isinstance(unraisable.exc_value, Interrupted):
            self._dropped = True
        # Else it is what a cleanup that was cut off complains of, in the midst of the log.
