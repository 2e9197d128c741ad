"""HTTP to one server: timeouts, retries, a circuit breaker, and the server's own clock.

Knows nothing of what is said over it. An attempt that may succeed later raises `Transient`;
`insist` repeats it within bounds, and gives up with `BackendError`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
import urllib3
from requests.auth import AuthBase
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.stop import stop_after_attempt, stop_after_delay

from avscan.errors import AvscanError, BackendError

log = logging.getLogger(__name__)

T = TypeVar("T")

# PocketBase ends a query after 30 s and says so; waiting less would leave us guessing.
READ_TIMEOUT = 40.0
CONNECT_TIMEOUT = 5.0
LONGEST_WAIT = 20.0
BREAKER_THRESHOLD = 3
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a call may take: tries, seconds for all of them, seconds for an answer."""

    attempts: int = 3
    deadline: float = 120.0
    timeout: float = READ_TIMEOUT


# A process that was told to stop has five seconds; what it gives back then gets short tries.
PARTING = Patience(attempts=1, deadline=1.5, timeout=0.75)
# A pass that ends because something failed gives back what it can, also past an open circuit.
FAREWELL = Patience(attempts=2, deadline=10.0, timeout=5.0)


class Transient(AvscanError):
    """An attempt failed in a way that may pass; `retry_after` is the server's wish in seconds."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Authorization(AuthBase):
    """Sets our header, and nothing else: without an `auth`, requests would take one from .netrc."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token, where there is one."""
        if self._token:
            request.headers["Authorization"] = self._token
        return request


class Transport:
    """Requests to one base address. Safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        *,
        patience: Patience,
        user_agent: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.patience = patience
        self.requests_made = 0
        self._clock = clock
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers["User-Agent"] = user_agent
        self._lock = threading.Lock()
        self._failed_calls = 0
        self._server_epoch: datetime | None = None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def insist(self, attempt: Callable[[Patience], T], patience: Patience | None = None) -> T:
        """Call `attempt` until it no longer raises `Transient`.

        A caller with a patience of its own (`PARTING`) also passes an open circuit, and its failures
        don't count towards opening it.

        Raises:
            BackendError: tries or time are used up, or the circuit is open.

        """
        chosen = patience or self.patience
        if patience is None and self.circuit_open:
            raise BackendError(f"{self.base_url} keeps failing: this pass stops asking")
        retrying = Retrying(
            stop=stop_after_attempt(chosen.attempts) | stop_after_delay(chosen.deadline),
            wait=_wait,
            retry=retry_if_exception_type(Transient),
            before_sleep=_log_retry,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            answer = retrying(attempt, chosen)
        except Transient as failure:
            if patience is None:
                self._count_failure(str(failure))
            raise BackendError(f"{self.base_url}: {failure}") from failure
        self._failed_calls = 0
        return answer

    @property
    def circuit_open(self) -> bool:
        """Whether so many calls in a row have failed that asking on is no use."""
        return self._failed_calls >= BREAKER_THRESHOLD

    def send(  # noqa: D417 - the rest is passed on to requests
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        timeout: float = READ_TIMEOUT,
        stream: bool = False,
        params: dict[str, str] | None = None,
        json: object = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Make one request; any answer but a failing server's is returned as it is.

        Args:
            method: the HTTP method.
            path: below the base address, with a leading slash.
            timeout: seconds without a byte.

        Raises:
            Transient: no connection, no answer in time, 429, or 5xx.
            BackendError: an answer that no retry mends (a redirect, a malformed address).

        """
        self.requests_made += 1
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                params=params,
                json=json,
                data=data,
                headers=headers,
                auth=Authorization(token),
                timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
                stream=stream,
                allow_redirects=False,
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Transient(describe(error)) from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise Transient(describe(error)) from error
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
        ) as error:
            # Some of what is malformed (a host, a proxy, a missing file of certificates) comes as
            # it was met, whatever the documentation of requests says.
            raise BackendError(f"{self.base_url}: {describe(error)}") from error
        self._read_clock(response)
        if response.status_code in RETRIED_STATUS:
            wait = _retry_after(response)
            response.close()
            raise Transient(f"answered {response.status_code}", retry_after=wait)
        if response.is_redirect:
            response.close()
            target = response.headers["Location"].partition("?")[0]  # behind it may be a token
            raise BackendError(
                f"{self.base_url} redirects to {target}:"
                " set POCKETBASE_URL to the address that answers itself"
            )
        return response

    def server_time(self) -> datetime:
        """Tell the time by the server's clock, never later than it is there.

        Raises:
            BackendError: no answer so far carried a date.

        """
        if self._server_epoch is None:
            raise BackendError(f"{self.base_url} sends no Date header: is it PocketBase?")
        return self._server_epoch + timedelta(seconds=self._clock())

    def _read_clock(self, response: requests.Response) -> None:
        """Keep the difference between the server's clock and our monotonic one.

        A `Date` header is cut to whole seconds and was written before it arrived, so each is too
        early; the latest of them is the closest.
        """
        try:
            date = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return
        epoch = date - timedelta(seconds=self._clock())
        with self._lock:
            if self._server_epoch is None or epoch > self._server_epoch:
                self._server_epoch = epoch

    def _count_failure(self, reason: str) -> None:
        with self._lock:
            self._failed_calls += 1
            opened = self._failed_calls == BREAKER_THRESHOLD
        if opened:
            log.error("circuit.opened", extra={"calls": BREAKER_THRESHOLD, "reason": reason})


def describe(error: BaseException) -> str:
    """Say in a few words why a request failed; requests nests the cause deeply."""
    match error:
        case requests.ConnectTimeout():
            return "no connection within the time allowed"
        case requests.Timeout():
            return "no answer within the time allowed"
        case requests.exceptions.SSLError():
            return f"the TLS connection failed: {_innermost(error)}"
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            return f"the connection failed: {_innermost(error)}"
        case _:
            return str(error)


def _innermost(error: BaseException) -> str:
    while error.args and isinstance(reason := error.args[-1], BaseException):
        error = reason
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _innermost(reason)
    text = str(error)
    # urllib3 puts the connection's repr before its words.
    return text.rpartition("): ")[2] or type(error).__name__


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value).astimezone(UTC)
        now = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
    return max(0.0, (moment - now).total_seconds())


def _wait(state: RetryCallState) -> float:
    """Exponential with full jitter (AWS architecture blog), or what the server asked for."""
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, Transient) and failure.retry_after is not None:
        return min(failure.retry_after, LONGEST_WAIT)
    return random.uniform(0.1, min(LONGEST_WAIT, 0.5 * 2**state.attempt_number))  # noqa: S311


def _log_retry(state: RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    log.warning(
        "request.retried",
        extra={
            "attempt": state.attempt_number,
            "reason": str(failure),
            "wait": round(state.upcoming_sleep, 2),
        },
    )
