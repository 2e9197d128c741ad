"""The command line: help, options, exit codes and `avscan init`."""

from __future__ import annotations

import json
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
from avscan.clamav.canary import eicar
from avscan.logs import configure
from avscan.settings import VARIABLES, LogFormat

SETTINGS = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
BARE = {"PATH": "/usr/bin:/bin"}


def test_the_version_is_printed() -> None:
    assert avscan("--version", env=BARE).out.split()[-1] == __version__


def test_the_help_lists_the_commands_and_the_exit_codes() -> None:
    text = avscan("--help", env=BARE).out
    for word in ("demo", "init", "rescan", "run", "143"):
        assert re.search(rf"^ +{word} ", text, re.MULTILINE), word


COMMANDS = ("run", "init", "rescan", "status", "history", "health", "refresh")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_options_for_exactly_the_settings_that_it_uses(command: str) -> None:
    text = avscan(command, "--help", env=BARE).out
    needed = {each for each in VARIABLES if command in each.commands}
    options = set(re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE))
    options &= {each.option for each in VARIABLES}
    assert options == {each.option for each in needed if not each.secret}
    assert not {each.name for each in needed if each.name not in text}


def test_the_help_of_history_fits_a_screen() -> None:
    assert len(avscan("history", "--help", env=BARE).out.splitlines()) <= 40


def test_only_the_main_help_lists_the_exit_codes() -> None:
    assert "130" in avscan("--help", env=BARE).out
    for command in COMMANDS:
        assert "130" not in avscan(command, "--help", env=BARE).out


def test_the_docs_have_a_row_for_each_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", SETTINGS, re.MULTILINE))
    lines = [line for line in SETTINGS.splitlines() if line.startswith("| `")]
    for each in VARIABLES:
        assert any(f"`{each.name}`" in line for line in lines), each.name
        if each.default and not each.name.endswith("_FILE"):
            assert rows[each.name] == f"`{each.default}`"


def test_an_option_overrides_its_variable(backend: Backend) -> None:
    env = backend.environment(LOG_LEVEL="debug")
    done = avscan("run", "--log-level", "error", env=env)
    assert (done.code, done.err) == (0, "")


def test_no_output_contains_a_secret(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    env = backend.environment(LOG_LEVEL="debug", POCKETBASE_SUPERUSER_PASSWORD="hunter2hunter2")
    done = avscan("run", env=env)
    assert done.code == 4
    assert "hunter2" not in done.out + done.err


def test_a_bug_is_logged_with_its_traceback_and_exits_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avscan.boundary.refuse_inspection", lambda: None)
    monkeypatch.setattr("avscan.boundary.interruptible", nullcontext)
    configure("info", LogFormat.JSON)
    with pytest.raises(SystemExit) as ended, boundary("pass"):
        raise ZeroDivisionError
    assert ended.value.code == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_pass_works_with_a_closed_standard_stream(backend: Backend, closed: str) -> None:
    build = backend.upload({"a.txt": b"a game"})
    command = [sys.executable, "-m", "avscan", "run", "--full"]
    line = f"exec {shlex.join(command)} {closed}>&-"
    done = subprocess.run(["/bin/sh", "-c", line], env=backend.environment(), check=False)
    assert done.returncode == 0
    assert backend.status_of(build) == "clean"


def test_a_closed_pipe_ends_a_command_quietly(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    process = start("run", "--dry-run", env=backend.environment())
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")


def test_a_failed_pass_logs_unfinished_instead_of_finished(backend: Backend) -> None:
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


def test_init_lists_differences_and_fixes_them_with_fix(backend: Backend) -> None:
    env = backend.environment()
    before = backend.json("GET", "/api/collections/av_build_checks")
    found = avscan("init", env=env)
    assert found.code == 0
    assert "log.max: 5,000, PocketBase's default; advised: at least 100,000" in found.out
    assert "`avscan init --fix`" in found.out
    assert backend.json("GET", "/api/collections/av_build_checks") == before
    mended = avscan("init", "--fix", env=env)
    assert "index on build: missing; is now: unique index" in mended.out
    assert avscan("init", env=env).out == "av_build_checks: as it should be\n"


def test_init_exits_5_if_a_required_field_is_missing(backend: Backend) -> None:
    definition = backend.json("GET", "/api/collections/av_build_checks")
    fields = [field for field in definition["fields"] if field["name"] != "log"]
    backend.json("PATCH", "/api/collections/av_build_checks", json={"fields": fields})
    done = avscan("init", env=backend.environment())
    assert done.code == 5
    assert "log: missing; needed: text" in done.out


def test_a_pass_exits_5_if_a_required_field_is_missing(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    definition = backend.json("GET", "/api/collections/av_build_checks")
    fields = [field for field in definition["fields"] if field["name"] != "scan_time"]
    backend.json("PATCH", "/api/collections/av_build_checks", json={"fields": fields})
    done = avscan("run", "--full", env=backend.environment())
    assert done.code == 5
    assert "avscan init" in done.event("pass.failed")["reason"]


# -- what is logged, and what is printed ----------------------------------------------------------


def test_at_warn_only_infected_and_failed_builds_are_logged(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    infected = backend.upload({"a.com": eicar()})
    done = avscan("run", "--full", env=backend.environment(LOG_LEVEL="warn"))
    assert [event["build"] for event in done.named("build.finished")] == [infected]


def test_an_idle_pass_under_cron_writes_nothing(backend: Backend) -> None:
    """Cron mails each line that a command writes."""
    done = avscan("run", env=backend.environment(LOG_FORMAT="text"))
    assert (done.code, done.out, done.err) == (0, "", "")


def test_an_idle_pass_says_so_in_json(backend: Backend) -> None:
    assert avscan("run", env=backend.environment()).event("pass.finished")["idle"] is True


@pytest.mark.parametrize("command", [["status"], ["init"], ["history", "b" * 15], ["rescan", "b"]])
def test_a_command_for_people_prints_one_line_about_what_failed(command: list[str]) -> None:
    env = {"POCKETBASE_URL": "http://127.0.0.1:1", "POCKETBASE_TOKEN": "a.b.c", "MAX_RETRIES": "1"}
    done = avscan(*command, env=BARE | env)
    assert done.code == 3
    start = "avscan: can't reach PocketBase at http://127.0.0.1:1: "
    assert re.fullmatch(rf"{re.escape(start)}.*refused.*\n", done.err)


def test_health_prints_json_for_settings_that_are_missing() -> None:
    done = avscan("health", "--json", env=BARE)
    assert done.code == 2
    assert json.loads(done.out)["parts"][0]["name"] == "settings"


def test_nothing_is_cut_in_a_pipe(backend: Backend) -> None:
    name = f"{'long_' * 15}name.com"
    build = backend.upload({name: eicar()})
    env = backend.environment()
    avscan("run", "--full", env=env)
    (stored,) = backend.file_names(build)
    assert stored in avscan("status", env=env).out
