"""Command output, captured from a real terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.backend import Backend
from support.run import avscan
from support.scripted import Answer, Scripted, scripted
from support.terminal import on_terminal

from avscan.clamav.canary import eicar
from avscan.events import Event
from avscan.passes import run_pass
from avscan.settings import Settings
from avscan.workspace import Workspace

LONG = "a_game_with_a_name_that_goes_on_and_on_until_nobody_wants_to_read_it_any_more.zip"


@pytest.fixture
def builds(backend: Backend) -> list[str]:
    clean = backend.upload({LONG: b"a game"})
    infected = backend.upload({"crack.exe": eicar(), "readme.txt": b"a game"})
    lost = backend.upload({"lost.txt": b"a game"})
    backend.stored(lost, *backend.file_names(lost)).unlink()
    return [clean, infected, lost]


@pytest.fixture
def hook() -> Iterator[Scripted]:
    with scripted() as script:
        yield script


def test_a_pass_prints_a_line_per_build_and_a_table(backend: Backend, builds: list[str]) -> None:
    clean, infected, lost = builds
    shown = on_terminal("run", env=backend.environment(MAX_SIGNATURE_AGE="0"))
    assert shown.code == 0
    words = [line.split() for line in shown.lines]
    assert ["clean", clean] in [line[:2] for line in words]
    (line,) = [line for line in shown.lines if line.startswith(f"infected  {infected}  Eicar-")]
    assert line.endswith("…")
    assert [line for line in shown.lines if line.startswith(f"error     {lost}  lost")]
    assert shown.lines[-6:-2] == [
        "          BUILDS  FILES  SIZE",
        "clean     1       1      6 bytes",
        "infected  1       2      74 bytes",
        "error     1       1      0 bytes",
    ]
    assert re.fullmatch(r"3 builds in [\d.]+ (s|min.*)", shown.lines[-2])
    assert shown.lines[-1] == "`avscan history BUILD` prints a build's whole log."
    assert b"\x1b[31;1minfected" in shown.sent
    assert not [line for line in shown.lines if line.startswith("{")]

    status = on_terminal("status", env=backend.environment(NO_COLOR="1"))
    assert status.code == 0
    assert b"\x1b" not in status.sent
    assert re.fullmatch(
        r"kept  at most 1 % of scans failed +0\.0 % +0 of 3 verdicts", status.lines[4]
    )
    assert "Errors        1 of missing files" in status.lines
    assert max(map(len, status.lines)) <= 80


def test_a_history_is_printed_without_control_characters(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    log = "error: \x1b[2J\x1b]0;owned\x07 in a\nerror     a\u202etxt"
    backend.create_check(build, status="error", log=log)
    shown = on_terminal("history", build, env=backend.environment())
    assert shown.code == 0
    assert b"\x1b[2J" not in shown.sent
    assert b"\x07" not in shown.sent
    assert "error: \\x1b[2J\\x1b]0;owned\\x07 in a" in shown.lines
    assert "  error     a\\u202etxt" in shown.lines


def test_without_a_terminal_a_pass_logs_and_prints_nothing(
    backend: Backend, builds: list[str], hook: Scripted
) -> None:
    hook.say(*[Answer(status=500)] * 3)
    env = backend.environment(
        WEBHOOK_URL=f"{hook.url}/hidden", WEBHOOK_SECRET="hidden", WEBHOOK_EVENTS="infected"
    )
    done = avscan("run", "--full", env=env)
    assert (done.code, done.out) == (0, "")
    assert "hidden" not in done.err
    assert done.event("notification.failed")["reason"] == "answered 500"
    assert done.event("pass.finished")["infected"] == 1
    assert len(hook.requests) == 3


def test_a_listener_that_fails_does_not_stop_a_pass(backend: Backend, builds: list[str]) -> None:
    def listen(event: Event) -> None:
        raise ZeroDivisionError(event)

    done = run_pass(Settings.parse(backend.environment()), full=True, listen=listen)
    assert done.scanned == len(builds)


def test_an_unknown_build_or_window_is_a_usage_error(backend: Backend) -> None:
    env = backend.environment()
    assert avscan("history", "nosuchbuild0000", env=env).code == 2
    assert avscan("history", "../app_builds", env=env).code == 2
    assert avscan("status", "--since", "soon", env=env).code == 2
    assert avscan("status", "--since", "999999d", env=env).code == 2


def test_a_terminal_shows_that_another_pass_is_at_work(backend: Backend) -> None:
    with Workspace(backend.work_dir):
        shown = on_terminal("run", env=backend.environment())
    assert shown.code == 0
    assert any("another pass is at work" in line for line in shown.lines)
