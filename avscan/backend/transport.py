"""HTTP to one server: deadlines, retries, a circuit breaker, and the server's clock.

An attempt that may succeed later raises `Transient`; `retry` repeats it until its tries or its
time are used up, and then raises `BackendError`. Whatever the server does, no request outlives the
deadline of the `retry` around it.
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

# PocketBase ends a query after 30 s and says so; waiting less would leave us guessing.
READ_TIMEOUT = 40.0
CONNECT_TIMEOUT = 5.0
LONGEST_WAIT = 20.0
_BACKOFF = wait_random_exponential(min=0.1, max=LONGEST_WAIT)
BREAKER_THRESHOLD = 3
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_BODY = 64 << 20  # bytes; PocketBase's longest page of 1,000 checks has a tenth of it
PIECE = 1 << 16
# No clock is right beyond these years, and no arithmetic between them overflows.
FIRST_YEAR, LAST_YEAR = 1970, 3000
EPOCH = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a call may take.

    Attributes:
        attempts: how many tries at the most.
        deadline: seconds for all of it: connecting, answers, retries and the waits between them.
        timeout: seconds without a byte, after which a try has failed.

    """

    attempts: int = 3
    deadline: float = 120.0
    timeout: float = READ_TIMEOUT


# A process that was told to stop has five seconds; what it gives back then gets short tries.
ON_SIGNAL = RetryPolicy(attempts=1, deadline=1.5, timeout=0.75)
# A pass that ends because something failed gives back what it can, also past an open circuit.
ON_FAILURE = RetryPolicy(attempts=2, deadline=10.0, timeout=5.0)


class Transient(AvscanError):
    """An attempt failed and may succeed later; `retry_after` is what the server asks, in seconds."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _Session(requests.Session):
    """A session that leaves redirects alone: requests reads their bodies, however long they are."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - theirs
        """Return no target."""
        return None


class Transport:
    """Requests to one base address. Safe to share between threads."""

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
        # The server's time less our monotonic clock's: by its headers, and by what it stored.
        self._by_header: timedelta | None = None
        self._by_stamp: timedelta | None = None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def retry(self, attempt: Callable[[RetryPolicy], T], policy: RetryPolicy | None = None) -> T:
        """Call `attempt` until it no longer raises `Transient`.

        A caller with a policy of its own (`ON_SIGNAL`) also passes an open circuit, and its failures
        do not count towards opening it. A `retry` within another one ends by the deadline of both.

        Raises:
            BackendError: tries or time are used up, or the circuit is open.

        """
        chosen = policy or self.policy
        if policy is None and self.circuit_open:
            raise BackendError(f"{self.base_url} keeps failing: this pass stops asking")
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
                raise BackendError(f"{self.base_url}: {failure}") from failure

    @property
    def circuit_open(self) -> bool:
        """Whether so many calls failed, without an answer in between, that asking is useless."""
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
            stream: leave the body unread; the deadline is for the rest of the answer alone.

        Raises:
            Transient: no connection, no whole answer in time, 429, or 5xx.
            BackendError: an answer that no retry mends (a redirect, a malformed address, a body
                without end).

        """
        self.requests_made += 1
        left = min(time_left(), self.policy.deadline)
        if left <= 0:
            raise Transient("no time is left for another request")
        ends = time.monotonic() + left

        def exchange() -> requests.Response:
            response = self._session.request(
                method,
                self.base_url + path,
                params=params,
                json=json,
                data=data,
                headers=(headers or {}) | ({"Authorization": token} if token else {}),
                timeout=(min(CONNECT_TIMEOUT, timeout, left), min(timeout, left)),
                stream=True,
                allow_redirects=False,
            )
            if not stream:
                response.raw = io.BytesIO(self._read_body(response))
            elif time.monotonic() > ends:
                response.close()  # nobody waits for it any more
            return response

        try:
            response = run_within(left, exchange)
        except TimeoutError as error:
            raise Transient("no whole answer within the time allowed") from error
        except (requests.ConnectionError, requests.Timeout) as error:
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
        self._failed_calls = 0
        return response

    def _read_body(self, response: requests.Response) -> bytes:
        body = bytearray()
        with response:
            try:
                for piece in response.raw.stream(PIECE, decode_content=False):
                    body += piece
                    if len(body) > LONGEST_BODY:
                        raise BackendError(
                            f"{self.base_url} answered with more than {LONGEST_BODY} bytes:"
                            " is POCKETBASE_URL right?"
                        )
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise Transient(f"the answer broke: {describe(error)}") from error
        return bytes(body)

    # -- the server's clock -------------------------------------------------------------------

    def observe(self, updated: datetime) -> None:
        """Learn the server's clock from a time with which it stamped a record just now."""
        if FIRST_YEAR <= updated.year < LAST_YEAR:
            with self._lock:
                self._by_stamp = _later(self._by_stamp, self._ahead(updated))

    def server_time(self) -> datetime:
        """Return the time by the server's clock, never later than it is there.

        It is by the stamps of records once there is one: a `Date` header may be a proxy's.

        Raises:
            BackendError: no answer so far carried a date.

        """
        ahead = self._by_header if self._by_stamp is None else self._by_stamp
        if ahead is None:
            raise BackendError(f"{self.base_url} sends no Date header: is it PocketBase?")
        return EPOCH + ahead + timedelta(seconds=self._clock())

    def _read_clock(self, response: requests.Response) -> None:
        date = _parse_date(response.headers.get("Date", ""))
        if date is not None:
            with self._lock:
                self._by_header = _later(self._by_header, self._ahead(date))

    def _ahead(self, moment: datetime) -> timedelta:
        return moment - EPOCH - timedelta(seconds=self._clock())

    def _count_failure(self, reason: str) -> None:
        with self._lock:
            self._failed_calls += 1
            opened = self._failed_calls == BREAKER_THRESHOLD
        if opened:
            log.error("circuit.opened", extra={"calls": BREAKER_THRESHOLD, "reason": reason})


def describe(error: BaseException) -> str:
    """Return in a few words why a request failed; requests nests the cause deeply."""
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
    moment, now = _parse_date(value), _parse_date(response.headers.get("Date", ""))
    return max(0.0, (moment - now).total_seconds()) if moment and now else None


def _parse_date(text: str) -> datetime | None:
    """Parse a date of HTTP; None if it is none, or one that no server's clock shows."""
    try:
        date = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date if FIRST_YEAR <= date.year < LAST_YEAR else None


def _later(known: timedelta | None, seen: timedelta) -> timedelta:
    """Return the larger: each time was written before it arrived, so the latest is the closest."""
    return seen if known is None else max(known, seen)


def _wait(state: RetryCallState) -> float:
    """Return the wait that the server asks for, or an exponential one with full jitter."""
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, Transient) and failure.retry_after is not None:
        return min(failure.retry_after, LONGEST_WAIT)
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
