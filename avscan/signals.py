"""Handling of SIGTERM, SIGINT and SIGHUP: a graceful end, or a forced one after some seconds."""

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

GRACE_PERIOD = 8.0
"""Maximum seconds from a signal to the end of the process. Docker kills it after ten."""

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first signal; ignore further signals.

    Python runs handlers between bytecode instructions, so each blocking call needs a deadline.
    Python drops exceptions in `__del__` and in weak reference callbacks, which imports use. `check`
    raises a dropped one again: call it in each long loop. A signal that was ignored at the start, as
    by nohup(1), stays ignored.

    The graceful end may hang, for example on a disk or on the reader of the log. So a thread ends
    the process after `GRACE_PERIOD`, and the next pass recovers as from a killed pass.
    """
    _state.listen()
    try:
        yield
    except Exception:
        check()  # an error caused by the signal must not hide it
        raise
    finally:
        _state.restore()


def check() -> None:
    """Raise `Interrupted` if a signal was received. Do not call it during cleanup."""
    if _state.interrupted is not None:
        raise _state.interrupted


class _State:
    """The handled signals, and the interruption by the first one received."""

    def __init__(self) -> None:
        self.interrupted: Interrupted | None = None
        self._signals: list[signal.Signals] = []
        self._pipe = -1

    def listen(self) -> None:
        self.interrupted = None
        # Python writes the number of each signal to this pipe, even while no handler can run.
        reader, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        signal.set_wakeup_fd(self._pipe)
        threading.Thread(target=_force_exit, args=(reader,), name="stop", daemon=True).start()
        self._signals = [each for each in _ENDING if signal.getsignal(each) != signal.SIG_IGN]
        for each in self._signals:
            signal.signal(each, self._on_signal)

    def restore(self) -> None:
        """Restore the default handlers, since nothing would catch an exception from now on."""
        if self.interrupted is None:
            for each in self._signals:
                signal.signal(each, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            os.close(self._pipe)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        for each in self._signals:
            signal.signal(each, signal.SIG_IGN)
        # Python would print dropped exceptions into the log.
        sys.unraisablehook = lambda _: None
        self.interrupted = Interrupted(number)
        raise self.interrupted


_state = _State()  # global, as signal handlers are


def _force_exit(reader: int) -> None:
    """Wait for a signal, and end the process after `GRACE_PERIOD`."""
    while numbers := os.read(reader, 64):
        ending = [number for number in numbers if number in _ENDING]
        if ending:
            time.sleep(GRACE_PERIOD)
            os._exit(Interrupted(ending[0]).exit_code)  # without a log line: the log may hang
    os.close(reader)
