"""What the outside is told of a pass, however it ends: a file of metrics, a webhook."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from platform import node
from types import TracebackType
from typing import Self

from avscan.errors import AvscanError, Interrupted
from avscan.events import Event
from avscan.ops import metrics
from avscan.ops.notify import Webhook, pass_failed
from avscan.settings import INFECTED, PASS_FAILED, Settings
from avscan.summary import Summary
from avscan.workspace import Busy

log = logging.getLogger(__name__)

# Seconds that the end of a pass waits for the webhook; of a pass that was told to stop.
PATIENT, HASTY = 15.0, 1.0


class Watch:
    """A context around a pass; `summary` and `requests` are the pass's own, as far as it came."""

    def __init__(
        self,
        settings: Settings,
        *,
        user_agent: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = Summary()
        self.requests: Callable[[], int] = int
        self._file = settings.metrics_file
        self._events = settings.webhook_events
        self._webhook = _webhook(settings, user_agent) if settings.webhook_url else None
        self._clock = clock
        self._started = clock()

    def listen(self, event: Event) -> None:
        """Pass on what the pass tells of itself."""
        if self._webhook and INFECTED in self._events:
            self._webhook(event)

    def __enter__(self) -> Self:
        """Begin to measure."""
        self._started = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell how it ended, unless another pass is at work, which will tell itself."""
        if isinstance(error, Busy):
            return
        ended = datetime.now(UTC)
        code = exit_code(error)
        if self._file:
            figures = metrics.of_pass(
                self.summary,
                exit_code=code,
                ended=ended,
                seconds=self._clock() - self._started,
                requests=self.requests(),
            )
            try:
                metrics.write(self._file, figures)
            except OSError as problem:
                log.warning("metrics.unwritten", extra={"reason": problem.strerror})
        if self._webhook:
            stopped = isinstance(error, Interrupted)
            if code and not stopped and PASS_FAILED in self._events:
                reason = str(error) if isinstance(error, AvscanError) else "a bug; see the log"
                message = pass_failed(exit_code=code, reason=reason, host=node(), at=ended)
                self._webhook.tell(message)
            self._webhook.close(within=HASTY if stopped else PATIENT)


def _webhook(settings: Settings, user_agent: str) -> Webhook:
    return Webhook(
        settings.webhook_url,
        secret=settings.webhook_secret,
        attempts=settings.max_retries,
        user_agent=user_agent,
    )


def exit_code(error: BaseException | None) -> int:
    """Tell which exit code a pass ends with."""
    match error:
        case None:
            return 0
        case AvscanError() | Interrupted():
            return error.exit_code
        case _:
            return 1
