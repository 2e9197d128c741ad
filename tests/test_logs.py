"""The log: JSON lines and text lines."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from avscan.logs import configure
from avscan.settings import LogFormat

log = logging.getLogger("avscan.somewhere")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def started(form: LogFormat, level: str = "info", stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    configure(level, form, stream=stream)
    return stream


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def failing() -> None:
    message = "the cause"
    raise RuntimeError(message)


def test_a_json_line_has_time_level_event_and_fields() -> None:
    stream = started(LogFormat.JSON)
    log.info("file.started", extra={"build": "abc", "size": 7, "seconds": 1.5})
    (event,) = events(stream)
    moment = event.pop("time")
    assert event == {
        "level": "info",
        "event": "file.started",
        "build": "abc",
        "size": 7,
        "seconds": 1.5,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() < 60


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.DEBUG, "debug"),
        (logging.INFO, "info"),
        (logging.WARNING, "warn"),
        (logging.ERROR, "error"),
    ],
)
def test_levels_have_the_names_of_the_setting(level: int, name: str) -> None:
    stream = started(LogFormat.JSON, "debug")
    log.log(level, "event")
    assert events(stream)[0]["level"] == name


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_a_level_includes_more_severe_ones(level: str, shown: list[str]) -> None:
    stream = started(LogFormat.JSON, level)
    for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(each, "event")
    assert [event["level"] for event in events(stream)] == shown


def test_a_traceback_is_a_field_of_one_line() -> None:
    stream = started(LogFormat.JSON)
    try:
        failing()
    except RuntimeError:
        log.exception("bug")
    (event,) = events(stream)
    assert event["event"] == "bug"
    assert event["traceback"].startswith("Traceback")
    assert event["traceback"].endswith("RuntimeError: the cause")
    assert "exc_info" not in event


@pytest.mark.parametrize("text", ["two\nlines", "a\u2028b", "\x1b[31mred", "naïve 日本", "\ud800"])
def test_any_text_is_one_ascii_line_of_json(text: str) -> None:
    stream = started(LogFormat.JSON)
    log.info("event", extra={"name_of_file": text})
    assert stream.getvalue().isascii()
    assert len(stream.getvalue().splitlines()) == 1
    assert events(stream)[0]["name_of_file"] == text


def test_logs_of_other_libraries_are_not_included() -> None:
    stream = started(LogFormat.JSON, "debug")
    logging.getLogger("urllib3").warning("theirs")
    assert stream.getvalue() == ""


def test_configuring_again_replaces_the_stream() -> None:
    first = started(LogFormat.JSON)
    second = started(LogFormat.JSON)
    log.info("event")
    assert first.getvalue() == ""
    assert len(events(second)) == 1


# -- text -----------------------------------------------------------------------------------------


def test_a_text_line_has_the_time_the_level_the_event_and_fields() -> None:
    stream = started(LogFormat.TEXT)
    log.warning("file.started", extra={"build": "abc", "seconds": 1.555, "virus": None})
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d warn  file\.started       build=abc seconds=1\.5[56]\n", stream.getvalue()
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a b", "'a b'"), ("two\nlines", r"'two\nlines'"), ("\x1b[31m", r"'\x1b[31m'"), (7, "7")],
)
def test_values_with_spaces_or_control_characters_are_quoted(value: object, shown: str) -> None:
    stream = started(LogFormat.TEXT)
    log.info("event", extra={"field": value})
    assert stream.getvalue().endswith(f" field={shown}\n")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_traceback_follows_its_text_line() -> None:
    stream = started(LogFormat.TEXT)
    try:
        failing()
    except RuntimeError:
        log.exception("bug")
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith(" bug")
    assert lines[1].startswith("Traceback")
    assert lines[-1] == "RuntimeError: the cause"


@pytest.mark.parametrize(("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(
    stream: io.StringIO, *, is_json: bool
) -> None:
    started(LogFormat.AUTO, stream=stream)
    log.info("event")
    assert stream.getvalue().startswith("{") is is_json


def test_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", LogFormat.JSON)
    log.info("event")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "event"
