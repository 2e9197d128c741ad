"""A notification channel that records what it delivers."""

from __future__ import annotations

from dataclasses import dataclass, field

from avscan.ops.notify import Message


@dataclass
class Recorder:
    """A channel that records events, and returns `failure`."""

    events: frozenset[str] = frozenset({"infected", "error"})
    name: str = "recorder"
    failure: str | None = None
    messages: list[Message] = field(default_factory=list)
    closed: bool = False

    @property
    def delivered(self) -> list[str]:
        return [message.event for message in self.messages]

    def deliver(self, message: Message) -> str | None:
        self.messages.append(message)
        return self.failure

    def close(self) -> None:
        self.closed = True
