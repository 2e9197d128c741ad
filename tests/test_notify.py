"""Notifications: the messages, and their delivery in the background."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import pytest
from support.channel import Recorder

from avscan.events import Settled
from avscan.findings import Examination, Sighting
from avscan.ops.notify import Message, Notifier, failure_message, verdict_message
from avscan.records import Build, Status
from avscan.verdict import FileReport, Verdict

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
BUILD = Build(id="b" * 15, files=("a", "b"), app="app1", branch="main1", created=NOON, updated=NOON)


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


class Hanging(Recorder):
    """A channel whose receiver does not respond."""

    def deliver(self, message: Message) -> str | None:
        threading.Event().wait(60)
        return super().deliver(message)


# -- messages -------------------------------------------------------------------------------------

ABOUT_THE_BUILD = {
    "build": "b" * 15,
    "app": "app1",
    "branch": "main1",
    "time": "2026-05-01T12:00:00.000Z",
}


@pytest.mark.parametrize(
    ("event", "values"),
    [
        (
            settled("Eicar", "Worm", reason="Eicar in b (1 of 2 files)"),
            {
                "reason": "Eicar in b (1 of 2 files)",
                "file": "b",
                "virus": "Eicar",
                "sha256": "bb",
                "text": "Build bbbbbbbbbbbbbbb is infected: Eicar in b (1 of 2 files)",
            },
        ),
        (
            settled(status=Status.ERROR, reason="b: missing from the storage"),
            {
                "reason": "b: missing from the storage",
                "text": "Build bbbbbbbbbbbbbbb could not be scanned: b: missing from the storage",
            },
        ),
        (
            settled(status=Status.CLEAN, reason="nothing found in 2 files, 12 bytes"),
            {
                "reason": "nothing found in 2 files, 12 bytes",
                "text": "Build bbbbbbbbbbbbbbb is clean: nothing found in 2 files, 12 bytes",
            },
        ),
    ],
    ids=["infected", "error", "clean"],
)
def test_the_message_about_a_verdict(event: Settled, values: dict[str, str]) -> None:
    message = verdict_message(event)
    assert message is not None
    assert message.event == event.verdict.status
    assert message.values == ABOUT_THE_BUILD | values


@pytest.mark.parametrize("status", [Status.INFECTED, Status.ERROR, Status.CLEAN])
def test_the_same_verdict_on_the_same_files_is_not_reported_again(status: Status) -> None:
    assert verdict_message(settled("Eicar", status=status, known=True)) is None


def test_the_message_about_a_failed_pass() -> None:
    message = failure_message(exit_code=6, reason="no signatures", host="scanner-1", at=NOON)
    assert message.event == "pass_failed"
    assert message.values == {
        "exit_code": 6,
        "reason": "no signatures",
        "host": "scanner-1",
        "time": "2026-05-01T12:00:00.000Z",
        "text": "A pass of avscan on scanner-1 failed with exit code 6: no signatures",
    }


def test_each_message_has_an_id_of_its_own() -> None:
    assert Message(event="x", values={}).id != Message(event="x", values={}).id


# -- delivery -------------------------------------------------------------------------------------


def test_each_channel_delivers_its_own_events_in_order() -> None:
    some, others = Recorder(), Recorder(events=frozenset({"clean"}))
    notifier = Notifier([some, others])
    for status in (Status.CLEAN, Status.ERROR, Status.INFECTED):
        notifier(settled("Eicar", status=status))
    assert notifier.close(within=10)
    assert (some.delivered, others.delivered) == (["error", "infected"], ["clean"])
    assert (some.closed, others.closed) == (True, True)


def test_sends_is_true_for_the_events_of_any_channel() -> None:
    notifier = Notifier([Recorder(), Recorder(events=frozenset({"clean"}))])
    found = {event for event in ("infected", "clean", "pass_failed") if notifier.sends(event)}
    assert found == {"infected", "clean"}


def test_a_failed_delivery_is_a_warning_and_the_next_message_is_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Recorder(failure="answered 500")
    notifier = Notifier([broken])
    notifier(settled("Eicar"))
    notifier(settled(status=Status.ERROR))
    assert not notifier.close(within=10)
    assert broken.delivered == ["infected", "error"]
    first, second = [each for each in caplog.records if each.msg == "notification.failed"]
    assert first.levelno == logging.WARNING
    assert (vars(first)["channel"], vars(first)["reason"]) == ("recorder", "answered 500")
    assert (vars(first)["about"], vars(second)["about"]) == ("infected", "error")


def test_a_hanging_channel_delays_no_other_and_not_the_pass(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hanging, working = Hanging(), Recorder()
    notifier = Notifier([hanging, working])
    notifier(settled("Eicar"))
    assert not notifier.close(within=0.2)
    assert working.delivered == ["infected"]
    assert hanging.closed
    assert [each.msg for each in caplog.records if each.levelno == logging.WARNING] == [
        "notification.unsent"
    ]
