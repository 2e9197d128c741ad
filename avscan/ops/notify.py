"""A webhook that is told of infected builds, and of passes that fail.

Its requests follow the Standard Webhooks (standardwebhooks.com): `webhook-id` stays the same when a
message is sent once more, `webhook-signature` is an HMAC-SHA256 over id, timestamp and body. The
body's `text` is what Slack, and what is compatible with it, shows. The address may be a secret, as
Slack's is: it appears in no log and no error.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from queue import SimpleQueue
from urllib.parse import urlsplit

from avscan.backend.transport import Patience, Transient, Transport
from avscan.errors import BackendError
from avscan.events import Event, Settled
from avscan.records import Status
from avscan.settings import INFECTED, PASS_FAILED
from avscan.text import rfc3339

log = logging.getLogger(__name__)

# One message: seconds for all its tries, and for an answer.
DEADLINE, TIMEOUT = 20.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the webhook is told; `id` tells the receiver a repetition from another message."""

    event: str
    values: Mapping[str, str | int]
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")

    def body(self) -> bytes:
        """Write it as JSON."""
        return json.dumps({"event": self.event, **self.values}, ensure_ascii=True).encode()


def infected(settled: Settled) -> Message | None:
    """Tell that a build became infected; None if it did not, or was it before."""
    if settled.verdict.status is not Status.INFECTED or settled.known:
        return None
    file = next(report for report in settled.reports if report.examination.sightings)
    build, verdict = settled.build, settled.verdict
    return Message(
        event=INFECTED,
        values={
            "build": build.id,
            "app": build.app,
            "branch": build.branch,
            "file": file.name,
            "virus": verdict.virus_name,
            "sha256": file.sha256,
            "time": rfc3339(settled.at),
            "text": _plain(f"Build {build.id} is infected: {verdict.reason}"),
        },
    )


def pass_failed(*, exit_code: int, reason: str, host: str, at: datetime) -> Message:
    """Tell that a pass failed."""
    return Message(
        event=PASS_FAILED,
        values={
            "exit_code": exit_code,
            "reason": reason,
            "host": host,
            "time": rfc3339(at),
            "text": _plain(
                f"A pass of avscan on {host} failed with exit code {exit_code}: {reason}"
            ),
        },
    )


class Webhook:
    """Sends messages, one after another, in a thread of its own: nobody waits for it but `close`."""

    def __init__(
        self,
        url: str,
        *,
        secret: bytes,
        attempts: int,
        user_agent: str,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        self._path = parts._replace(scheme="", netloc="").geturl()
        self._secret = secret
        self._now = now
        self._patience = Patience(attempts=attempts, deadline=DEADLINE, timeout=TIMEOUT)
        self._transport = Transport(
            origin, patience=self._patience, user_agent=user_agent, sleep=sleep
        )
        self._queue: SimpleQueue[Message | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Listen to a pass: tell of each build that became infected."""
        if isinstance(event, Settled) and (message := infected(event)):
            self.tell(message)

    def tell(self, message: Message) -> None:
        """Have a message sent, without waiting."""
        self._queue.put(message)
        if self._thread is None:
            # A daemon: an address that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
            self._thread.start()

    def close(self, *, within: float) -> None:
        """Wait for what is still to be sent, for so many seconds at the most."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(within)
            if self._thread.is_alive():
                log.warning("webhook.unsent", extra={"reason": f"not sent within {within:g} s"})
        self._transport.close()

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            self._send(message)

    def _send(self, message: Message) -> None:
        fields = {"webhook_event": message.event, "build": message.values.get("build")}
        try:
            status = self._transport.insist(lambda _: self._post(message), self._patience)
        except BackendError as error:
            # The error's own text has the address; what failed in the end has not.
            match error.__cause__:
                case Transient() as failure:
                    reason = str(failure)
                case None:
                    reason = "it redirects elsewhere"
                case _:
                    reason = "its address can't be used"
            log.warning("webhook.failed", extra={**fields, "reason": reason})
            return
        if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110: successful
            log.info("webhook.sent", extra=fields)
        else:
            log.warning("webhook.failed", extra={**fields, "reason": f"answered {status}"})

    def _post(self, message: Message) -> int:
        body = message.body()
        stamp = str(int(self._now()))
        headers = {"Content-Type": "application/json", "webhook-id": message.id}
        headers["webhook-timestamp"] = stamp
        if self._secret:
            headers["webhook-signature"] = signature(self._secret, message.id, stamp, body)
        # A stream: what the receiver answers is not read.
        response = self._transport.send(
            "POST", self._path, data=body, headers=headers, timeout=TIMEOUT, stream=True
        )
        response.close()
        return response.status_code


def signature(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """Sign as the Standard Webhooks do, version 1."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _plain(text: str) -> str:
    """Escape what Slack takes for its markup in a text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
