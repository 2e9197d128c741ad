"""How SIGTERM, SIGINT and SIGHUP end a command: in order if possible, and within seconds always."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from avscan.errors import Interrupted

LONGEST_END = 8.0
"""Seconds from a signal to the end of the process, at most; Docker kills after ten."""

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first signal that ends; ignore the others.

    Python runs a handler between two of its instructions, so each call that blocks needs a
    deadline. Where Python drops what a handler raises (in a callback of a weak reference, which
    each import has, or in `__del__`), `check` raises it again: call it in each loop that lasts.
    A signal that was ignored when the command started, as by nohup(1), stays ignored.

    An end in order may still hang, for instance on a disk or on the reader of the log. So a thread
    ends the process after `LONGEST_END`; the next pass takes over from it as from a killed one.
    """
    _state.listen()
    try:
        yield
    except Exception:
        check()  # what the signal interrupted may fail with an error of its own, and hide it
        raise
    finally:
        _state.leave()


def check() -> None:
    """Raise `Interrupted` if a signal has come. Not for cleanup, which it would cut short."""
    if _state.interrupted is not None:
        raise _state.interrupted


class _State:
    """The signals that end this process, and the one that has come."""

    def __init__(self) -> None:
        self.interrupted: Interrupted | None = None
        self._signals: list[signal.Signals] = []
        self._pipe = -1

    def listen(self) -> None:
        self.interrupted = None
        # Python writes the number of each signal to this pipe, also while a handler has to wait.
        reader, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        signal.set_wakeup_fd(self._pipe)
        threading.Thread(target=_end_late, args=(reader,), name="stop", daemon=True).start()
        self._signals = [each for each in _ENDING if signal.getsignal(each) != signal.SIG_IGN]
        for each in self._signals:
            signal.signal(each, self._on_signal)

    def leave(self) -> None:
        """Let a signal end the process at once from now on, since nothing would catch an error."""
        if self.interrupted is None:
            for each in self._signals:
                signal.signal(each, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            os.close(self._pipe)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        for each in self._signals:
            signal.signal(each, signal.SIG_IGN)
        # What Python drops from here on, it would print in the midst of the log.
        sys.unraisablehook = lambda _: None
        self.interrupted = Interrupted(number)
        raise self.interrupted


_state = _State()  # one, since signals are the process's


def _end_late(reader: int) -> None:
    """Wait for a signal that ends, and end the process if it is still there long afterwards."""
    while numbers := os.read(reader, 64):
        ending = [number for number in numbers if number in _ENDING]
        if ending:
            time.sleep(LONGEST_END)
            os._exit(Interrupted(ending[0]).exit_code)  # without a log line: the log may hang
    os.close(reader)
