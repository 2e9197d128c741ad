"""HTTP to one server: deadlines, retries, a circuit breaker, and the server's clock.

An attempt that may succeed later raises `Transient`. `retry` repeats it until the attempts or the
time are used up, and then raises `BackendError`. No request outlives the deadline of its `retry`.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
import urllib3
from requests.utils import get_environ_proxies
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.stop import stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from avscan.backend.deadline import deadline, run_within, time_left
from avscan.errors import AvscanError, BackendError

log = logging.getLogger(__name__)

T = TypeVar("T")

# PocketBase ends a query after 30 s with an error; a shorter timeout would hide it.
READ_TIMEOUT = 40.0
CONNECT_TIMEOUT = 5.0
MAX_WAIT = 20.0
_BACKOFF = wait_random_exponential(min=0.1, max=MAX_WAIT)
BREAKER_THRESHOLD = 3
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_BODY = 64 << 20  # bytes; ten times the longest page of 1,000 checks
CHUNK = 1 << 16
# A clock outside of these years is wrong; arithmetic within them can't overflow.
FIRST_YEAR, LAST_YEAR = 1970, 3000
EPOCH = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The limits of a call with its retries.

    Attributes:
        attempts: the most attempts.
        deadline: seconds for the whole call, with all attempts and the waits between them.
        timeout: seconds without a byte after which an attempt fails.

    """

    attempts: int = 3
    deadline: float = 120.0
    timeout: float = READ_TIMEOUT


# After a signal, the process has about five seconds to release its claims.
ON_SIGNAL = RetryPolicy(attempts=1, deadline=1.5, timeout=0.75)
# A pass that ends after a failure releases its claims, even if the circuit is open.
ON_FAILURE = RetryPolicy(attempts=2, deadline=10.0, timeout=5.0)


class Transient(AvscanError):
    """An attempt failed and may succeed later; `retry_after` is the requested wait in seconds."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _Session(requests.Session):
    """A session without redirects: requests would read their bodies, whatever their length."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - override
        """Return no target."""
        return None


class Transport:
    """Sends requests to one base address. Safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        *,
        policy: RetryPolicy,
        user_agent: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.policy = policy
        self.requests_made = 0
        self._clock = clock
        self._sleep = sleep
        self._session = _Session()
        # requests looks these up for each request, and credentials in .netrc, which are not ours.
        self._session.trust_env = False
        self._session.proxies = get_environ_proxies(self.base_url)
        bundles = map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
        self._session.verify = next(filter(None, bundles), True)
        # A compressed answer could unfold to any length.
        self._session.headers.update({"User-Agent": user_agent, "Accept-Encoding": "identity"})
        self._lock = threading.Lock()
        self._failed_calls = 0
        # The server's clock minus the monotonic clock, by `Date` headers and by stored records.
        self._header_offset: timedelta | None = None
        self._record_offset: timedelta | None = None
        self._last_date = ""  # the text of the last `Date` header

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def retry(self, attempt: Callable[[RetryPolicy], T], policy: RetryPolicy | None = None) -> T:
        """Call `attempt` until it no longer raises `Transient`.

        A call with its own policy, such as `ON_SIGNAL`, ignores an open circuit, and its failure
        does not count towards opening it. A nested `retry` ends by the earlier of both deadlines.

        Raises:
            BackendError: the attempts or the time are used up, or the circuit is open.

        """
        chosen = policy or self.policy
        if policy is None and self.circuit_open:
            raise BackendError(
                f"PocketBase at {self.base_url} keeps failing: this pass sends no more requests"
            )
        with deadline(chosen.deadline):
            retrying = Retrying(
                stop=stop_after_attempt(chosen.attempts) | stop_before_delay(time_left()),
                wait=_wait,
                retry=retry_if_exception_type(Transient),
                before_sleep=_log_retry,
                sleep=self._sleep,
                reraise=True,
            )
            try:
                return retrying(attempt, chosen)
            except Transient as failure:
                if policy is None:
                    self._count_failure(str(failure))
                where = f"PocketBase at {self.base_url}"
                unreachable = isinstance(failure.__cause__, requests.ConnectionError)
                what = f"can't reach {where}" if unreachable else f"{where} keeps failing"
                raise BackendError(f"{what}: {failure}") from failure

    @property
    def circuit_open(self) -> bool:
        """Whether `BREAKER_THRESHOLD` calls have failed since the last answer."""
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
        """Send one request; return any answer but a redirect or a server's failure.

        Args:
            method: the HTTP method.
            path: below the base address, with a leading slash.
            timeout: seconds without a byte.
            stream: leave the body unread; the deadline then covers the headers only.

        Raises:
            Transient: no connection, no complete answer in time, or a status in `RETRIED_STATUS`.
            BackendError: a failure that a retry does not solve (a redirect, a malformed address, a
                body that is too long).

        """
        self.requests_made += 1
        time_allowed = min(time_left(), self.policy.deadline)
        if time_allowed <= 0:
            raise Transient("no time is left for another request")
        end = time.monotonic() + time_allowed

        def exchange() -> requests.Response:
            response = self._session.request(
                method,
                self.base_url + path,
                params=params,
                json=json,
                data=data,
                headers=(headers or {}) | ({"Authorization": token} if token else {}),
                timeout=(min(CONNECT_TIMEOUT, timeout, time_allowed), min(timeout, time_allowed)),
                stream=True,
                allow_redirects=False,
            )
            if not stream:
                response.raw = io.BytesIO(self._read_body(response))
            elif time.monotonic() > end:
                response.close()  # the caller has timed out
            return response

        try:
            response = run_within(time_allowed, exchange)
        except TimeoutError as error:
            raise Transient("no complete answer within the time allowed") from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Transient(describe(error)) from error
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
        ) as error:
            # requests does not wrap all errors: a malformed host or proxy, or a missing certificate
            # file, raises the original exception.
            raise BackendError(f"{self.base_url}: {describe(error)}") from error
        self._read_clock(response)
        if response.status_code in RETRIED_STATUS:
            wait = _retry_after(response)
            response.close()
            raise Transient(f"answered {response.status_code}", retry_after=wait)
        if response.is_redirect:
            response.close()
            target = response.headers["Location"].partition("?")[0]  # a query may contain a token
            raise BackendError(
                f"{self.base_url} redirects to {target}:"
                " set POCKETBASE_URL to the address that it redirects to"
            )
        self._failed_calls = 0
        return response

    def _read_body(self, response: requests.Response) -> bytes:
        body = bytearray()
        with response:
            try:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise BackendError(
                            f"{self.base_url} answered with more than {MAX_BODY} bytes:"
                            " is POCKETBASE_URL right?"
                        )
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise Transient(f"the answer was interrupted: {describe(error)}") from error
        return bytes(body)

    # -- the server's clock -------------------------------------------------------------------

    def observe(self, updated: datetime) -> None:
        """Read the server's clock from the `updated` of a record that was just written."""
        if FIRST_YEAR <= updated.year < LAST_YEAR:
            with self._lock:
                self._record_offset = _larger_offset(self._record_offset, self._offset_of(updated))

    def server_time(self) -> datetime:
        """Return a time that is never later than the server's clock.

        The `updated` of written records takes precedence over `Date` headers, which may come from a
        proxy.

        Raises:
            BackendError: no answer so far carried a date.

        """
        offset = self._header_offset if self._record_offset is None else self._record_offset
        if offset is None:
            raise BackendError(f"{self.base_url} sends no Date header: is it PocketBase?")
        return EPOCH + offset + timedelta(seconds=self._clock())

    def _read_clock(self, response: requests.Response) -> None:
        text = response.headers.get("Date", "")
        if text == self._last_date:  # only the first answer within a second can raise the offset
            return
        self._last_date = text
        date = _parse_date(text)
        if date is not None:
            with self._lock:
                self._header_offset = _larger_offset(self._header_offset, self._offset_of(date))

    def _offset_of(self, moment: datetime) -> timedelta:
        return moment - EPOCH - timedelta(seconds=self._clock())

    def _count_failure(self, reason: str) -> None:
        with self._lock:
            self._failed_calls += 1
            opened = self._failed_calls == BREAKER_THRESHOLD
        if opened:
            log.error("circuit.opened", extra={"calls": BREAKER_THRESHOLD, "reason": reason})


def describe(error: BaseException) -> str:
    """Return a short description of a request's failure; requests nests the cause deeply."""
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
    # urllib3 puts the connection's repr before the message.
    return text.rpartition("): ")[2] or type(error).__name__


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    moment, now = _parse_date(value), _parse_date(response.headers.get("Date", ""))
    return max(0.0, (moment - now).total_seconds()) if moment and now else None


def _parse_date(text: str) -> datetime | None:
    """Parse an HTTP date; None if it is invalid or outside of the supported years."""
    try:
        date = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date if FIRST_YEAR <= date.year < LAST_YEAR else None


def _larger_offset(known: timedelta | None, observed: timedelta) -> timedelta:
    """Return the larger offset: each is too low by the delay of its answer."""
    return observed if known is None else max(known, observed)


def _wait(state: RetryCallState) -> float:
    """Return the server's `Retry-After`, or an exponential wait with full jitter."""
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, Transient) and failure.retry_after is not None:
        return min(failure.retry_after, MAX_WAIT)
    return _BACKOFF(state)


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
