"""How SIGTERM and SIGINT end a command: in order if that can be, and soon in any case."""

from __future__ import annotations

import os
import signal
import sys
import threading
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
    disk, on whoever reads the log, or in a call that nothing cuts short, as the look-up of a name
    is: then a thread ends the process, and a later pass takes over from it as from one that was
    killed.
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
        # Python writes the number of each signal there, also while its handlers have to wait.
        self._heard, self._told = os.pipe()

    def listen(self) -> None:
        os.set_blocking(self._told, False)
        signal.set_wakeup_fd(self._told)
        threading.Thread(target=self._watch, name="stop", daemon=True).start()
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
            signal.set_wakeup_fd(-1)
            os.close(self._told)
        elif self._dropped:  # a moment ago: no alarm has told of it yet
            raise self._asked

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        self._asked = Interrupted(number)
        raise self._asked

    def on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked is not None and self._dropped:
            self._dropped = False
            raise self._asked

    def on_unraisable(self, unraisable: UnraisableHookArgs, /) -> None:
        if self._asked is None:
            sys.__unraisablehook__(unraisable)
        elif isinstance(unraisable.exc_value, Interrupted):
            self._dropped = True
        # Else it is what a cleanup that was cut off complains of, in the midst of the log.

    def _watch(self) -> None:
        """Wait for a signal that asks for the end, and then no longer than for that."""
        while numbers := os.read(self._heard, 64):
            asked = [number for number in numbers if number in _ENDING]
            if asked:
                time.sleep(LONGEST_END)
                os._exit(Interrupted(asked[0]).exit_code)  # no word: the log may be what hangs
        os.close(self._heard)


def check() -> None:
    """Placeholder"""
