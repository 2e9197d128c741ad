"""What a compromised engine can reach: it tries each line of docs/security.md."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.gate import eventually, lives
from support.backend import REPOSITORY
from support.processes import children
from support.takeover import AS_NOBODY, as_nobody, attempt

from avscan.inspector import confine

SECURITY = REPOSITORY / "docs" / "security.md"
PERMITTED = "refused-Operation-not-permitted"
DENIED = "refused-Permission-denied"


@pytest.fixture(autouse=True)
def _kernel() -> None:
    missing = confine.missing_features()
    assert not missing, f"these tests need a newer kernel, with Landlock for {missing}"


# -- files ----------------------------------------------------------------------------------------


def test_it_cannot_read_the_files_of_the_system_or_of_its_user(tmp_path: Path) -> None:
    (secret := tmp_path / "password").write_text("secret")
    for path in ("/etc/passwd", str(secret), "/proc/self/environ"):
        assert attempt(tmp_path / path.replace("/", "_"), f"return open({path!r}).read()") == DENIED


def test_it_cannot_read_the_environment_of_another_process(tmp_path: Path) -> None:
    """Neither that of the pass nor that of a process that starts later."""
    for process in (os.getpid(), 1):
        body = f"return open('/proc/{process}/environ', 'rb').read()"
        assert attempt(tmp_path / str(process), body) == DENIED


def test_it_cannot_look_into_the_work_folder_or_at_other_artifacts(tmp_path: Path) -> None:
    (tmp_path / "neighbour").write_bytes(b"the next build's")
    for body in (
        f"return str(os.listdir({str(tmp_path)!r}))",
        f"return open({str(tmp_path / 'neighbour')!r}).read()",
        f"return os.open({str(tmp_path / 'neighbour')!r}, os.O_WRONLY)",
        f"return os.unlink({str(tmp_path / 'neighbour')!r})",
        f"return os.symlink('x', {str(tmp_path / 'link')!r})",
        f"open('x', 'w').close(); return os.rename('x', {str(tmp_path / 'neighbour')!r})",
    ):
        found = attempt(tmp_path / "work", body)
        shutil.rmtree(tmp_path / "work")
        assert found in {DENIED, "refused-Invalid-cross-device-link"}, body
    assert (tmp_path / "neighbour").read_bytes() == b"the next build's"


def test_it_cannot_hold_the_lock_of_the_work_folder(tmp_path: Path) -> None:
    body = f"""
folder = os.open({str(tmp_path)!r}, os.O_RDONLY | os.O_DIRECTORY)
fcntl.flock(folder, fcntl.LOCK_EX)
return "locked"
"""
    assert attempt(tmp_path / "work", body) == DENIED


def test_it_can_write_in_its_own_folder_and_nothing_there_is_executable(tmp_path: Path) -> None:
    body = """
with open("program", "w") as program:
    program.write("#!/bin/sh\\n")
os.chmod("program", 0o755)
os.execv("program", ["program"])
"""
    assert attempt(tmp_path / "work", body) == DENIED


# -- network --------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_it_cannot_connect_by_tcp(tmp_path: Path, server: int) -> None:
    body = f"socket.create_connection(('127.0.0.1', {server})); return 'connected'"
    assert attempt(tmp_path / "work", body) == DENIED


def test_it_cannot_listen_for_tcp(tmp_path: Path) -> None:
    body = "socket.create_server(('127.0.0.1', 0)); return 'bound'"
    # Port 0 is bound by `listen` where it is not refused before.
    assert attempt(tmp_path / "work", body) == DENIED


def test_it_cannot_reach_an_abstract_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0avscan-{os.getpid()}")
        listener.listen()
        body = f"""
peer = socket.socket(socket.AF_UNIX)
peer.connect("\\0avscan-{os.getpid()}")
return "connected"
"""
        assert attempt(tmp_path / "work", body) == PERMITTED


def test_it_can_reach_a_socket_that_has_a_path(tmp_path: Path) -> None:
    """This is not prevented, as docs/security.md says."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        body = f"socket.socket(socket.AF_UNIX).connect('{folder}/socket'); return 'connected'"
        assert attempt(tmp_path / "work", body) == "connected"


def test_it_can_send_udp(tmp_path: Path) -> None:
    """This is not prevented, as docs/security.md says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        body = f"""
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
return str(peer.sendto(b"x", {listener.getsockname()!r}))
"""
        assert attempt(tmp_path / "work", body) == "1"


# -- processes ------------------------------------------------------------------------------------


def test_it_cannot_signal_the_pass_or_any_other_process(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as victim:
        try:
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for process in (victim.pid, os.getpid()):
                    body = f"return str(os.kill({process}, {int(number)}))"
                    found = attempt(tmp_path / f"{process}-{int(number)}", body)
                    assert found == PERMITTED
        finally:
            victim.kill()


def test_it_cannot_trace_another_process(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as victim:
        try:
            body = f"""
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, {victim.pid}, 0, 0):
    raise OSError(ctypes.get_errno(), "")
return "attached"
"""
            assert attempt(tmp_path / "work", body) == PERMITTED
        finally:
            victim.kill()


def test_it_gains_no_privileges_and_leaves_no_core(tmp_path: Path) -> None:
    body = """
import resource
no_new_privileges = ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)
return f"{no_new_privileges}-{resource.getrlimit(resource.RLIMIT_CORE)}".replace(" ", "")
"""
    assert attempt(tmp_path / "work", body) == "1-(0,0)"


def test_its_memory_and_its_files_are_limited(tmp_path: Path) -> None:
    body = """
import resource
limits = [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)]
return str(limits).replace(" ", "")
"""
    expected = f"[{confine.ENGINE_MEMORY},{2 << 30}]"
    assert attempt(tmp_path / "work", body) == expected


def test_it_has_no_secret_in_its_environment_and_no_file_of_the_pass_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETBASE_TOKEN", "secret")
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)  # noqa: FBT003 - it takes no keyword
    body = """
def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
names = {"PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR", "LC_CTYPE"}
return f"{set(os.environ) <= names}-{[n for n in range(4, 100) if is_open(n)]}"
"""
    try:
        # 3 is the script that Python reads.
        assert attempt(tmp_path / "work", body) == "True-[]"
    finally:
        os.close(leak)


def test_it_can_start_no_process() -> None:
    code = """
def fork():
    try:
        os.fork()
    except BlockingIOError:
        os._exit(77)
    os._exit(0)
limit = confine.program_limits(1 << 30, 1 << 20, threads=False)
child = os.fork()
if not child:
    limit()
    fork()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert as_nobody(code) == "77"


def test_any_user_can_be_confined() -> None:
    code = """
folder = Path(tempfile.mkdtemp())
readable = confine.readable_paths("/usr/bin/clamscan", Path("/nowhere"), None)
confine.confine(parent=os.getppid(), folder=folder, readable=readable, memory=1 << 30)
(folder / "x").write_text("own")
try:
    open("/etc/passwd")
except PermissionError:
    print("confined")
"""
    assert as_nobody(code) == "confined"


def test_the_pass_cannot_be_read_by_a_process_of_its_user() -> None:
    """This protects the credentials if the kernel has no Landlock."""
    code = """
confine.prctl(4, 1)
command = ["/bin/grep", "-c", ".", f"/proc/{os.getpid()}/environ"]
print(subprocess.run(command, capture_output=True, text=True).stdout.strip() or "refused")
confine.refuse_inspection()
print(subprocess.run(command, capture_output=True, text=True).stdout.strip() or "refused")
"""
    seen, refused = as_nobody(code).split()
    assert int(seen) > 0
    assert refused == "refused"


# -- its life -------------------------------------------------------------------------------------


def test_it_ends_with_the_pass(tmp_path: Path) -> None:
    """A pass that was killed cannot end its inspector: the kernel does."""
    code = f"""
import sys, time
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
from pathlib import Path
from avscan.inspector.process import Engine, Inspector
from support.signatures import write_signatures
folder = Path({str(tmp_path)!r})
(folder / "own").mkdir()
engine = Engine(program="/usr/bin/clamscan", signatures=write_signatures(folder / "signatures"))
inspector = Inspector(engine, folder / "own")
inspector.prove(lambda: None)
print("ready", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        [child] = children(parent.pid)
        [engine] = children(child)
        assert lives(child)
        assert lives(engine)
        parent.kill()
    eventually(lambda: not lives(child) and not lives(engine))


def test_a_confinement_for_another_parent_ends_the_process() -> None:
    code = "confine.die_with(1 if os.getppid() != 1 else 2); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + code], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_refused_call_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "_PR_SET_DUMPABLE", -1)
    with pytest.raises(OSError, match="Invalid argument"):
        confine.prctl(-1, 0)


@pytest.mark.parametrize(
    ("version", "missing"), [(0, 3), (1, 2), (3, 2), (4, 1), (5, 1), (6, 0), (9, 0)]
)
def test_what_an_older_kernel_lacks_is_named(version: int, missing: int) -> None:
    assert len(confine.missing_features(version)) == missing


# -- the page -------------------------------------------------------------------------------------


def test_each_line_of_the_security_page_names_a_test() -> None:
    named = re.findall(r"`(test_\w+)`", SECURITY.read_text(encoding="utf-8"))
    assert len(named) >= 15
    assert [name for name in named if name not in globals()] == []
