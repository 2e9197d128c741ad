"""What clamscan is left with, seen from inside a child that was started as clamscan is."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import fake_clamscan

from avscan.clamav import confine
from avscan.clamav.clamscan import MAX_FILE_SIZE, Clamscan

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = 65534
LAUNCHER = [sys.executable, "-I", "-S", confine.__file__]


def launch(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCHER, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a stand-in for clamscan sees of the world."""
    monkeypatch.setenv("AVSCAN_PASSWORD", "secret")
    monkeypatch.setenv("LD_PRELOAD_NOT", "secret")
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)  # noqa: FBT003 - it takes no keyword
    program = fake_clamscan.script(tmp_path, "find", f"report:{tmp_path / 'report'}")
    workspace = tmp_path / "work"
    workspace.mkdir()
    victim = workspace / "a"
    victim.write_bytes(b"a")
    try:
        with Clamscan(program=str(program), workspace=workspace) as engine:
            assert engine.scan(victim).clean
    finally:
        os.close(leak)
    seen: dict[str, Any] = json.loads((tmp_path / "report").read_text())
    return seen


def test_the_environment_is_built_from_nothing(report: dict[str, Any]) -> None:
    assert report["environment"].pop("LC_CTYPE", "") in {"", "C.UTF-8"}  # set by Python itself
    folder = report["folder"]
    assert report["environment"] == {
        "PATH": os.defpath,
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": folder,
        "TMPDIR": folder,
    }
    assert f"--tempdir={folder}" in report["arguments"]


def test_only_the_standard_streams_are_open(report: dict[str, Any]) -> None:
    # 3 is the stand-in's own: the listing of the folder of descriptors, or its script.
    assert [number for number in report["descriptors"] if number > 3] == []


def test_privileges_and_limits(report: dict[str, Any]) -> None:
    assert report["no_new_privileges"] == "1"
    assert report["core"] == [0, 0]
    assert report["processes"] == [0, 0]
    assert report["umask"] == 0o077
    assert report["own_session"]
    # Below clamscan's own ceiling, it would warn.
    assert report["file_size"][0] >= MAX_FILE_SIZE


def run_as_nobody(code: str) -> str:
    """Run Python code as somebody who is not root: /proc hides nothing from root."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SECRET_OF_THE_PARENT": "x", "PYTHONPATH": str(PACKAGE.parent)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PACKAGE = Path(confine.__file__).parent

# Whoever changes the user becomes undumpable, which is what is to be shown: take it back.
PRELUDE = f"""
import os, subprocess
from avscan.clamav import confine
if os.getuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
    confine._prctl(confine.PR_SET_DUMPABLE, 1)
"""

FORK = """
if os.fork() == 0:
    confine.confine(os.getppid(), 1000)
    try:
        os.fork()
    except BlockingIOError:
        os._exit(77)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_no_process_can_be_started() -> None:
    assert int(run_as_nobody(FORK)) == 77


READ = """
command = ["/bin/grep", "-c", "SECRET_OF_THE_PARENT", f"/proc/{os.getpid()}/environ"]
print(subprocess.run(command, capture_output=True, text=True).stdout.strip() or "refused")
"""


def test_a_child_can_read_the_environment_of_the_parent() -> None:
    assert run_as_nobody(READ).strip() == "1"


def test_a_child_can_not_once_inspection_is_refused() -> None:
    assert run_as_nobody("confine.refuse_inspection()" + READ).strip() == "refused"


def test_too_large_a_file_kills(tmp_path: Path) -> None:
    done = launch(
        os.getpid(), 1000, "/bin/dd", "if=/dev/zero", f"of={tmp_path / 'x'}", "bs=2000", "count=1"
    )
    assert done.returncode in {-signal.SIGXFSZ, 1}  # dd may write what fits, and then gets EFBIG
    assert (tmp_path / "x").stat().st_size <= 1000


def test_signals_are_as_usual() -> None:
    done = launch(os.getpid(), 1000, "/bin/grep", "SigIgn", "/proc/self/status")
    ignored = int(done.stdout.split()[1], 16)
    assert not ignored & (1 << (signal.SIGXFSZ - 1))
    assert not ignored & (1 << (signal.SIGPIPE - 1))


def test_the_child_of_somebody_else_ends() -> None:
    done = launch(1 if os.getpid() != 1 else 2, 1000, "/bin/echo", "alive")
    assert (done.returncode, done.stdout) == (confine.EXIT_ORPHAN, "")


def test_a_program_that_can_not_be_started_is_named(tmp_path: Path) -> None:
    done = launch(os.getpid(), 1000, tmp_path / "nowhere")
    assert done.returncode == confine.EXIT_CANNOT
    assert (
        done.stderr
        == f"ERROR: {tmp_path / 'nowhere'} can't be started: No such file or directory\n"
    )


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen({LAUNCHER!r} + [str(os.getpid()), '1000', '/bin/cat'],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)\n"
        "child.stdin.write(b'x'); child.stdin.flush(); child.stdout.read(1)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert state(child) not in {"Z", ""}
        parent.kill()
    deadline = time.monotonic() + 10
    while state(child) not in {"Z", ""} and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert state(child) in {"Z", ""}


def state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as status:  # noqa: PTH123 - of a process, not a document
            return status.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Calls:
    """Takes the place of what can't be undone in the process of the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, hard: int) -> None:
        self.limits: dict[int, tuple[int, int]] = {}
        self.prctl: list[tuple[int, int]] = []
        self.handlers: dict[int, object] = {}
        self.command: list[str] = []
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (hard, hard))
        monkeypatch.setattr(resource, "setrlimit", self.limits.__setitem__)
        monkeypatch.setattr(
            confine, "_prctl", lambda option, value: self.prctl.append((option, value))
        )
        monkeypatch.setattr(signal, "signal", self.handlers.__setitem__)
        monkeypatch.setattr(os, "umask", lambda mask: mask)
        monkeypatch.setattr(os, "execv", self.execv)

    def execv(self, program: str, command: Sequence[str]) -> None:
        self.command = [program, *command]


@pytest.mark.parametrize(("hard", "size"), [(resource.RLIM_INFINITY, 1000), (10, 10), (5000, 1000)])
def test_limits_are_only_ever_lowered(
    monkeypatch: pytest.MonkeyPatch, hard: int, size: int
) -> None:
    calls = Calls(monkeypatch, hard=hard)
    confine.main([str(os.getppid()), "1000", "/bin/true", "a"])
    assert calls.command == ["/bin/true", "/bin/true", "a"]
    assert calls.limits[resource.RLIMIT_FSIZE] == (size, size)
    assert calls.limits[resource.RLIMIT_NPROC] == (0, 0)
    assert (confine.PR_SET_PDEATHSIG, signal.SIGKILL) in calls.prctl


def test_what_the_kernel_refuses_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def execv(program: str, command: Sequence[str]) -> None:
        raise PermissionError(13, "Permission denied")

    Calls(monkeypatch, hard=10)
    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(SystemExit) as stop:
        confine.main([str(os.getppid()), "1000", "/bin/true"])
    assert stop.value.code == confine.EXIT_CANNOT
    assert capsys.readouterr().err == "ERROR: /bin/true can't be started: Permission denied\n"


def test_an_orphan_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    Calls(monkeypatch, hard=10)
    with pytest.raises(SystemExit) as stop:
        confine.main(["1" if os.getppid() != 1 else "2", "1000", "/bin/true"])
    assert stop.value.code == confine.EXIT_ORPHAN


def test_inspection_is_refused_by_being_undumpable(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, hard=10)
    confine.refuse_inspection()
    assert calls.prctl == [(confine.PR_SET_DUMPABLE, 0)]


def test_a_refused_prctl_raises() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        confine._prctl(-1, 0)
