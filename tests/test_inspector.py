"""The inspector: the real child process, with the real clamscan or a fake one that misbehaves."""

from __future__ import annotations

import gzip
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos.gate import eventually, lives
from support import fake_clamscan
from support.processes import child_that_runs, children
from support.samples import pack, tar
from support.signatures import EICAR, EICAR_NAME, write_signatures

from avscan.archives.unpack import SMALL
from avscan.errors import EngineError
from avscan.findings import Examination, Sighting
from avscan.inspector import process
from avscan.inspector.process import Broken, Engine, Examined, Inspector

Start = Callable[..., Inspector]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an inspector with the real clamscan, or with a fake one that follows steps."""
    started: list[Inspector] = []

    def start(*steps: str) -> Inspector:
        program = str(fake_clamscan.script(tmp_path, *steps)) if steps else "/usr/bin/clamscan"
        (folder := tmp_path / "inspector").mkdir()
        engine = Engine(program=program, signatures=write_signatures(tmp_path / "signatures"))
        started.append(Inspector(engine, folder))
        return started[-1]

    yield start
    for each in started:
        each.close()


def begin(inspector: Inspector, tmp_path: Path, content: bytes) -> None:
    (artifact := tmp_path / "artifact").write_bytes(content)
    inspector.prove(lambda: None)
    inspector.begin(artifact)
    assert not artifact.exists()


def processes() -> list[int]:
    child = child_that_runs("avscan.inspector.child")
    return [child, *children(child)]


def states(pids: list[int]) -> set[str]:
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids}


def test_one_inspector_examines_one_artifact_after_another(start: Start, tmp_path: Path) -> None:
    inspector = start()
    for content, sightings in [
        (b"a game", ()),
        (pack([("x", EICAR)]), (Sighting(signature=EICAR_NAME),)),
        (b"a game", ()),
    ]:
        begin(inspector, tmp_path, content)
        assert inspector.wait(30.0) == Examined()
        assert inspector.examination == Examination(sightings=sightings)
        assert inspector.works
        assert not (tmp_path / "inspector" / "artifact").exists()


def test_findings_before_a_death_count(start: Start, tmp_path: Path) -> None:
    inspector = start("find", "find:Worm", "die:SIGSEGV")
    members = [("x", b"1" * SMALL + b"1"), ("y", b"2" * SMALL + b"2")]
    begin(inspector, tmp_path, gzip.compress(tar(members)))
    assert inspector.wait(30.0) == Broken(reason="clamscan was killed by SIGSEGV")
    assert [each.signature for each in inspector.examination.sightings] == ["Worm"]
    assert not inspector.works


def test_a_killed_inspector_is_broken(start: Start, tmp_path: Path) -> None:
    inspector = start("find", "hang")
    begin(inspector, tmp_path, b"a game")
    child, engine = processes()
    os.kill(child, signal.SIGKILL)
    assert inspector.wait(30.0) == Broken(reason="the inspector was killed by SIGKILL")
    eventually(lambda: not lives(engine))


def test_a_pause_stops_all_its_processes_and_its_time(start: Start, tmp_path: Path) -> None:
    inspector = start("find", "slow:0.5")
    begin(inspector, tmp_path, b"a game")
    assert inspector.wait(0.05) is None
    pids = processes()
    inspector.pause()
    ran = inspector.ran
    eventually(lambda: states(pids) == {"T"})
    assert inspector.wait(0.2) is None
    assert inspector.ran == ran
    assert not inspector.works  # it is examining an artifact
    inspector.resume()
    assert inspector.wait(30.0) == Examined()
    assert inspector.ran > ran


@pytest.mark.parametrize("paused", [False, True])
def test_closing_ends_all_its_processes_and_leaves_no_folder(
    start: Start, tmp_path: Path, *, paused: bool
) -> None:
    inspector = start("find", "hang")
    begin(inspector, tmp_path, b"a game")
    pids = processes()
    if paused:
        inspector.pause()
    inspector.close()
    inspector.close()
    eventually(lambda: not any(map(lives, pids)))
    assert not (tmp_path / "inspector").exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"clean\t\t\n", "a line of an unknown kind or form"),
        (b"error\t\t\x1b[2J\n", "a line that is not printable"),
        (b"\xff\t\t\n", "a line that is not UTF-8"),
        (b"x" * 5000, "a line that is too long"),
        (b"ready\t\t\n", "a line out of turn"),
    ],
)
def test_an_inspector_that_breaks_the_protocol_is_broken(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    (tmp_path / "line").write_bytes(line)
    (folder := tmp_path / "inspector").mkdir()
    script = r"printf 'ready\t\t\n'; read artifact; cat ../line; exec sleep 60"
    engine = Engine(program="", signatures=tmp_path)
    inspector = Inspector(engine, folder, command=["/bin/sh", "-c", script])
    try:
        begin(inspector, tmp_path, b"a game")
        assert inspector.wait(30.0) == Broken(reason=f"the inspector sent {reason}")
    finally:
        inspector.close()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["ok"], "does not find its canary"),
        (["load-die:SIGKILL"], "memory is short"),
        (["die:SIGABRT"], "was killed by SIGABRT while it loaded its signatures"),
    ],
)
def test_an_engine_that_does_not_work_is_an_error(
    start: Start, steps: list[str], words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        start(*steps).prove(lambda: None)


def test_a_bug_is_reported_with_its_place(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-m", "avscan.inspector.child", "no number", "", "", "", ""]
    inspector = Inspector(Engine(program="", signatures=tmp_path), tmp_path, command=command)
    with pytest.raises(EngineError, match=r"has a bug: ValueError at child\.py, in main: invalid"):
        inspector.prove(lambda: None)
    inspector.close()


def test_an_engine_that_does_not_load_in_time_is_given_up(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOADING", 0.3)
    with pytest.raises(EngineError, match="did not load its signatures within"):
        start("hang").prove(lambda: None)
