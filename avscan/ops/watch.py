"""The monitoring of a pass: its metrics file and its notifications."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from platform import node
from typing import Self, TypeAlias

from avscan.errors import AvscanError, Interrupted
from avscan.events import Event
from avscan.ops import metrics, webhook
from avscan.ops.notify import Channel, Notifier, failure_message
from avscan.settings import PASS_FAILED, Settings
from avscan.summary import Summary
from avscan.workspace import Busy

log = logging.getLogger(__name__)

# Each returns None if the channel is not configured.
Opener: TypeAlias = Callable[[Settings], Channel | None]
CHANNELS: tuple[Opener, ...] = (webhook.from_settings,)

# Seconds to wait for undelivered notifications at the end of a pass.
DELIVERY_TIMEOUT, DELIVERY_TIMEOUT_ON_SIGNAL = 15.0, 1.0
# The interval between two notifications while passes keep failing.
REPEAT_FAILURE = timedelta(hours=1)


class Watch:
    """A context manager around a pass, which sets `summary`."""

    def __init__(self, settings: Settings) -> None:
        self.summary = Summary()
        self._file = settings.metrics_file
        found = [opener(settings) for opener in CHANNELS]
        self._notifier = Notifier(channel for channel in found if channel is not None)
        self._started = time.monotonic()

    def listen(self, event: Event) -> None:
        """Send a notification if the event is a new verdict."""
        self._notifier(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Write the metrics and deliver the notifications, unless another pass is running."""
        if isinstance(error, Busy):
            return
        ended, seconds = datetime.now(UTC), time.monotonic() - self._started
        reported = self._notify(error, ended)
        if self._file is None:
            return
        figures = metrics.of_pass(
            self.summary,
            exit_code=exit_code(error),
            ended=ended,
            seconds=seconds,
            failure_reported=reported,
        )
        try:
            metrics.write(self._file, figures)
        except OSError as problem:
            log.warning("metrics.failed", extra={"reason": problem.strerror})

    def _notify(self, error: BaseException | None, ended: datetime) -> datetime | None:
        """Deliver all notifications. Return the time of the last failure notification, or None."""
        code, stopped = exit_code(error), isinstance(error, Interrupted)
        last = metrics.failure_reported(self._file) if code and self._file else None
        due = (
            code != 0
            and not stopped
            and self._notifier.sends(PASS_FAILED)
            and not (last and timedelta(0) <= ended - last < REPEAT_FAILURE)
        )
        if due:
            reason = str(error) if isinstance(error, AvscanError) else "a bug; see the log"
            self._notifier.send(
                failure_message(exit_code=code, reason=reason, host=node(), at=ended)
            )
        timeout = DELIVERY_TIMEOUT_ON_SIGNAL if stopped else DELIVERY_TIMEOUT
        delivered = self._notifier.close(within=timeout)
        return ended if due and delivered else last


def exit_code(error: BaseException | None) -> int:
    """Return the exit code of a pass that ended with this error."""
    match error:
        case None:
            return 0
        case AvscanError() | Interrupted():
            return error.exit_code
        case _:
            return 1
