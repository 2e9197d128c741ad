"""A notification channel: a POST to a web address for each message.

Its requests follow the Standard Webhooks (standardwebhooks.com): `webhook-id` stays the same when a
message is sent again, `webhook-signature` is an HMAC-SHA256 over id, timestamp and body. Slack, and
services compatible with it, show the body's `text`. The address may be a secret, as Slack's is: it
appears in no log and no error.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from avscan.backend.transport import RetryPolicy, Transient, Transport
from avscan.errors import BackendError
from avscan.ops.notify import Message
from avscan.settings import Settings

# Seconds for all tries of one message, and for one answer.
DEADLINE, TIMEOUT = 20.0, 5.0


def from_settings(settings: Settings, user_agent: str) -> Webhook | None:
    """Return the webhook of the settings; None if they have none."""
    if not settings.webhook_url:
        return None
    return Webhook(
        settings.webhook_url,
        events=settings.webhook_events,
        secret=settings.webhook_secret,
        attempts=settings.max_retries,
        user_agent=user_agent,
    )


class Webhook:
    """A channel (see `notify.Channel`) to one address."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        *,
        events: frozenset[str],
        secret: bytes,
        attempts: int,
        user_agent: str,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        self.events = events
        self._path = parts._replace(scheme="", netloc="").geturl()
        self._secret = secret
        self._now = now
        self._policy = RetryPolicy(attempts=attempts, deadline=DEADLINE, timeout=TIMEOUT)
        self._transport = Transport(origin, policy=self._policy, user_agent=user_agent, sleep=sleep)

    def deliver(self, message: Message) -> str | None:
        """Send a message; return why that failed, without the address, or None."""
        try:
            status = self._transport.retry(lambda _: self._post(message), self._policy)
        except BackendError as error:
            # The error's own text has the address; its cause has not.
            match error.__cause__:
                case Transient() as failure:
                    return str(failure)
                case None:
                    return "it redirects elsewhere"
                case _:
                    return "its address can't be used"
        if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110: successful
            return None
        return f"answered {status}"

    def close(self) -> None:
        """Close its connections."""
        self._transport.close()

    def _post(self, message: Message) -> int:
        body = encode(message)
        stamp = str(int(self._now()))
        headers = {"Content-Type": "application/json", "webhook-id": message.id}
        headers["webhook-timestamp"] = stamp
        if self._secret:
            headers["webhook-signature"] = signature(self._secret, message.id, stamp, body)
        # A stream: the body of the answer is not read.
        response = self._transport.send(
            "POST", self._path, data=body, headers=headers, timeout=TIMEOUT, stream=True
        )
        response.close()
        return response.status_code


def encode(message: Message) -> bytes:
    """Encode a message as JSON, with no markup of Slack's in its text."""
    values = message.values | {"text": _plain(str(message.values["text"]))}
    return json.dumps({"event": message.event, **values}, ensure_ascii=True).encode()


def signature(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """Sign as the Standard Webhooks do, version 1."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _plain(text: str) -> str:
    """Escape the characters that Slack reads as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
