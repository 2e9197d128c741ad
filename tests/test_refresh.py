"""`avscan refresh`: the real freshclam, with a local server."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.run import Run, avscan, start
from support.scripted import Answer, Scripted, scripted
from support.signatures import EICAR
from support.terminal import on_terminal

from avscan.clamav.refresh import (
    HOUR,
    INTERVAL,
    RETRY,
    RETRY_EMPTY,
    STAMP,
    NotDue,
    Outcome,
    Refreshed,
    Underway,
    configuration,
    refresh,
)
from avscan.errors import EngineError, SettingsError
from avscan.settings import Settings

GOOD = f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n".encode()
NEWER = GOOD + b"Another:0:*:4d616c77617265\n"
BAD = b"this is no signature\n"
NOW = time.time() + HOUR
"""A time later than the modification time of any file that a test creates."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "signatures"


def environment(server: Scripted, folder: Path, **changes: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "SIGNATURE_DIR": str(folder),
        "DATABASE_MIRROR": "none",
        "DATABASE_CUSTOM_URL": f"{server.url}/own.ndb",
    } | changes


def run(server: Scripted, folder: Path, *options: str, **changes: str) -> Run:
    return avscan("refresh", *options, env=environment(server, folder, **changes))


def at(moment: float, server: Scripted, folder: Path, *, force: bool = False) -> Outcome:
    """Refresh at the time `moment`, with the least random intervals."""
    settings = Settings.parse(environment(server, folder), command="refresh")
    return refresh(settings, force=force, clock=lambda: moment, chance=lambda least, _: least)


def wait_in(folder: Path) -> float:
    return (folder / STAMP).stat().st_mtime - time.time()


def test_the_first_refresh_downloads_the_signatures(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD))
    done = run(server, folder)
    assert (done.code, done.out) == (0, "")
    assert (folder / "own.ndb").read_bytes() == GOOD
    assert done.event("refresh.finished")["next"]
    assert INTERVAL[0] - 60 < wait_in(folder) < INTERVAL[1]


def test_a_refresh_that_is_not_due_sends_no_request(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD))
    run(server, folder)
    again = run(server, folder)
    assert (again.code, again.err) == (0, "")
    assert len(server.requests) == 1


def test_a_terminal_shows_when_the_next_refresh_is_due(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD))
    run(server, folder)
    shown = on_terminal("refresh", env=environment(server, folder) | {"LOG_FORMAT": "auto"})
    assert re.search(r"refresh\.not_due +next=20", shown.text)


def test_now_refreshes_at_once(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD), Answer(body=NEWER))
    run(server, folder)
    assert run(server, folder, "--now").code == 0
    assert (folder / "own.ndb").read_bytes() == NEWER


def test_bad_signatures_do_not_replace_good_ones(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD), Answer(body=BAD))
    run(server, folder)
    failed = run(server, folder, "--now")
    assert failed.code == 6
    assert "Test failed" in failed.event("refresh.failed")["reason"]
    assert (folder / "own.ndb").read_bytes() == GOOD
    assert sorted(path.name for path in folder.glob("tmp.*")) == []
    assert RETRY[0] - 60 < wait_in(folder) < RETRY[1]


def test_a_server_that_asks_to_wait_gets_no_requests(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD), Answer(status=429, headers={"Retry-After": "7200"}))
    run(server, folder)
    failed = run(server, folder, "--now")
    assert failed.code == 6
    assert "wait until 20" in failed.event("refresh.failed")["reason"]
    assert wait_in(folder) > INTERVAL[0] - 60
    assert (folder / "own.ndb").read_bytes() == GOOD


@pytest.mark.slow  # freshclam tries thrice, 5 s apart
def test_the_official_set_is_requested_from_a_private_mirror(
    server: Scripted, folder: Path
) -> None:
    server.say(*[Answer(status=404)] * 6)
    done = run(server, folder, DATABASE_MIRROR=server.url, DATABASE_CUSTOM_URL="")
    assert done.code == 6
    assert {path for _, path in server.asked} == {"/daily.cld", "/daily.cvd"}


def test_the_log_contains_only_the_hosts_of_urls(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=BAD))
    address = f"{server.url}/a-bought-secret/own.ndb"
    done = run(server, folder, DATABASE_CUSTOM_URL=address)
    assert done.code == 6
    assert "a-bought-secret" not in done.err
    malformed = run(server, folder, DATABASE_CUSTOM_URL="ftp:a-bought-secret")
    assert malformed.code == 2
    assert "a-bought-secret" not in malformed.err


def test_freshclam_gets_no_secrets_in_its_environment(
    folder: Path, server: Scripted, tmp_path: Path
) -> None:
    fake = tmp_path / "bin" / "freshclam"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nenv\n")
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    done = run(
        server, folder, PATH=path, POCKETBASE_TOKEN="hunter2", https_proxy="http://proxy.example"
    )
    environment_lines = " ".join(event["text"] for event in done.named("freshclam.line"))
    assert "hunter2" not in environment_lines
    assert "https_proxy=http://proxy.example" in environment_lines


def test_after_a_failure_the_next_attempt_waits(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=BAD), Answer(body=GOOD))
    with pytest.raises(EngineError):
        at(NOW, server, folder)
    assert isinstance(at(NOW + RETRY_EMPTY[0] - 1, server, folder), NotDue)
    assert len(server.requests) == 1
    assert isinstance(at(NOW + RETRY_EMPTY[0] + 1, server, folder), Refreshed)


def test_a_stamp_in_the_distant_future_is_ignored(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD), Answer(body=NEWER))
    at(NOW, server, folder)
    os.utime(folder / STAMP, (NOW + 9 * HOUR, NOW + 9 * HOUR))
    assert isinstance(at(NOW + 1, server, folder), Refreshed)


def test_a_server_that_asks_to_wait_gets_no_requests_even_without_signatures(
    server: Scripted, folder: Path
) -> None:
    server.say(Answer(status=429))
    with pytest.raises(EngineError, match="wait until"):
        at(NOW, server, folder)
    assert isinstance(at(NOW + INTERVAL[0] - 60, server, folder), NotDue)
    assert len(server.requests) == 1


def test_one_refresh_at_a_time(server: Scripted, folder: Path) -> None:
    folder.mkdir()
    with (folder / STAMP).open("w") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)
        assert isinstance(at(NOW, server, folder, force=True), Underway)
    assert not server.requests


def test_leftovers_of_a_killed_freshclam_are_removed(server: Scripted, folder: Path) -> None:
    left = folder / "tmp.0123456789"
    left.mkdir(parents=True)
    (left / "daily.cvd").write_bytes(bytes(1000))
    server.say(Answer(body=GOOD))
    at(NOW, server, folder)
    assert not left.exists()


def test_a_stopped_refresh_terminates_freshclam(server: Scripted, folder: Path) -> None:
    server.say(Answer(body=GOOD, delay=30))
    process = start("refresh", env=environment(server, folder))
    while not server.requests:
        time.sleep(0.05)
    (freshclam,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "refresh.stopped" in errors
    assert freshclam not in {each.name for each in Path("/proc").iterdir()}
    assert wait_in(folder) > 0


def test_the_official_set_comes_from_clamavs_own_servers(folder: Path) -> None:
    settings = Settings.parse({"SIGNATURE_DIR": str(folder)}, command="refresh")
    lines = configuration(settings).splitlines()
    assert "DatabaseMirror database.clamav.net" in lines
    assert "TestDatabases yes" in lines
    assert not [line for line in lines if line.startswith(("Private", "Exclude"))]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"DATABASE_CUSTOM_URL": ""}, "DATABASE_CUSTOM_URL is not set"),
        ({"DATABASE_MIRROR": "mirror.example.com"}, "DATABASE_MIRROR must be like https://"),
        ({"DATABASE_MIRROR": "http://a/ http://b/"}, "DATABASE_MIRROR must be one URL"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL must be"),
    ],
)
def test_invalid_settings_are_refused(folder: Path, changes: dict[str, str], problem: str) -> None:
    env = {
        "SIGNATURE_DIR": str(folder),
        "DATABASE_MIRROR": "none",
        "DATABASE_CUSTOM_URL": "http://a/b",
    }
    with pytest.raises(SettingsError, match=problem):
        Settings.parse(env | changes, command="refresh")


def test_a_missing_freshclam_is_an_error(server: Scripted, folder: Path, tmp_path: Path) -> None:
    done = run(server, folder, PATH=str(tmp_path))
    assert done.code == 6
    assert "freshclam is missing" in done.event("refresh.failed")["reason"]


def test_a_read_only_folder_is_an_error(server: Scripted) -> None:
    done = run(server, Path("/proc/signatures"))
    assert done.code == 6
    assert "can't be used" in done.event("refresh.failed")["reason"]
