"""Whole passes over an engine that dies, ages or can't see: nothing is `clean` that was not earned.

Real PocketBase. Real clamscan where it can be killed at the right moment, a scripted one elsewhere.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos.gate import Gate, eventually
from support import fake_clamscan
from support.backend import Backend
from support.proxy import Proxy, Request, Stall
from support.run import Pass, Run, avscan
from support.samples import MIB, large_tar_gz
from support.scanner import ScriptedScanner
from support.signatures import EICAR, write_official
from support.sweeps import a_pass_over

from avscan.backend import journal
from avscan.errors import EngineError
from avscan.summary import Summary

CLEAN = b"a game"


def sweep(backend: Backend, **settings: str) -> Run:
    return avscan("run", "--full", env=backend.environment(**settings))


def logged(backend: Backend, build: str) -> str:
    check = backend.check_of(build)
    return str(check["log"])


# -- deaths, scripted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "code", "status"),
    [
        pytest.param(["load-die:SIGKILL"], 6, "pending", id="loading"),
        pytest.param(["die:SIGKILL"], 6, "pending", id="canary"),
        pytest.param(["find", "die:SIGKILL", "find", "ok"], 0, "clean", id="first file"),
        pytest.param(
            ["find", *["die:SIGSEGV", "find"] * 3, "ok"], 0, "error", id="first file, each time"
        ),
        pytest.param(["find", *["ok-die", "find"] * 3, "ok"], 0, "error", id="OK"),
        pytest.param(["find", "die:SIGKILL", "die:SIGKILL"], 6, "pending", id="second canary"),
        pytest.param(["find", "die:SIGKILL", "ok"], 6, "pending", id="no second canary"),
        pytest.param(["find", "quit-after", "find", "ok"], 0, "clean", id="between files"),
        pytest.param(["find", "quit-after", "ok"], 6, "pending", id="between, no canary"),
        pytest.param(["find", "ok", "die:SIGKILL", "find", "ok"], 0, "clean", id="last file"),
        pytest.param(["find", "ok", "die:SIGKILL", "find", "find:Worm"], 0, "infected"),
    ],
)
def test_clamscan_dies(
    backend: Backend, tmp_path: Path, steps: list[str], code: int, status: str
) -> None:
    files = ["a.bin"] if status == "error" else ["a.bin", "b.bin"]
    build = backend.upload(dict.fromkeys(files, CLEAN))
    done = sweep(backend, CLAMSCAN_PATH=str(fake_clamscan.script(tmp_path, *steps)))
    assert done.code == code, done.err
    assert backend.status_of(build) == status
    if status == "error":
        assert "clamscan was killed by SIG" in logged(backend, build)


# -- deaths, real ---------------------------------------------------------------------------------


def file_named(name: str) -> Callable[[Request], bool]:
    return lambda request: "/api/files/" in request.path and f"/{name}_" in request.path


def idle(process: int) -> bool:
    """Return whether it is the real clamscan, and waits for a path."""
    if Path(f"/proc/{process}/exe").resolve().name != "clamscan":
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.fixture
def proxy(backend: Backend) -> Iterator[Proxy]:
    with Proxy(backend.url) as proxy:
        yield proxy


@pytest.mark.parametrize("name", ["first", "last"])
@pytest.mark.parametrize("stopped", [True, False], ids=["on it", "before it"])
def test_the_real_clamscan_is_killed(
    backend: Backend, proxy: Proxy, tmp_path: Path, name: str, *, stopped: bool
) -> None:
    """The file that it is killed on or before is infected: passed over, the build were clean."""
    build = backend.upload({"first.bin": CLEAN, "last.bin": CLEAN} | {f"{name}.bin": EICAR})
    gate = Gate(tmp_path / "gate")
    gate.open()
    stall = Stall()
    proxy.plan(file_named(name), stall)
    settings = {"POCKETBASE_URL": proxy.url, "CLAMSCAN_PATH": str(gate.program)}
    run = Pass(tmp_path / "log", backend.environment(**settings))
    try:
        eventually(stall.reached.is_set)
        if name == "last":
            run.until("file.finished")
        eventually(lambda: gate.processes and idle(gate.processes[0]))
        os.kill(gate.processes[0], signal.SIGSTOP if stopped else signal.SIGKILL)
        stall.released.set()
        if stopped:
            eventually(lambda: len(run.events("file.started")) == 1 + (name == "last"))
            os.kill(gate.processes[0], signal.SIGKILL)
        assert run.end() == 0
    finally:
        run.close()
    assert len(gate.processes) == 2
    assert backend.status_of(build) == "infected"


def test_the_real_clamscan_is_killed_while_it_loads(backend: Backend, tmp_path: Path) -> None:
    build = backend.upload({"a.bin": EICAR})
    gate = Gate(tmp_path / "gate", loading=True)
    run = Pass(tmp_path / "log", backend.environment(CLAMSCAN_PATH=str(gate.program)))
    try:
        eventually(lambda: gate.processes)
        os.kill(gate.processes[0], signal.SIGKILL)
        assert run.end() == 6
    finally:
        run.close()
    [ended] = run.events("pass.failed")
    assert "memory is short" in ended["reason"]
    assert backend.status_of(build) == "pending"


# -- age ------------------------------------------------------------------------------------------


def test_old_signatures_end_the_pass(backend: Backend, tmp_path: Path) -> None:
    build = backend.upload({"a.bin": EICAR})
    signatures = write_official(tmp_path / "signatures", number=27000, built=1_700_000_000)
    done = sweep(backend, SIGNATURE_DIR=str(signatures))
    assert done.code == 6
    reason = done.event("pass.failed")["reason"]
    assert "signatures 27000 of 2023-11-14: older than MAX_SIGNATURE_AGE (7 days)" in reason
    assert backend.status_of(build) == "pending"


class Ageing(ScriptedScanner):
    """A scanner whose signatures are renewed with each scan, and `renewals` times no more."""

    renewals = 9

    def version(self) -> str:
        scans = len(self.script.seen)
        if scans > self.renewals:
            raise EngineError("older than MAX_SIGNATURE_AGE")
        return f"signatures {scans}"


def sweep_by(kind: type[Ageing], backend: Backend, folder: Path) -> Summary:
    with a_pass_over(backend, folder) as one:
        one.scanner = kind(one.script, one.disk)
        return one.run()


def test_a_log_names_the_signatures_that_its_files_were_scanned_with(
    backend: Backend, tmp_path: Path
) -> None:
    builds = [backend.upload({"a.bin": CLEAN}) for _ in range(3)]
    sweep_by(Ageing, backend, tmp_path / "work")
    named = {journal.read(logged(backend, build)).engine for build in builds}
    assert named == {"signatures 1", "signatures 2", "signatures 3"}


def test_signatures_that_grow_old_in_a_pass_end_it_and_its_claims_are_given_back(
    backend: Backend, tmp_path: Path
) -> None:
    class Old(Ageing):
        renewals = 2

    builds = [backend.upload({"a.bin": CLEAN}) for _ in range(4)]
    with pytest.raises(EngineError, match="MAX_SIGNATURE_AGE"):
        sweep_by(Old, backend, tmp_path / "work")
    found = sorted(str(backend.status_of(build)) for build in builds)
    assert found == ["clean", "clean", "pending", "pending"]


# -- what only windows can show -------------------------------------------------------------------


@pytest.mark.xdist_group("large")
@pytest.mark.slow
@pytest.mark.parametrize(("policy", "status"), [("note", "clean"), ("error", "error")])
def test_a_member_of_more_than_clamscan_can_take(
    backend: Backend, tmp_path: Path, policy: str, status: str
) -> None:
    sample = large_tar_gz(tmp_path / "game.tar.gz", [2500 * MIB], b"the end")
    build = backend.upload({"game.tar.gz": sample})
    assert sweep(backend, OVERSIZE_CONTENT=policy).code == 0
    assert backend.status_of(build) == status
    assert f"game/0.pak: {2500 * MIB + 7} bytes" in logged(backend, build)
