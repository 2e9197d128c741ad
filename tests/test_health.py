"""`avscan health`: each part of an installation, working and broken."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.backend import Backend
from support.run import Run, avscan
from support.signatures import write_official, write_signatures

from avscan.archives import programs
from avscan.ops import health
from avscan.settings import Settings
from avscan.workspace import Workspace

PARTS = ["pocketbase", "collections", "clamscan", "signatures", "disk", "confinement", "programs"]
DAY = 86_400


def states(done: Run) -> dict[str, str]:
    return {line.split()[1]: line.split()[0] for line in done.out.splitlines()}


def text(done: Run, part: str) -> str:
    (line,) = [line for line in done.out.splitlines() if line.split()[1] == part]
    return line.split(maxsplit=2)[2]


def daily(folder: Path, *, days: float) -> str:
    """Write what `--version` reads of an official set of this age."""
    write_official(folder, number=27800, built=int(time.time() - days * DAY))
    return str(folder)


def test_a_working_installation_is_healthy(backend: Backend, tmp_path: Path) -> None:
    backend.init()
    done = avscan("health", env=backend.environment(SIGNATURE_DIR=daily(tmp_path / "s", days=1)))
    assert (done.code, done.err) == (0, "")
    assert states(done) | {"confinement": "ok"} == dict.fromkeys(PARTS, "ok")  # the kernel's
    assert text(done, "signatures") == "daily 27800 is 24 hours old"


def test_json_lists_the_same_parts(backend: Backend) -> None:
    backend.init()
    done = avscan("health", "--json", env=backend.environment())
    report = json.loads(done.out)
    assert (done.code, report["healthy"]) == (0, True)
    assert [part["name"] for part in report["parts"]] == PARTS
    assert report["parts"][0].keys() == {"name", "state", "text"}


def test_deep_finds_the_canary(backend: Backend) -> None:
    done = avscan("health", "--deep", env=backend.environment())
    assert done.code == 0
    assert text(done, "canary").startswith("found")


def test_deep_fails_without_the_canarys_signature(backend: Backend, tmp_path: Path) -> None:
    signatures = write_signatures(tmp_path / "signatures")
    (signatures / "eicar.ndb").unlink()
    env = backend.environment(SIGNATURE_DIR=str(signatures))
    assert avscan("health", env=env).code == 0
    done = avscan("health", "--deep", env=env)
    assert done.code == 6
    assert "CANARY_FILE" in text(done, "canary")


def test_missing_indexes_are_a_warning(backend: Backend) -> None:
    done = avscan("health", env=backend.environment())
    assert (done.code, states(done)["collections"]) == (0, "warn")
    assert "index on build" in text(done, "collections")
    assert "avscan init" in text(done, "collections")


@pytest.mark.parametrize(
    ("part", "changes", "code", "words"),
    [
        ("pocketbase", {"POCKETBASE_URL": "http://127.0.0.1:1", "MAX_RETRIES": "1"}, 3, "refused"),
        ("pocketbase", {"POCKETBASE_SUPERUSER_PASSWORD": "wrong"}, 4, "refuses the superuser's"),
        ("clamscan", {"CLAMSCAN_PATH": "no-such-program"}, 6, "missing"),
        ("signatures", {"SIGNATURE_DIR": "empty"}, 6, "waiting for signatures"),
        ("signatures", {"SIGNATURE_DIR": "stale"}, 6, "MAX_SIGNATURE_AGE"),
        ("disk", {"WORK_DIR": "/proc/work"}, 7, "can't be used"),
    ],
)
def test_a_broken_part_fails_with_its_exit_code(
    backend: Backend, part: str, changes: dict[str, str], code: int, words: str
) -> None:
    folder = backend.server.folder / changes.get("SIGNATURE_DIR", "unused")
    folder.mkdir()
    if folder.name == "stale":
        daily(folder, days=8)
    if "SIGNATURE_DIR" in changes:
        changes = {"SIGNATURE_DIR": str(folder)}
    done = avscan("health", env=backend.environment(**changes))
    assert done.code == code
    assert {name for name, state in states(done).items() if state == "fail"} == {part}
    assert words in text(done, part)


def test_a_missing_collection_is_a_failure(backend: Backend) -> None:
    backend.json("DELETE", "/api/collections/av_build_checks")
    done = avscan("health", env=backend.environment())
    assert done.code == 5
    assert "avscan init" in text(done, "collections")


def test_the_exit_code_is_that_of_the_first_part_that_fails(backend: Backend) -> None:
    changes = {"POCKETBASE_SUPERUSER_PASSWORD": "wrong", "CLAMSCAN_PATH": "no-such-program"}
    done = avscan("health", env=backend.environment(**changes))
    assert done.code == 4
    assert states(done) | {"confinement": "ok"} == {
        "pocketbase": "fail",
        "collections": "skip",
        "clamscan": "fail",
        "signatures": "skip",
        "disk": "ok",
        "confinement": "ok",
        "programs": "ok",
    }


def test_missing_programs_are_a_warning_that_names_their_packages(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "missing", lambda: ("7zz", "lz4"))
    parts = health.check_installation(Settings.parse(backend.environment()), deep=False)
    (part,) = [part for part in parts if part.name == "programs"]
    assert part.state is health.State.WARN
    assert part.text.startswith("7zz, lz4 not installed")
    assert "packages: 7zip-standalone or 7zip, lz4" in part.text


def test_a_running_pass_is_not_a_failure(backend: Backend) -> None:
    with Workspace(backend.work_dir):
        done = avscan("health", "--deep", env=backend.environment())
    assert done.code == 0
    assert states(done)["disk"] == states(done)["canary"] == "skip"
    assert "another pass is at work" in text(done, "disk")


def test_little_disk_space_is_a_warning(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workspace, "free", lambda _self: 3 << 30)
    settings = Settings.parse(backend.environment())
    parts = {part.name: part for part in health.check_installation(settings, deep=False)}
    assert parts["disk"].state is health.State.WARN
    assert parts["disk"].text.startswith("3.0 GiB free")


def test_a_pass_without_signatures_fails_and_leaves_builds_pending(
    backend: Backend, tmp_path: Path
) -> None:
    build = backend.upload({"a.txt": b"a game"})
    empty = tmp_path / "signatures"
    empty.mkdir()
    done = avscan("run", env=backend.environment(SIGNATURE_DIR=str(empty)))
    assert done.code == 6
    assert "waiting for signatures" in done.event("pass.failed")["reason"]
    assert backend.status_of(build) == "pending"
    write_signatures(empty)
    assert avscan("run", env=backend.environment(SIGNATURE_DIR=str(empty))).code == 0
    assert backend.status_of(build) == "clean"
