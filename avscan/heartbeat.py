"""A heartbeat in the background, so that other passes do not reclaim a long scan."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Self

log = logging.getLogger(__name__)

INTERVAL = 15.0


class Heartbeat:
    """A context manager that calls `beat` every `interval` seconds in a background thread."""

    def __init__(self, beat: Callable[[], None], *, interval: float = INTERVAL) -> None:
        self._beat = beat
        self._interval = interval
        self._stopped = threading.Event()
        # A daemon, so that a beat that hangs on the network does not block the process's exit.
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread, without waiting for a beat in progress."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self._beat()
            except Exception:
                log.exception("heartbeat.failed")
