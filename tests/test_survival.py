"""Faults: no build is lost or gets a wrong verdict, whatever happens to a pass.

A proxy in front of the real PocketBase injects faults. A gate can stop the real clamscan.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from chaos.gate import Gate, eventually, lives
from support import fake_clamscan
from support.backend import Backend
from support.proxy import (
    After,
    Answer,
    Before,
    Drop,
    Guest,
    Predicate,
    Proxy,
    Stall,
    Truncate,
    claiming,
    download_of,
    request_to,
    settling,
)
from support.run import MAX_WAIT, STOPPING, Pass, Run, avscan, left_in

from avscan.clamav.canary import eicar

CHECKS = "/api/collections/av_build_checks/records"
LONG_AGO = "2020-01-01 00:00:00.000Z"
CLEAN, EICAR = b"a game", eicar()


@pytest.fixture
def proxy(backend: Backend) -> Iterator[Proxy]:
    with Proxy(backend.url) as proxy:
        yield proxy


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


class Scene:
    """A backend behind a proxy, and its passes."""

    def __init__(self, backend: Backend, proxy: Proxy, folder: Path) -> None:
        self.backend = backend
        self.proxy = proxy
        self._folder = folder
        self._ends = ExitStack()
        self._passes = 0

    def environment(self, **settings: str) -> dict[str, str]:
        through = {"POCKETBASE_URL": self.proxy.url, "STUCK_AFTER": "30"}
        return self.backend.environment(**through | settings)

    def start(self, gate: Gate | None = None, **settings: str) -> Pass:
        """Start a pass, whose clamscan waits at `gate`."""
        self._passes += 1
        through = {"CLAMSCAN_PATH": str(gate.program)} if gate is not None else {}
        environment = self.environment(**through | settings)
        started = Pass(self._folder / f"pass-{self._passes}.log", environment)
        self._ends.callback(started.close)
        return started

    def sweep(self, **settings: str) -> Run:
        """Run a pass to its end, with the faults that the proxy has planned."""
        done = avscan("run", "--full", env=self.environment(**settings))
        assert done.code == 0, done.err
        return done

    def held_in_scan(self, gate: Gate, **settings: str) -> Pass:
        held = self.start(gate, **settings)
        held.until("file.started")
        eventually(lambda: gate.processes)
        return held

    def held_in_download(self, gate: Gate, build: str) -> tuple[Pass, Stall]:
        """Start a pass that waits with a running clamscan and half of a file."""
        gate.open()
        stall = Stall()
        self.proxy.plan(download_of(build), stall)
        held = self.start(gate)
        eventually(stall.reached.is_set)
        eventually(lambda: gate.processes)
        return held, stall

    def time_passes(self) -> None:
        """Make every claim so old that it is abandoned."""
        for check in self.backend.checks():
            if check["status"] == "scanning":
                self.backend.backdate("av_build_checks", check["id"], updated=LONG_AGO)

    def close(self) -> None:
        self._ends.close()


@pytest.fixture
def scene(backend: Backend, proxy: Proxy, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(backend, proxy, tmp_path)
    yield scene
    scene.close()


def verdicts(backend: Backend, builds: Mapping[str, str]) -> dict[str, str | None]:
    return {build: backend.status_of(build) for build in builds}


# -- signals --------------------------------------------------------------------------------------

SIGNALS = pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, id="SIGINT", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, id="SIGHUP", marks=pytest.mark.slow),
    ],
)


@SIGNALS
@pytest.mark.parametrize("phase", ["scan", "download"])
def test_a_stopped_pass_ends_in_time_and_removes_its_files(
    scene: Scene, gate: Gate, number: int, code: int, phase: str
) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN * 10_000})
    if phase == "scan":
        stopped = scene.held_in_scan(gate)
    else:
        stopped, _ = scene.held_in_download(gate, build)
    # Downloads run ahead and claim nothing.
    assert backend.status_of(build) == ("scanning" if phase == "scan" else "pending")
    assert left_in(backend.work_dir)
    (clamscan,) = gate.processes

    assert stopped.stop(number) == code

    assert not lives(clamscan)
    assert not left_in(backend.work_dir)
    assert backend.status_of(build) == "pending"
    assert len(stopped.events("pass.stopped")) == 1
    scene.sweep()
    assert backend.status_of(build) == "clean"


def test_a_stopped_pass_ends_in_time_if_pocketbase_hangs(scene: Scene, gate: Gate) -> None:
    build = scene.backend.upload({"a.bin": CLEAN})
    stopped = scene.held_in_scan(gate)
    scene.proxy.plan(lambda _: True, Before(lambda: scene.proxy.wait(60)), times=None)
    assert stopped.stop(signal.SIGTERM) == 143
    assert not left_in(scene.backend.work_dir)
    assert scene.backend.status_of(build) == "scanning", "it could not be released"


def test_a_stopped_pass_leaves_other_builds_pending(scene: Scene, gate: Gate) -> None:
    builds = [scene.backend.upload({"a.bin": CLEAN}) for _ in range(4)]
    stopped = scene.held_in_scan(gate)
    assert stopped.stop(signal.SIGTERM) == 143
    assert {scene.backend.status_of(build) for build in builds} == {"pending"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_pass_stopped_at_any_time_ends_gracefully(
    scene: Scene, tmp_path: Path, seed: int
) -> None:
    """Most of the times are shortly after an event, where errors are most likely."""
    chance = random.Random(seed)
    builds = [scene.backend.upload({"a.bin": CLEAN}) for _ in range(4)]
    for number in range(15):
        gate = Gate(tmp_path / f"gate-{number}")
        stopped = scene.start(gate, LOG_LEVEL="debug")
        stopped.until(chance.choice(["pass.started", "inspector.started", "file.started"]))
        time.sleep(chance.choice([0.0, 0.005, 0.1]) * chance.random())
        assert stopped.stop(signal.SIGTERM) == 143
        assert len(stopped.events("pass.stopped")) == 1
        assert not left_in(scene.backend.work_dir)
        assert not any(map(lives, gate.processes))
        assert {scene.backend.status_of(build) for build in builds} <= {None, "pending"}


@pytest.mark.parametrize("phase", ["scan", "download"])
def test_clamscan_ends_with_a_killed_pass_and_the_next_pass_recovers(
    scene: Scene, gate: Gate, phase: str
) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN * 10_000, "b.com": EICAR})
    if phase == "scan":
        killed = scene.held_in_scan(gate)
    else:
        killed, _ = scene.held_in_download(gate, build)
    (clamscan,) = gate.processes
    assert lives(clamscan)

    killed.process.kill()
    assert killed.end() == -signal.SIGKILL
    eventually(lambda: not lives(clamscan))
    assert left_in(backend.work_dir)

    waiting = scene.sweep()
    assert waiting.named("workspace.cleaned")
    assert not left_in(backend.work_dir)
    if phase == "scan":
        assert backend.status_of(build) == "scanning", "its pass might still be running"
        scene.time_passes()
        assert scene.sweep().event("check.reclaimed")["interruptions"] == 1
    assert backend.status_of(build) == "infected"


def begun(run: Pass, build: str) -> bool:
    return build in [event["build"] for event in run.events("file.started")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_build_that_ends_its_passes_does_not_affect_others(
    scene: Scene, tmp_path: Path, number: int
) -> None:
    """For example by the kernel's out-of-memory killer, or by the service manager."""
    backend = scene.backend
    deadly = backend.upload({"a.bin": CLEAN})
    other = backend.upload({"a.bin": CLEAN})
    steps = ["find", "hang", "find", "ok", "hang", "find", "hang", "find", "ok"]
    program = fake_clamscan.script(tmp_path, *steps)
    for each, left in enumerate((7, 4, 2)):  # steps left after the `hang` of the deadly build
        ended = scene.start(CLAMSCAN_PATH=str(program))
        eventually(partial(lambda left: fake_clamscan.left(program) == left, left))
        assert begun(ended, deadly)
        ended.process.send_signal(number)
        ended.end(within=STOPPING)
        scene.time_passes()
        assert backend.status_of(other) == ("clean" if each else "pending")
    scene.sweep(CLAMSCAN_PATH=str(program))
    check = backend.check_of(deadly)
    assert check["status"] == "error"
    assert "its inspection was begun 3 times and never ended" in check["log"]
    innocent = backend.check_of(other)
    assert innocent is not None
    assert "interrupted" not in innocent["log"]


HURRIED = """
from avscan import scans, sweep
scans.TURN = sweep.REDISCOVER = 2.0
from avscan.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_slow_artifact_is_paused_while_others_are_scanned(scene: Scene, tmp_path: Path) -> None:
    """With turns of two seconds."""
    backend = scene.backend
    slow = backend.upload({"a.bin": CLEAN})
    program = fake_clamscan.script(tmp_path, "find", "slow:20", "find", "ok")
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", HURRIED, "run", "--full"],
            env=scene.environment(CLAMSCAN_PATH=str(program)),
            stderr=stderr,
        )
    try:
        eventually(lambda: "file.started" in log.read_text())
        other = backend.upload({"a.bin": CLEAN})
        eventually(lambda: backend.status_of(other) == "clean")
        assert backend.status_of(slow) == "scanning"
        assert process.wait(MAX_WAIT + 20) == 0
    finally:
        process.kill()
        process.wait()
    assert backend.status_of(slow) == "clean"
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events.count("file.paused") == events.count("file.resumed") == 1
    assert not left_in(backend.work_dir)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(request_to("POST", CHECKS), id="opening", marks=pytest.mark.slow),
        pytest.param(claiming, id="claiming"),
        pytest.param(settling(), id="settling"),
    ],
)
@pytest.mark.parametrize("kind", [Before, After], ids=["before", "after"])
def test_a_pass_killed_before_or_after_a_write_loses_nothing(
    scene: Scene, moment: Predicate, kind: type[Before | After]
) -> None:
    builds = {
        scene.backend.upload({"a.bin": CLEAN}): "clean",
        scene.backend.upload({"b.com": EICAR}): "infected",
    }
    passes: list[Pass] = []
    ready = threading.Event()

    def kill() -> None:
        ready.wait()
        passes[0].close()

    scene.proxy.plan(moment, kind(kill))
    passes.append(scene.start())
    ready.set()
    assert passes[0].end() == -signal.SIGKILL
    eventually(lambda: scene.proxy.is_idle)  # the write may arrive after the pass was killed
    scene.time_passes()
    scene.sweep()
    assert verdicts(scene.backend, builds) == builds
    assert not left_in(scene.backend.work_dir)


def test_a_build_that_kills_every_pass_becomes_an_error_and_others_are_scanned(
    scene: Scene, gate: Gate
) -> None:
    backend = scene.backend
    poison = backend.upload({"a.bin": CLEAN})
    for _ in range(3):
        killed = scene.held_in_scan(gate)
        killed.close()
        scene.time_passes()
    other = backend.upload({"b.com": EICAR})
    scene.sweep()
    assert backend.status_of(other) == "infected"
    check = backend.check_of(poison)
    assert check["status"] == "error"
    assert "never ended" in check["log"]


# -- simultaneous passes ---------------------------------------------------------------------------


def test_a_second_pass_on_the_same_work_folder_is_skipped(scene: Scene, gate: Gate) -> None:
    build = scene.backend.upload({"a.bin": CLEAN})
    first = scene.held_in_scan(gate)
    second = avscan("run", "--full", env=scene.environment())
    assert second.code == 0
    assert "another pass is at work" in second.event("pass.skipped")["reason"]
    gate.open()
    assert first.end() == 0
    assert scene.backend.status_of(build) == "clean"


def test_a_killed_pass_releases_its_lock(scene: Scene, gate: Gate) -> None:
    scene.backend.upload({"a.bin": CLEAN})
    scene.held_in_scan(gate).close()
    assert scene.sweep().named("pass.finished")


def test_two_passes_on_two_machines_settle_every_build(scene: Scene, tmp_path: Path) -> None:
    kinds = [(CLEAN, "clean"), (EICAR, "infected")] * 5
    builds = {scene.backend.upload({"a.bin": data}): verdict for data, verdict in kinds}
    passes = [scene.start(WORK_DIR=str(tmp_path / name)) for name in ("one", "two")]
    assert [each.end() for each in passes] == [0, 0]
    settled = [event["build"] for each in passes for event in each.events("build.finished")]
    assert set(settled) == set(builds)
    # If both claim a build at the same time, both may scan it.
    assert len(settled) <= len(builds) + 3
    assert verdicts(scene.backend, builds) == builds


def test_the_later_of_two_simultaneous_claims_is_valid(
    scene: Scene, gate: Gate, tmp_path: Path
) -> None:
    build = scene.backend.upload({"a.com": EICAR})
    released = threading.Event()
    scene.proxy.plan(claiming, Before(released.wait))
    late = scene.start(gate, WORK_DIR=str(tmp_path / "late"))
    eventually(lambda: scene.proxy.matching(claiming))
    early = scene.held_in_scan(gate, WORK_DIR=str(tmp_path / "early"))
    released.set()
    late.until("file.started")
    gate.open()
    assert [early.end(), late.end()] == [0, 0]
    assert [event["reason"] for event in early.events("build.unsettled")] == ["lost"]
    assert [event["build"] for event in late.events("build.finished")] == [build]
    assert scene.backend.status_of(build) == "infected"


def test_a_stale_pass_does_not_overwrite_a_newer_verdict(
    scene: Scene, gate: Gate, tmp_path: Path
) -> None:
    build = scene.backend.upload({"a.com": EICAR})
    stale = scene.held_in_scan(gate)
    scene.time_passes()
    scene.sweep(WORK_DIR=str(tmp_path / "other"))
    verdict = scene.backend.check_of(build)
    gate.open()
    assert stale.end() == 0
    assert [event["reason"] for event in stale.events("build.unsettled")] == ["lost"]
    assert scene.backend.check_of(build) == verdict


# -- builds that change during a pass --------------------------------------------------------------


def hold(scene: Scene, gate: Gate, phase: str, build: str) -> tuple[Pass, Callable[[], None]]:
    """Stop a pass at this build. Return the pass, and a function that resumes it."""
    if phase == "scan":
        return scene.held_in_scan(gate), gate.open
    held, stall = scene.held_in_download(gate, build)
    return held, stall.released.set


PHASES = pytest.mark.parametrize("phase", ["download", "scan"])


@PHASES
def test_a_build_deleted_during_a_pass_does_not_affect_others(
    scene: Scene, gate: Gate, phase: str
) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN * 10_000})
    other = backend.upload({"b.com": EICAR})
    held, resume = hold(scene, gate, phase, build)
    backend.delete_build(build)
    resume()
    assert held.end() == 0
    assert backend.status_of(other) == "infected"
    assert [check["build"] for check in backend.checks()] == [other]
    assert not held.events("build.postponed")
    assert not left_in(backend.work_dir)


@PHASES
def test_a_check_deleted_during_a_pass_is_created_again(
    scene: Scene, gate: Gate, phase: str
) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN * 10_000})
    other = backend.upload({"b.com": EICAR})
    held, resume = hold(scene, gate, phase, build)
    check = backend.check_of(build)
    backend.delete_check(check["id"])
    resume()
    assert held.end() == 0
    assert backend.status_of(other) == "infected"
    scene.sweep()
    assert backend.status_of(build) == "clean"


@PHASES
def test_a_file_removed_during_a_pass_is_ignored(scene: Scene, gate: Gate, phase: str) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN * 10_000, "b.com": EICAR})
    other = backend.upload({"b.com": EICAR})
    held, resume = hold(scene, gate, phase, build)
    (virus,) = [name for name in backend.file_names(build) if name.startswith("b")]
    backend.remove_files(build, virus)
    resume()
    assert held.end() == 0
    assert backend.status_of(other) == "infected"
    if phase == "scan":
        assert backend.status_of(build) == "pending"
        scene.sweep()
    assert backend.status_of(build) == "clean"


@PHASES
def test_files_replaced_during_a_pass_are_scanned(scene: Scene, gate: Gate, phase: str) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN * 10_000})
    held, resume = hold(scene, gate, phase, build)
    backend.replace_files(build, {"a.bin": EICAR})
    resume()
    assert held.end() == 0
    if phase == "scan":
        check = backend.check_of(build)
        assert check["status"] == "pending"
        assert "files changed" in check["log"]
        scene.sweep()
    assert backend.status_of(build) == "infected"


@pytest.mark.parametrize(
    "moment", [claiming, settling("clean")], ids=["before the claim", "before the verdict"]
)
def test_files_replaced_between_a_read_and_its_write_are_scanned_by_the_next_pass(
    scene: Scene, moment: Predicate
) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN})
    scene.proxy.plan(moment, Before(lambda: backend.replace_files(build, {"a.bin": EICAR})))
    scene.sweep()
    scene.sweep()
    assert backend.status_of(build) == "infected"


def test_a_build_deleted_before_its_check_is_created_is_ignored(scene: Scene) -> None:
    backend = scene.backend
    builds = [backend.upload({"a.bin": CLEAN}) for _ in range(2)]
    gone: list[str] = []

    def delete() -> None:
        (request,) = scene.proxy.matching(request_to("POST", CHECKS))
        gone.append(json.loads(request.body)["build"])
        backend.delete_build(gone[0])

    scene.proxy.plan(request_to("POST", CHECKS), Before(delete))
    scene.sweep()
    (stays,) = set(builds) - set(gone)
    assert [(check["build"], check["status"]) for check in backend.checks()] == [(stays, "clean")]


# -- the network ----------------------------------------------------------------------------------

WRITES = pytest.mark.parametrize(
    "moment",
    [request_to("POST", CHECKS), claiming, settling()],
    ids=["a check's creation", "a claim", "a verdict"],
)


@WRITES
def test_a_write_whose_response_is_lost_is_recognised(scene: Scene, moment: Predicate) -> None:
    builds = {
        scene.backend.upload({"a.bin": CLEAN}): "clean",
        scene.backend.upload({"b.com": EICAR}): "infected",
    }
    scene.proxy.plan(moment, Drop(), times=2)
    done = scene.sweep()
    assert verdicts(scene.backend, builds) == builds
    assert done.event("pass.finished")["scanned"] == len(builds)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(request_to("GET", CHECKS), id="the checks' list"),
        pytest.param(request_to("GET", "app_builds/records"), id="the builds' list"),
        pytest.param(request_to("POST", CHECKS), id="a creation", marks=pytest.mark.slow),
        pytest.param(claiming, id="a claim"),
        pytest.param(settling(), id="a verdict", marks=pytest.mark.slow),
    ],
)
def test_a_lost_session_is_renewed(scene: Scene, moment: Predicate) -> None:
    """Without a session, PocketBase shows empty lists and no records."""
    backend = scene.backend
    builds = {
        backend.upload({"b.com": EICAR}): "infected",
        backend.upload({"a.bin": CLEAN}): "clean",
    }
    backend.create_check(min(builds))
    scene.proxy.plan(moment, Guest())
    done = scene.sweep()
    assert verdicts(backend, builds) == builds
    assert done.event("pass.finished")["scanned"] == len(builds)


def test_a_broken_download_is_resumed_and_scanned_completely(scene: Scene) -> None:
    backend = scene.backend
    build = backend.upload({"a.bin": CLEAN * 100_000 + EICAR})
    small = backend.upload({"b.com": EICAR})
    scene.proxy.plan(download_of(build), Truncate(), times=3)
    scene.sweep()
    assert backend.status_of(small) == "infected"
    check = backend.check_of(build)
    assert f"{len(CLEAN * 100_000 + EICAR)} bytes" in check["log"]


def test_a_request_is_repeated_after_the_servers_retry_after(scene: Scene) -> None:
    build = scene.backend.upload({"a.bin": CLEAN})
    scene.proxy.plan(claiming, Answer(429, (("Retry-After", "1"),)))
    done = scene.sweep()
    assert [event["wait"] for event in done.named("request.retried")] == [1.0]
    assert scene.backend.status_of(build) == "clean"


def test_a_crash_of_pocketbase_fails_the_pass_and_the_next_one_finishes(
    scene: Scene, gate: Gate
) -> None:
    backend = scene.backend
    builds = {
        backend.upload({"a.bin": CLEAN}): "clean",
        backend.upload({"b.com": EICAR}): "infected",
        backend.upload({"c.bin": CLEAN}): "clean",
    }
    ended = scene.held_in_scan(gate, MAX_RETRIES="1")
    backend.kill()
    gate.open()
    assert ended.end() == 3
    assert len(ended.events("pass.failed")) == 1
    assert not left_in(backend.work_dir)
    backend.start()
    scene.time_passes()
    scene.sweep()
    assert verdicts(backend, builds) == builds


def test_a_failing_server_opens_the_circuit_once(scene: Scene, gate: Gate) -> None:
    backend = scene.backend
    builds = [backend.upload({"a.bin": CLEAN}) for _ in range(8)]
    ended = scene.held_in_scan(gate, MAX_RETRIES="1")
    before = len(scene.proxy.seen)
    scene.proxy.plan(lambda _: True, Answer(503), times=None)
    gate.open()
    assert ended.end() == 3
    assert len(ended.events("circuit.opened")) == 1
    assert len(scene.proxy.seen) - before < len(builds) + 6
