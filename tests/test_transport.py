"""HTTP requests to one server: retries, the circuit breaker, and the server's clock."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from support.scripted import NOW, Answer, Scripted, reply, scripted

from avscan.backend.transport import (
    BREAKER_THRESHOLD,
    MAX_WAIT,
    ON_SIGNAL,
    RetryPolicy,
    Transient,
    Transport,
    describe,
)
from avscan.errors import BackendError

SERVER_NOW = datetime.fromtimestamp(NOW, UTC)
OK = reply({})
QUICK = RetryPolicy(timeout=0.2)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


def get(transport: Transport, policy: RetryPolicy | None = None, **options: str) -> int:
    def attempt(policy: RetryPolicy) -> int:
        response = transport.send("GET", "/path", timeout=policy.timeout, **options)  # type: ignore[arg-type]
        return response.status_code

    return transport.retry(attempt, policy)


# -- retries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        *(Answer(status=status) for status in (408, 425, 429, 500, 502, 503, 504)),
        Answer(reset=True),
        Answer(body=b"late", delay=0.5),
    ],
    ids=lambda answer: "reset" if answer.reset else "late" if answer.delay else answer.status,
)
def test_a_temporary_failure_is_retried(server: Scripted, failure: Answer) -> None:
    server.say(failure, OK)
    assert get(server.transport(QUICK)) == 200
    assert len(server.requests) == 2
    assert len(server.slept) == 1


@pytest.mark.parametrize("status", [200, 204, 206, 400, 401, 403, 404, 416, 501])
def test_any_other_status_is_returned(server: Scripted, status: int) -> None:
    server.say(Answer(status=status))
    assert get(server.transport()) == status
    assert server.slept == []


def test_a_refused_connection_is_retried() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        slept: list[float] = []
        transport = Transport(
            f"http://127.0.0.1:{port}", policy=RetryPolicy(), user_agent="a", sleep=slept.append
        )
        reason = rf"^can't reach PocketBase at http://127.0.0.1:{port}: .*Connection refused"
        with pytest.raises(BackendError, match=reason):
            get(transport)
        transport.close()
    assert len(slept) == 2


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_retries_end_at_the_number_of_attempts(server: Scripted, attempts: int) -> None:
    server.say(*[Answer(status=503)] * 9)
    with pytest.raises(BackendError, match="answered 503"):
        get(server.transport(RetryPolicy(attempts=attempts)))
    assert len(server.requests) == attempts


def test_retries_end_at_the_deadline(server: Scripted) -> None:
    server.say(*[Answer(status=503)] * 9)
    with pytest.raises(BackendError):
        get(server.transport(RetryPolicy(attempts=9, deadline=0.09)))
    assert len(server.requests) == 1


def test_waits_grow_up_to_their_maximum(server: Scripted) -> None:
    server.say(*[Answer(status=503)] * 20)
    with pytest.raises(BackendError):
        get(server.transport(RetryPolicy(attempts=20)))
    assert len(server.slept) == 19
    assert all(
        0.1 <= wait <= min(MAX_WAIT, 0.5 * 2**number) for number, wait in enumerate(server.slept, 1)
    )
    assert max(server.slept) > 1


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("3600", MAX_WAIT),
        ("9" * 400, MAX_WAIT),
        (format_datetime(SERVER_NOW + timedelta(seconds=4), usegmt=True), 4.0),
        (format_datetime(SERVER_NOW - timedelta(seconds=4), usegmt=True), 0.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_sets_the_wait(
    server: Scripted, status: int, retry_after: str, wait: float
) -> None:
    server.say(Answer(status=status, headers={"Retry-After": retry_after}), OK)
    get(server.transport())
    assert server.slept == [wait]


@pytest.mark.parametrize("retry_after", ["", "soon", "-5"])
def test_an_invalid_retry_after_is_ignored(server: Scripted, retry_after: str) -> None:
    server.say(Answer(status=429, headers={"Retry-After": retry_after}), OK)
    get(server.transport())
    (wait,) = server.slept
    assert 0.1 <= wait <= 1.0


def test_a_malformed_address_is_a_backend_error() -> None:
    transport = Transport("http://a..b", policy=RetryPolicy(), user_agent="avscan")
    with pytest.raises(BackendError, match=r"a\.\.b"):
        get(transport)


def test_each_retry_is_logged_with_its_reason(
    server: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(Answer(status=502), OK)
    get(server.transport())
    (record,) = caplog.records
    assert record.message == "request.retried"
    assert vars(record)["attempt"] == 1
    assert vars(record)["reason"] == "answered 502"
    assert vars(record)["wait"] == round(server.slept[0], 2)


# -- the circuit ----------------------------------------------------------------------------------


def fail(transport: Transport, times: int) -> None:
    for _ in range(times):
        with pytest.raises(BackendError):
            get(transport)


def test_the_circuit_opens_after_consecutive_failed_calls(
    server: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(*[Answer(status=503)] * 9)
    transport = server.transport(RetryPolicy(attempts=1))
    fail(transport, BREAKER_THRESHOLD)
    assert transport.circuit_open
    with pytest.raises(BackendError, match="keeps failing"):
        get(transport)
    assert len(server.requests) == BREAKER_THRESHOLD
    opened = [record for record in caplog.records if record.message == "circuit.opened"]
    assert [vars(record)["reason"] for record in opened] == ["answered 503"]
    assert opened[0].levelno == logging.ERROR


def test_a_successful_call_resets_the_count(server: Scripted) -> None:
    transport = server.transport(RetryPolicy(attempts=1))
    server.say(*[Answer(status=503)] * (BREAKER_THRESHOLD - 1), OK)
    server.say(*[Answer(status=503)] * (BREAKER_THRESHOLD - 1), OK)
    for _ in range(2):
        fail(transport, BREAKER_THRESHOLD - 1)
        assert get(transport) == 200
    assert not transport.circuit_open


def test_attempts_of_one_call_count_as_one_failure(server: Scripted) -> None:
    server.say(*[Answer(status=503)] * 9)
    transport = server.transport(RetryPolicy(attempts=9))
    fail(transport, 1)
    assert not transport.circuit_open


def test_an_open_circuit_allows_calls_on_a_signal_and_is_logged_once(
    server: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    transport = server.transport(RetryPolicy(attempts=1))
    server.say(*[Answer(status=503)] * (BREAKER_THRESHOLD + 1), OK)
    fail(transport, BREAKER_THRESHOLD)
    with pytest.raises(BackendError, match="503"):
        get(transport, ON_SIGNAL)
    assert [record.message for record in caplog.records].count("circuit.opened") == 1
    assert get(transport, ON_SIGNAL) == 200
    assert not transport.circuit_open


def test_a_permanent_failure_does_not_open_the_circuit(server: Scripted) -> None:
    server.say(*[Answer(status=302, headers={"Location": "/"})] * BREAKER_THRESHOLD)
    transport = server.transport()
    fail(transport, BREAKER_THRESHOLD)
    assert not transport.circuit_open


# -- requests -------------------------------------------------------------------------------------


def test_a_request_carries_the_constant_agent_the_token_and_the_base_path(
    server: Scripted,
) -> None:
    server.say(OK)
    transport = server.transport(url=server.url + "/backend/")
    assert get(transport, token="a.b.c") == 200
    (request,) = server.requests
    assert request.path == "/backend/path"
    assert request.headers["User-Agent"] == "avscan"
    assert request.headers["Authorization"] == "a.b.c"


def test_the_proxy_of_the_environment_is_used(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.say(reply({}))
    server.transport(url="http://pocketbase.invalid").send("GET", "/api/health")
    assert server.requests[0].headers["Host"] == "pocketbase.invalid"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_certificates_of_the_environment_are_used(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(name, "/no/such/bundle")
    transport = Transport("https://127.0.0.1:1", policy=RetryPolicy(), user_agent="avscan")
    with pytest.raises(BackendError, match="/no/such/bundle"):
        transport.send("GET", "/api/health")
    transport.close()


@pytest.mark.parametrize("token", [None, "a.b.c"])
def test_a_netrc_file_is_ignored(
    server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login root password from-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    server.say(OK)
    server.transport().send("GET", "/path", token=token)
    assert server.requests[0].headers.get("Authorization") == token


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(server: Scripted, status: int) -> None:
    server.say(
        Answer(status=status, headers={"Location": "https://elsewhere.example/path?token=x"})
    )
    with pytest.raises(BackendError) as caught:
        get(server.transport())
    assert "redirects to https://elsewhere.example/path" in str(caught.value)
    assert "POCKETBASE_URL" in str(caught.value)
    assert "token=x" not in str(caught.value)
    assert len(server.requests) == 1


def test_requests_are_counted_with_retries(server: Scripted) -> None:
    server.say(Answer(status=500), OK)
    transport = server.transport()
    get(transport)
    assert transport.requests_made == 2


# -- the clock ------------------------------------------------------------------------------------


def test_server_time_advances_by_the_monotonic_clock(server: Scripted) -> None:
    seconds = 100.0
    transport = Transport(server.url, policy=RetryPolicy(), user_agent="a", clock=lambda: seconds)
    server.say(OK)
    transport.send("GET", "/")
    assert transport.server_time() == SERVER_NOW
    seconds = 130.0
    assert transport.server_time() == SERVER_NOW + timedelta(seconds=30)
    transport.close()


def test_the_latest_date_counts_because_each_is_slightly_early(server: Scripted) -> None:
    later = format_datetime(SERVER_NOW + timedelta(seconds=1), usegmt=True)
    server.say(OK, Answer(headers={"Date": later}), OK)
    transport = Transport(server.url, policy=RetryPolicy(), user_agent="a", clock=lambda: 0.0)
    for _ in range(3):
        transport.send("GET", "/")
    assert transport.server_time() == SERVER_NOW + timedelta(seconds=1)
    transport.close()


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_server_without_a_date_has_no_time(server: Scripted, date: str) -> None:
    server.say(Answer(headers={"Date": date}))
    transport = server.transport()
    transport.send("GET", "/")
    with pytest.raises(BackendError, match="no Date header"):
        transport.server_time()


# -- descriptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectTimeout("x"), "no connection within the time allowed"),
        (requests.ReadTimeout("x"), "no answer within the time allowed"),
        (requests.exceptions.SSLError("bad certificate"), "the TLS connection failed: bad certif"),
        (requests.ConnectionError(OSError("gone")), "the connection failed: gone"),
        (requests.ConnectionError(), "the connection failed: ConnectionError"),
        (ValueError("else"), "else"),
    ],
)
def test_a_failure_is_described_briefly(error: Exception, words: str) -> None:
    assert describe(error).startswith(words)


def test_a_failure_keeps_its_cause(server: Scripted) -> None:
    server.say(Answer(reset=True))
    with pytest.raises(BackendError) as caught:
        get(server.transport(RetryPolicy(attempts=1)))
    assert isinstance(caught.value.__cause__, Transient)
    assert "Connection reset by peer" in str(caught.value)
    assert "\n" not in str(caught.value)
