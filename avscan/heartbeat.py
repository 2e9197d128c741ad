"""A heartbeat beside the work, so that long scans are told from abandoned ones."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

INTERVAL = 15.0


class Heartbeat:
    """Calls `beat` each `interval` seconds in a thread of its own, until the context ends."""

    def __init__(self, beat: Callable[[], None], *, interval: float = INTERVAL) -> None:
        self._beat = beat
        self._interval = interval
        self._stopped = threading.Event()
        # A daemon: a beat that hangs on the network must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Start beating."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop beating; a beat under way is not waited for."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self._beat()
            except Exception:
                log.exception("heartbeat.failed")
