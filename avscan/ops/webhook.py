"""The webhook: a notification channel that sends each message as an HTTP POST.

Requests follow Standard Webhooks (standardwebhooks.com): a repeated message has the same
`webhook-id`, and `webhook-signature` is an HMAC-SHA256 of id, timestamp and body. Slack and
compatible services show the body's `text`. The URL may be a secret, as Slack's is, so it does not
appear in logs or errors.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from html import escape
from urllib.parse import urlsplit

from avscan.backend.transport import RetryPolicy, Transient, Transport
from avscan.errors import BackendError
from avscan.ops.notify import Message
from avscan.settings import Settings
from avscan.wiring import USER_AGENT

# Seconds for all attempts at one message, and for one request.
DEADLINE, TIMEOUT = 20.0, 5.0


def from_settings(settings: Settings) -> Webhook | None:
    """Return the webhook, or None if WEBHOOK_URL is not set."""
    if not settings.webhook_url:
        return None
    return Webhook(
        settings.webhook_url,
        events=settings.webhook_events,
        secret=settings.webhook_secret,
        attempts=settings.max_retries,
    )


class Webhook:
    """A `notify.Channel` to one URL."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        *,
        events: frozenset[str],
        secret: bytes,
        attempts: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        self.events = events
        self._path = parts._replace(scheme="", netloc="").geturl()
        self._secret = secret
        self._policy = RetryPolicy(attempts=attempts, deadline=DEADLINE, timeout=TIMEOUT)
        self._transport = Transport(origin, policy=self._policy, user_agent=USER_AGENT, sleep=sleep)

    def deliver(self, message: Message) -> str | None:
        """Send a message. Return the reason of a failure, without the URL, or None."""
        try:
            status = self._transport.retry(lambda _: self._post(message), self._policy)
        except BackendError as error:
            # The error's text contains the URL; its cause does not.
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
        """Close the connections."""
        self._transport.close()

    def _post(self, message: Message) -> int:
        body = encode(message)
        stamp = str(int(time.time()))
        headers = {"Content-Type": "application/json", "webhook-id": message.id}
        headers["webhook-timestamp"] = stamp
        if self._secret:
            headers["webhook-signature"] = signature(self._secret, message.id, stamp, body)
        # With `stream`, the response's body is not read.
        response = self._transport.send(
            "POST", self._path, data=body, headers=headers, timeout=TIMEOUT, stream=True
        )
        response.close()
        return response.status_code


def encode(message: Message) -> bytes:
    """Encode a message as JSON, with Slack markup escaped in its text."""
    # Slack reads these three characters as markup, and no others: & < >.
    values = message.values | {"text": escape(str(message.values["text"]), quote=False)}
    return json.dumps({"event": message.event, **values}, ensure_ascii=True).encode()


def signature(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """Return the signature by Standard Webhooks, version 1."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
