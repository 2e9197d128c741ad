"""The inspectors of a pass: at most two, started when there is something to scan.

One examines artifacts, one after another. While it is paused during a slow artifact, a second one
examines the artifacts that wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from avscan.clamav import program, signatures
from avscan.clamav.transcript import EngineVersion
from avscan.errors import EngineError
from avscan.inspector import confine
from avscan.inspector.process import Engine, Inspector

log = logging.getLogger(__name__)

RENEW_AFTER = 1800.0
"""Seconds after which an inspector is replaced before the next artifact, to use new signatures."""


class Scanner:
    """A pass's inspectors. Not for use by several threads.

    `folder` makes a new private folder. `server_time` is the clock for the signatures' age, and `most`
    the maximum of that age (0: any).
    """

    def __init__(
        self,
        *,
        clamscan: str,
        database: Path,
        canary: Path | None,
        most: timedelta,
        folder: Callable[[], Path],
        server_time: Callable[[], datetime],
        start: Callable[[Engine, Path], Inspector] = Inspector,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clamscan = clamscan
        self._database = database
        self._canary = canary
        self._most = most
        self._folder = folder
        self._server_time = server_time
        self._start_inspector = start
        self._clock = clock
        self._version: EngineVersion | None = None
        self._inspectors: list[Inspector] = []
        self._paused: Inspector | None = None

    @property
    def is_paused(self) -> bool:
        """Whether an inspector is paused: no second one may be."""
        return self._paused is not None

    def version(self) -> str:
        """Return the version of clamscan and its signatures, as the last inspector has loaded them.

        Raises:
            EngineError: clamscan does not work, or there are no signatures yet, or the official
                ones are too old.

        """
        if self._version is None:
            signatures.require(self._database)
            version = program.version(self._clamscan, self._database)
            now = self._server_time()
            signatures.require_fresh(version, now=now, most=self._most)
            if self._most and signatures.age(version, now) is None:
                log.warning("signatures.of_unknown_age", extra={"engine": str(version)})
            self._version = version
        return str(self._version)

    def warm_up(self) -> None:
        """Start an inspector, if there is none, without waiting for its clamscan.

        Raises:
            EngineError: it cannot be started.

        """
        if not self._inspectors:
            self._start()

    def inspector(self, tick: Callable[[], object]) -> Inspector:
        """Return an inspector that is ready and idle; `tick` is called each second of waiting.

        Raises:
            EngineError: clamscan does not work.

        """
        idle = [each for each in self._inspectors if each is not self._paused]
        if idle and self._clock() - idle[0].started > RENEW_AFTER:
            self.discard(idle.pop(0))
        found = idle[0] if idle else self._start()
        try:
            found.prove(tick)
        except EngineError:
            self.discard(found)
            raise
        return found

    @contextmanager
    def pausing(self, inspector: Inspector) -> Iterator[None]:
        """Pause an inspector while the context lasts."""
        inspector.pause()
        self._paused = inspector
        try:
            yield
        finally:
            self._paused = None
        inspector.resume()

    def release_second(self) -> None:
        """End all inspectors but the first, to free their memory."""
        for each in self._inspectors[1:]:
            self.discard(each)

    def discard(self, inspector: Inspector) -> None:
        """End an inspector and remove its folder. It can be called twice."""
        if inspector in self._inspectors:
            self._inspectors.remove(inspector)
        inspector.close()

    def close(self) -> None:
        """End all inspectors."""
        while self._inspectors:
            self._inspectors.pop().close()

    def _start(self) -> Inspector:
        self._version = None
        self.version()
        engine = Engine(
            program=program.executable(self._clamscan),
            signatures=self._database.absolute(),
            canary=self._canary,
        )
        log.debug("confinement.lacks", extra={"features": list(confine.missing_features())})
        found = self._start_inspector(engine, self._folder())
        self._inspectors.append(found)
        log.info("inspector.started", extra={"running": len(self._inspectors)})
        return found
