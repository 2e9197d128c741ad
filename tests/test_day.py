"""A day of operation, on a real PocketBase with the real clamscan.

Each step checks the status, the metrics, the webhook and the exit code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families
from support.backend import Backend
from support.run import avscan
from support.scripted import Answer, Scripted, scripted

from avscan.clamav.canary import eicar
from avscan.cli import main
from avscan.records import format_time

EICAR_NAME = "Eicar-Test-Signature.UNOFFICIAL"
Samples = dict[tuple[str, str], float]


def samples(text: str) -> Samples:
    """Parse metrics with Prometheus's parser. A key is the name and the label's value."""
    return {
        (sample.name.removeprefix("avscan_"), next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ago(**span: float) -> str:
    return format_time(datetime.now(UTC) - timedelta(**span))


class Day:
    """A backend, its scanner, and the commands of an operator."""

    def __init__(self, backend: Backend, hook: Scripted, folder: Path) -> None:
        self.backend = backend
        self._hook = hook
        self._metrics = folder / "avscan.prom"
        self._env = backend.environment(
            POCKETBASE_TOKEN=backend.token,
            METRICS_FILE=str(self._metrics),
            WEBHOOK_URL=f"{hook.url}/services/hidden",
            WEBHOOK_EVENTS="infected,error,clean,pass_failed",
        )

    def run(self, **settings: str) -> Samples:
        """Run a pass. Return its metrics."""
        done = avscan("run", "--full", env=self._env | settings)
        assert "hidden" not in done.err
        figures = samples(self._metrics.read_text())
        assert figures["pass_exit_code", ""] == done.code, done.err
        assert figures["pass_success", ""] == (done.code == 0)
        return figures

    def messages(self) -> list[dict[str, Any]]:
        """Return the webhook's messages since the last call."""
        requests, self._hook.requests = self._hook.requests, []
        return [json.loads(request.body) for request in requests]

    def status(self) -> tuple[dict[str, Any], set[str]]:
        """Return the status and the names of the broken criteria. Check that all formats agree."""
        done = self._ask("json")
        report = json.loads(done.stdout)
        broken = {each["name"] for each in report["criteria"] if not each["kept"]}
        assert done.exit_code == bool(broken)
        assert report["kept"] is not bool(broken)
        metrics = self._ask("prometheus")
        assert metrics.exit_code == 0
        kept = {
            label: value
            for (name, label), value in samples(metrics.stdout).items()
            if name == "criterion_kept"
        }
        assert {name for name, value in kept.items() if not value} == broken
        screen = self._ask("table")
        assert screen.exit_code == done.exit_code
        assert screen.stdout.count("BROKEN") == len(broken)
        return report, broken

    def history(self, build: str) -> str:
        done = avscan("history", build, env=self._env)
        assert done.code == 0, done.err
        return done.out

    def rescan(self, build: str) -> None:
        assert avscan("rescan", build, env=self._env).code == 0

    def _ask(self, form: str) -> Result:
        """Run the command in this process, which saves half a second."""
        unset = dict.fromkeys(os.environ.keys() - self._env.keys())
        done = CliRunner().invoke(main, ["status", "--format", form], env=unset | self._env)
        assert done.exit_code in {0, 1}, done.output
        return done


@pytest.fixture
def hook() -> Iterator[Scripted]:
    with scripted() as script:
        script.say(*[Answer(status=200)] * 100)
        yield script


@pytest.mark.slow
def test_a_day_of_operation(  # noqa: PLR0915 - one scenario
    backend: Backend, hook: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avscan.boundary.refuse_inspection", lambda: None)
    monkeypatch.setattr("avscan.boundary.interruptible", nullcontext)
    day = Day(backend, hook, tmp_path)

    # There are no builds.
    figures = day.run()
    assert figures["pass_verdicts", "clean"] == 0
    assert figures["pass_timestamp_seconds", ""] > 0
    assert ("signatures_info", "ClamAV 1.4.6, signatures of unknown age") in figures
    report, broken = day.status()
    assert not broken
    assert report["last_verdict"] is None

    # Two clean builds.
    game = backend.upload({"game.zip": b"a game"})
    backend.upload({"a.txt": b"a game", "b.txt": b"a game"})
    report, broken = day.status()
    assert not broken
    assert [each["state"] for each in report["waiting"]] == ["unchecked", "unchecked"]
    figures = day.run()
    assert figures["pass_verdicts", "clean"] == 2
    assert figures["pass_checks", "discovered"] == 2
    assert (figures["pass_files", ""], figures["pass_scanned_bytes", ""]) == (3, 18)
    report, broken = day.status()
    assert not broken
    assert (report["checks"]["clean"], report["delay"]["count"], report["waiting"]) == (2, 2, [])
    assert [message["event"] for message in day.messages()] == ["clean", "clean"]

    # An infected build.
    crack = backend.upload({"crack.exe": eicar(), "readme.txt": b"a game"})
    figures = day.run()
    assert figures["pass_verdicts", "infected"] == 1
    report, broken = day.status()
    assert not broken
    file = next(name for name in backend.file_names(crack) if name.startswith("crack"))
    (found,) = report["detections"]
    assert (found["build"], found["file"], found["virus"]) == (crack, file, EICAR_NAME)
    (message,) = day.messages()
    assert message.pop("time").startswith("20")
    assert message == {
        "event": "infected",
        "build": crack,
        "app": backend.app,
        "branch": backend.branch,
        "reason": f"{EICAR_NAME} in {file} (1 of 2 files)",
        "file": file,
        "virus": EICAR_NAME,
        "sha256": "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f",
        "text": f"Build {crack} is infected: {EICAR_NAME} in {file} (1 of 2 files)",
    }

    # A rescan gives the same verdict, which is not reported again.
    day.rescan(crack)
    report, broken = day.status()
    assert not broken
    assert [(each["build"], each["again"]) for each in report["waiting"]] == [(crack, True)]
    assert day.run()["pass_verdicts", "infected"] == 1
    assert day.messages() == []
    assert day.status()[0]["delay"]["count"] == 2

    # A file is missing from the storage, and then restored.
    lost = backend.upload({"lost.txt": b"a game"})
    stored = backend.stored(lost, *backend.file_names(lost))
    stored.rename(tmp_path / "aside")
    assert day.run()["pass_verdicts", "error"] == 1
    report, broken = day.status()
    assert not broken
    assert report["errors"][0]["cause"] == "missing"
    assert report["errors"][0]["reason"] == f"{stored.name}: missing from the storage"
    (tmp_path / "aside").rename(stored)
    day.rescan(lost)
    assert day.run()["pass_verdicts", "clean"] == 1
    assert day.status()[1] == set()
    assert [(each["event"], each["build"]) for each in day.messages()] == [
        ("error", lost),
        ("clean", lost),
    ]

    # A pass was killed during a scan.
    stuck = backend.upload({"stuck.txt": b"a game"})
    check = backend.create_check(stuck, status="scanning", log="scanning: claim 123 by gone")
    backend.backdate("av_build_checks", check, updated=ago(minutes=3))
    report, broken = day.status()
    assert not broken
    assert [each["build"] for each in report["stuck"]] == [stuck]
    figures = day.run()
    assert (figures["pass_checks", "reclaimed"], figures["pass_verdicts", "clean"]) == (1, 1)
    assert day.status()[0]["stuck"] == []

    # The files of a clean build are replaced.
    backend.replace_files(game, {"game.zip": eicar()})
    report, broken = day.status()
    assert [(each["build"], each["state"]) for each in report["waiting"]] == [(game, "changed")]
    day.run()
    assert [(each["event"], each["build"]) for each in day.messages()] == [
        ("clean", stuck),
        ("infected", game),
    ]
    verdicts = [line for line in day.history(game).splitlines() if line[:1].strip()]
    assert [line.partition(":")[0] for line in verdicts] == [
        f"build {game}, check {game}",
        "infected",
        "clean",
    ]

    # The signatures are missing, and passes fail.
    night = backend.upload({"night.txt": b"a game"})
    backend.backdate("app_builds", night, updated=ago(minutes=11))
    figures = day.run(SIGNATURE_DIR="/usr/share/doc")
    assert (figures["pass_exit_code", ""], figures["pass_success", ""]) == (6, 0)
    (message,) = day.messages()
    assert (message["event"], message["exit_code"]) == ("pass_failed", 6)
    assert day.run(SIGNATURE_DIR="/usr/share/doc")["pass_exit_code", ""] == 6
    assert day.messages() == []
    report, broken = day.status()
    assert broken == {"in_time_ratio", "oldest_pending_seconds"}
    assert [each["build"] for each in report["late"]] == [night]

    # The signatures are restored; the verdict is late.
    assert day.run()["pass_verdicts", "clean"] == 1
    report, broken = day.status()
    assert broken == {"in_time_ratio"}
    assert [(each["build"], each["verdict"]) for each in report["late"]] == [(night, "clean")]
