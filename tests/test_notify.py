"""The webhook: what it is told, how it is signed, and that it never stands in the way."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Receiver
from support.scripted import Answer, Scripted, scripted

from avscan.events import Settled
from avscan.findings import Examination, Sighting
from avscan.ops.notify import Message, Webhook, infected, pass_failed
from avscan.records import Build, Status
from avscan.verdict import FileReport, Verdict

Logged = pytest.LogCaptureFixture
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
BUILD = Build(id="b" * 15, files=("a", "b"), app="app1", branch="main1", created=NOON, updated=NOON)
SECRET = b"0123456789abcdef0123456789abcdef"
PATH = "/services/T000/hidden-part"


def settled(
    *signatures: str, status: Status = Status.INFECTED, reason: str = "x in b", known: bool = False
) -> Settled:
    sightings = tuple(Sighting(signature=each) for each in signatures)
    files = (
        FileReport(name="a", examination=Examination(), sha256="aa"),
        FileReport(name="b", examination=Examination(sightings=sightings), sha256="bb"),
    )
    name = signatures[0] if signatures else ""
    return Settled(
        build=BUILD,
        verdict=Verdict(status=status, reason=reason, virus_name=name),
        reports=files,
        at=NOON,
        known=known,
    )


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    caplog.set_level(logging.DEBUG, "avscan")
    return caplog


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as script:
        yield script


def webhook(server: Scripted, *, secret: bytes = SECRET, path: str = PATH) -> Webhook:
    return Webhook(
        server.url + path,
        secret=secret,
        attempts=3,
        user_agent="avscan",
        sleep=server.slept.append,
    )


def test_an_infection_is_told_with_all_that_names_it() -> None:
    message = infected(settled("Eicar", "Worm", reason="Eicar in b (1 of 2 files)"))
    assert message is not None
    assert json.loads(message.body()) == {
        "event": "infected",
        "build": "b" * 15,
        "app": "app1",
        "branch": "main1",
        "file": "b",
        "virus": "Eicar",
        "sha256": "bb",
        "time": "2026-05-01T12:00:00.000Z",
        "text": "Build bbbbbbbbbbbbbbb is infected: Eicar in b (1 of 2 files)",
    }


@pytest.mark.parametrize(
    "event",
    [
        settled(status=Status.CLEAN),
        settled(status=Status.ERROR),
        settled("Eicar", known=True),
    ],
)
def test_only_a_build_that_becomes_infected_is_told_of(event: Settled) -> None:
    assert infected(event) is None


def test_a_failed_pass_is_told_with_its_reason() -> None:
    message = pass_failed(exit_code=6, reason="no signatures", host="scanner-1", at=NOON)
    told = json.loads(message.body())
    assert (told["event"], told["exit_code"], told["reason"]) == ("pass_failed", 6, "no signatures")
    assert told["text"] == "A pass of avscan on scanner-1 failed with exit code 6: no signatures"


def test_slack_is_given_no_markup_by_a_name() -> None:
    message = infected(settled("Eicar", reason="<!channel> & co"))
    assert message is not None
    assert str(message.values["text"]).endswith("&lt;!channel&gt; &amp; co")


def test_the_receivers_library_accepts_the_signature(server: Scripted) -> None:
    server.say(Answer(status=204))
    hook = webhook(server)
    hook(settled("Eicar"))
    hook.close(within=10)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", PATH)
    headers = {name.lower(): value for name, value in request.headers.items()}
    receiver = Receiver("whsec_" + base64.b64encode(SECRET).decode())
    assert receiver.verify(request.body, headers)["build"] == BUILD.id
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == "avscan"


def test_without_a_secret_nothing_is_signed(server: Scripted) -> None:
    server.say(Answer(status=200))
    hook = webhook(server, secret=b"")
    hook(settled("Eicar"))
    hook.close(within=10)
    (request,) = server.requests
    assert "webhook-signature" not in {name.lower() for name in request.headers}


def test_a_repetition_has_the_same_id(server: Scripted) -> None:
    server.say(Answer(status=503), Answer(reset=True), Answer(status=200))
    hook = webhook(server)
    hook(settled("Eicar"))
    hook.close(within=10)
    assert len(server.requests) == 3
    assert len({request.headers["webhook-id"] for request in server.requests}) == 1
    assert len(server.slept) == 2


def test_two_messages_have_two_ids() -> None:
    assert Message(event="x", values={}).id != Message(event="x", values={}).id


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([Answer(status=404)], "answered 404"),
        ([Answer(status=500)] * 3, "answered 500"),
        ([Answer(reset=True)] * 3, "the connection failed"),
        ([Answer(status=302, headers={"Location": PATH + "/elsewhere"})], "it redirects elsewhere"),
    ],
)
def test_a_failure_is_a_warning_that_keeps_the_address(
    server: Scripted, logged: Logged, answers: list[Answer], reason: str
) -> None:
    server.say(*answers)
    hook = webhook(server)
    hook(settled("Eicar"))
    hook.close(within=10)
    (failed,) = [record for record in logged.records if record.msg == "webhook.failed"]
    assert failed.levelno == logging.WARNING
    assert vars(failed)["reason"].startswith(reason)
    told = [text for each in logged.records for text in map(str, vars(each).values())]
    ours = [text for text in told if "hidden-part" in text]
    assert not ours


def test_an_address_may_have_its_scheme_in_capitals(server: Scripted) -> None:
    server.say(Answer(status=200))
    address = server.url.replace("http", "HTTP") + PATH
    hook = Webhook(address, secret=b"", attempts=1, user_agent="avscan")
    hook(settled("Eicar"))
    hook.close(within=10)
    assert [request.path for request in server.requests] == [PATH]


def test_an_address_that_cannot_be_one_is_a_warning(logged: Logged) -> None:
    hook = Webhook("http://hooks..example.com/", secret=b"", attempts=1, user_agent="avscan")
    hook(settled("Eicar"))
    hook.close(within=10)
    (failed,) = [record for record in logged.records if record.msg == "webhook.failed"]
    assert vars(failed)["reason"] == "its address can't be used"


def test_nobody_waits_for_an_address_that_hangs(server: Scripted, logged: Logged) -> None:
    server.say(Answer(status=200, delay=1.0))
    hook = webhook(server)
    hook(settled("Eicar"))
    hook.close(within=0.05)
    assert "webhook.unsent" in [record.msg for record in logged.records]
