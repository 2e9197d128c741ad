"""The webhook: its requests, their signature, and the reasons of failures."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from standardwebhooks import Webhook as Receiver
from support.scripted import Answer, Scripted, scripted

from avscan.ops.notify import Channel, Message
from avscan.ops.webhook import Webhook, encode, from_settings
from avscan.settings import Settings

SECRET = b"0123456789abcdef0123456789abcdef"
PATH = "/services/T000/hidden-part"
MESSAGE = Message(event="infected", values={"build": "b1", "text": "Build b1 is infected: <x> & y"})
SETTINGS = Settings.parse({"POCKETBASE_URL": "http://localhost", "POCKETBASE_TOKEN": "token"})


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as script:
        yield script


def webhook(url: str, server: Scripted | None = None, *, secret: bytes = SECRET) -> Webhook:
    return Webhook(
        url,
        events=frozenset({"infected"}),
        secret=secret,
        attempts=3,
        sleep=server.slept.append if server else lambda _: None,
    )


def test_there_is_no_webhook_without_a_url() -> None:
    assert from_settings(SETTINGS) is None
    found: Channel | None = from_settings(replace(SETTINGS, webhook_url="https://a"))
    assert found is not None
    assert found.events == {"infected", "error", "pass_failed"}


def test_slack_markup_is_escaped() -> None:
    assert json.loads(encode(MESSAGE)) == {
        "event": "infected",
        "build": "b1",
        "text": "Build b1 is infected: &lt;x&gt; &amp; y",
    }


def test_the_standard_webhooks_library_accepts_the_signature(server: Scripted) -> None:
    server.say(Answer(status=204))
    assert webhook(server.url + PATH).deliver(MESSAGE) is None
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", PATH)
    headers = {name.lower(): value for name, value in request.headers.items()}
    receiver = Receiver("whsec_" + base64.b64encode(SECRET).decode())
    assert receiver.verify(request.body, headers)["build"] == "b1"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == "avscan"


def test_without_a_secret_nothing_is_signed(server: Scripted) -> None:
    server.say(Answer(status=200))
    assert webhook(server.url + PATH, secret=b"").deliver(MESSAGE) is None
    (request,) = server.requests
    assert "webhook-signature" not in {name.lower() for name in request.headers}


def test_a_repetition_has_the_same_id(server: Scripted) -> None:
    server.say(Answer(status=503), Answer(reset=True), Answer(status=200))
    assert webhook(server.url + PATH, server).deliver(MESSAGE) is None
    assert len(server.requests) == 3
    assert {request.headers["webhook-id"] for request in server.requests} == {MESSAGE.id}
    assert len(server.slept) == 2


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([Answer(status=404)], "answered 404"),
        ([Answer(status=500)] * 3, "answered 500"),
        ([Answer(reset=True)] * 3, "the connection failed"),
        ([Answer(status=302, headers={"Location": PATH + "/elsewhere"})], "it redirects elsewhere"),
    ],
)
def test_the_reason_of_a_failure_does_not_contain_the_url(
    server: Scripted, caplog: pytest.LogCaptureFixture, answers: list[Answer], reason: str
) -> None:
    caplog.set_level(logging.DEBUG, "avscan")
    server.say(*answers)
    found = webhook(server.url + PATH, server).deliver(MESSAGE)
    assert found is not None
    assert found.startswith(reason)
    logged = [str(value) for record in caplog.records for value in vars(record).values()]
    assert not [text for text in [found, *logged] if "hidden-part" in text]


def test_the_scheme_of_a_url_may_be_in_capitals(server: Scripted) -> None:
    server.say(Answer(status=200))
    assert webhook(server.url.replace("http", "HTTP") + PATH).deliver(MESSAGE) is None
    assert [request.path for request in server.requests] == [PATH]


def test_an_invalid_url_is_a_failure() -> None:
    assert webhook("http://hooks..example.com/").deliver(MESSAGE) == "its address can't be used"
