"""The command line as its users meet it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from contextlib import nullcontext

import pytest
from support.backend import REPOSITORY, Backend
from support.run import avscan, start

from avscan import __version__
from avscan.boundary import boundary
from avscan.logs import configure
from avscan.settings import VARIABLES, LogFormat

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BARE = {"PATH": "/usr/bin:/bin"}


def test_the_version_is_told() -> None:
    assert avscan("--version", env=BARE).out.split()[-1] == __version__


def test_the_help_lists_the_commands_and_the_exit_codes() -> None:
    text = avscan("--help", env=BARE).out
    for word in ("demo", "init", "rescan", "run", "143"):
        assert re.search(rf"^ +{word} ", text, re.MULTILINE), word


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_each_setting_is_in_the_help_and_in_the_readme(variable: object) -> None:
    (found,) = [each for each in VARIABLES if each is variable]
    text = avscan("run", "--help", env=BARE).out
    assert found.name in text
    assert (found.option in text.split()) is not found.secret
    default = f"`{found.default}`" if found.default else ""
    table = [line for line in README.splitlines() if line.startswith("| `") and found.name in line]
    assert any(default in line for line in table)


def test_an_option_goes_before_its_variable(backend: Backend) -> None:
    env = backend.environment(LOG_LEVEL="debug")
    done = avscan("run", "--log-level", "error", env=env)
    assert (done.code, done.err) == (0, "")


def test_no_secret_is_ever_told(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    env = backend.environment(LOG_LEVEL="debug", POCKETBASE_SUPERUSER_PASSWORD="hunter2hunter2")
    done = avscan("run", env=env)
    assert done.code == 4
    assert "hunter2" not in done.out + done.err


def test_a_bug_leaves_its_traceback_in_the_log_and_exits_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avscan.boundary.refuse_inspection", lambda: None)
    monkeypatch.setattr("avscan.boundary.interruptible", nullcontext)
    configure("info", LogFormat.JSON)
    with pytest.raises(SystemExit) as ended, boundary():
        raise ZeroDivisionError
    assert ended.value.code == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_standard_stream_is_no_trouble(backend: Backend, closed: str) -> None:
    build = backend.upload({"a.txt": b"a game"})
    command = [sys.executable, "-m", "avscan", "run", "--full"]
    line = f"exec {shlex.join(command)} {closed}>&-"
    done = subprocess.run(["/bin/sh", "-c", line], env=backend.environment(), check=False)
    assert done.returncode == 0
    assert backend.status_of(build) == "clean"


def test_a_reader_that_has_seen_enough_is_no_bug(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    process = start("run", "--dry-run", env=backend.environment())
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")


def test_a_pass_that_failed_does_not_say_that_it_finished(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    done = avscan("run", "--full", env=backend.environment(CLAMSCAN_PATH="/does/not/exist"))
    assert done.code == 6
    assert not done.named("pass.finished")
    assert done.event("pass.unfinished")["discovered"] == 1


def test_init_creates_the_collection_once(every_backend: Backend) -> None:
    backend = every_backend
    backend.json("DELETE", "/api/collections/av_build_checks")
    env = backend.environment()
    assert avscan("init", env=env).out == "av_build_checks: created\n"
    assert avscan("init", env=env).out == "av_build_checks: as it should be\n"


def test_init_says_what_differs_and_mends_it_when_told_to(backend: Backend) -> None:
    env = backend.environment()
    before = backend.json("GET", "/api/collections/av_build_checks")
    said = avscan("init", env=env)
    assert said.code == 0
    assert "log.max: 5,000, PocketBase's default; advised: at least 100,000" in said.out
    assert "`avscan init --fix`" in said.out
    assert backend.json("GET", "/api/collections/av_build_checks") == before
    mended = avscan("init", "--fix", env=env)
    assert "index on build: missing; is now: unique index" in mended.out
    assert avscan("init", env=env).out == "av_build_checks: as it should be\n"


def test_init_ends_with_5_where_no_pass_can_work(backend: Backend) -> None:
    definition = backend.json("GET", "/api/collections/av_build_checks")
    fields = [field for field in definition["fields"] if field["name"] != "log"]
    backend.json("PATCH", "/api/collections/av_build_checks", json={"fields": fields})
    done = avscan("init", env=backend.environment())
    assert done.code == 5
    assert "log: missing; needed: text" in done.out


def test_a_pass_on_an_unfit_collection_ends_with_5_and_its_advice(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    definition = backend.json("GET", "/api/collections/av_build_checks")
    fields = [field for field in definition["fields"] if field["name"] != "scan_time"]
    backend.json("PATCH", "/api/collections/av_build_checks", json={"fields": fields})
    done = avscan("run", "--full", env=backend.environment())
    assert done.code == 5
    assert "avscan init" in done.event("pass.ended")["reason"]
