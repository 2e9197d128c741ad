"""Notifications: messages about builds and passes, and their delivery by channels.

A channel is a `Channel`; `watch.CHANNELS` lists those that exist.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from queue import SimpleQueue
from typing import Protocol

from avscan.events import Event, Settled
from avscan.records import Status
from avscan.settings import PASS_FAILED
from avscan.text import rfc3339

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One notification. `values` holds `text`, a readable line, and the fields of the event.

    A receiver can recognise a repeated message by its `id`.
    """

    event: str
    values: dict[str, str | int]
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")


class Channel(Protocol):
    """A way to deliver messages. It is used from one thread.

    `name` is its name in the log; `events` are those that it delivers.
    """

    name: str
    events: frozenset[str]

    def deliver(self, message: Message) -> str | None:
        """Deliver a message. Return the reason of a failure, or None.

        It must return within seconds. The reason must not contain a secret.
        """

    def close(self) -> None:
        """Release the channel's resources, even during a delivery."""


class Notifier:
    """Delivers messages in the background, in one thread per channel."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._outboxes = [_Outbox(channel) for channel in channels]

    def __call__(self, event: Event) -> None:
        """Send a message if the event is a new verdict."""
        if isinstance(event, Settled) and (message := verdict_message(event)):
            self.send(message)

    def sends(self, event: str) -> bool:
        """Return whether a channel delivers this event."""
        return any(event in outbox.channel.events for outbox in self._outboxes)

    def send(self, message: Message) -> None:
        """Queue a message for each channel that delivers its event."""
        for outbox in self._outboxes:
            if message.event in outbox.channel.events:
                outbox.put(message)

    def close(self, *, within: float) -> bool:
        """Wait at most `within` seconds. Return whether every message was delivered."""
        end = time.monotonic() + within
        for outbox in self._outboxes:
            outbox.finish()
        delivered = [outbox.close(end) for outbox in self._outboxes]
        return all(delivered)


class _Outbox:
    """The messages that wait for one channel, and the thread that delivers them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._failed = False
        self._queue: SimpleQueue[Message | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, message: Message) -> None:
        self._queue.put(message)
        if self._thread is None:
            # A daemon, so that a hanging receiver does not block the process's exit.
            self._thread = threading.Thread(target=self._run, name=self.channel.name, daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Make the thread end after the last message."""
        self._queue.put(None)

    def close(self, end: float) -> bool:
        """Wait until the monotonic time `end`. Return whether every message was delivered."""
        if self._thread is not None:
            self._thread.join(max(0.0, end - time.monotonic()))
            if self._thread.is_alive():
                self._failed = True
                reason = "the pass ended before they were delivered"
                log.warning(
                    "notification.unsent", extra={"channel": self.channel.name, "reason": reason}
                )
        self.channel.close()
        return not self._failed

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            reason = self.channel.deliver(message)
            fields = {
                "channel": self.channel.name,
                "about": message.event,
                "build": message.values.get("build"),
            }
            if reason is None:
                log.info("notification.sent", extra=fields)
            else:
                self._failed = True
                log.warning("notification.failed", extra={**fields, "reason": reason})


def verdict_message(settled: Settled) -> Message | None:
    """Return the message about a verdict, or None if these files had the same verdict before."""
    if settled.known:
        return None
    build, verdict = settled.build, settled.verdict
    values: dict[str, str | int] = {
        "build": build.id,
        "app": build.app,
        "branch": build.branch,
        "reason": verdict.reason,
        "time": rfc3339(settled.at),
    }
    what = f"is {verdict.status}"
    if verdict.status is Status.INFECTED:
        file = next(report for report in settled.reports if report.examination.sightings)
        values |= {"file": file.name, "virus": verdict.virus_name, "sha256": file.sha256}
    elif verdict.status is Status.ERROR:
        what = "could not be scanned"
    text = f"Build {build.id} {what}: {verdict.reason}"
    return Message(event=verdict.status.value, values=values | {"text": text})


def failure_message(*, exit_code: int, reason: str, host: str, at: datetime) -> Message:
    """Return the message about a failed pass."""
    return Message(
        event=PASS_FAILED,
        values={
            "exit_code": exit_code,
            "reason": reason,
            "host": host,
            "time": rfc3339(at),
            "text": f"A pass of avscan on {host} failed with exit code {exit_code}: {reason}",
        },
    )
