"""Signals: a command ends at any point of its work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BEGIN = """
import logging, os, signal, threading, time
from avscan import signals
from avscan.boundary import boundary
from avscan.errors import AvscanError
from avscan.logs import configure
from avscan.settings import LogFormat

def stop(number=signal.SIGTERM):
    os.kill(os.getpid(), number)

configure("info", LogFormat.JSON)
"""
# A signal in another thread does not interrupt the main thread's system call. This has the same
# effect as a signal just before the call.
BEFORE_A_CALL = """
with boundary("pass"):
    itself = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Timer(0.3, itself).start()
    threading.Event().wait(1)
    time.sleep(60)
"""
# Python drops exceptions raised in a finalizer.
IN_A_FINALIZER = """
class Careless:
    def __del__(self):
        stop()

with boundary("pass"):
    Careless()
    while True:
        signals.check()
        time.sleep(1)
"""
# `zipfile` raises like this if an archive is closed in the middle of a member.
IN_A_CLEANUP = """
class Archive:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        raise ValueError("it is half written")

    def __del__(self):
        raise ValueError("it is half written")

with boundary("pass"), Archive():
    stop()
"""
FURTHER_SIGNALS = """
with boundary("pass"):
    try:
        stop()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            stop(number)
        time.sleep(0.1)
"""
AT_THE_END = """
class Late(logging.Filter):
    def filter(self, record):
        stop()
        return True

logging.getLogger("avscan").handlers[0].addFilter(Late())
with boundary("pass"):
    raise AvscanError("no network")
"""
SWALLOWED = """
signals.GRACE_PERIOD = 0.1
with boundary("pass"):
    try:
        stop()
    except BaseException:
        while True:
            time.sleep(60)
"""


# A call that signals do not interrupt, as a DNS lookup.
UNINTERRUPTIBLE = """
import ctypes
signals.GRACE_PERIOD = 0.1
libc = ctypes.CDLL(None)
with boundary("pass"):
    threading.Timer(0.3, stop).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    libc.poll(None, 0, 60_000)
"""
UNREAD_LOG = """
signals.GRACE_PERIOD = 0.1
reader, writer = os.pipe()
logging.getLogger("avscan").handlers[0].setStream(os.fdopen(writer, "w"))
os.set_blocking(writer, False)
try:
    while os.write(writer, bytes(65536)):
        pass
except BlockingIOError:
    os.set_blocking(writer, True)
with boundary("pass"):
    stop()
"""


def run(program: str) -> tuple[int, list[str]]:
    """Run a program. Return its exit code and the logged events."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        stderr=subprocess.PIPE,
        timeout=60,
        text=True,
        check=False,
    )
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    return done.returncode, events


@pytest.mark.parametrize(
    ("name", "code"), [("SIGHUP", 129), ("SIGINT", 130), ("SIGTERM", 143)], ids=lambda each: each
)
def test_a_signal_ends_a_command_with_its_exit_code(name: str, code: int) -> None:
    assert run(f"with boundary('pass'):\n    stop(signal.{name})") == (code, ["pass.stopped"])


@pytest.mark.parametrize(
    "program",
    [BEFORE_A_CALL, IN_A_FINALIZER, IN_A_CLEANUP],
    ids=["before a call that blocks", "in a finalizer", "in a cleanup that fails for it"],
)
def test_a_signal_ends_a_command_at_any_point(program: str) -> None:
    assert run(program) == (143, ["pass.stopped"])


def test_a_signal_before_the_log_is_configured_prints_nothing_into_it() -> None:
    before = "logging.getLogger('avscan').handlers.clear()\n"
    assert run(before + "with boundary('pass'):\n    stop()") == (143, [])


def test_further_signals_are_ignored() -> None:
    assert run(FURTHER_SIGNALS) == (143, ["pass.stopped"])


def test_nohup_is_respected() -> None:
    program = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with boundary("pass"):
    stop(signal.SIGHUP)
    time.sleep(0.1)
    raise AvscanError("it went on")
"""
    assert run(program) == (1, ["pass.failed"])


def test_check_does_nothing_without_a_signal() -> None:
    assert run("with boundary('pass'):\n    signals.check()\nsignals.check()") == (0, [])


@pytest.mark.parametrize(
    "program",
    [SWALLOWED, UNINTERRUPTIBLE, UNREAD_LOG],
    ids=["it was swallowed", "a call goes on", "nobody reads the log"],
)
def test_a_hanging_end_is_forced(program: str) -> None:
    assert run(program) == (143, [])


def test_a_signal_at_the_end_ends_the_command() -> None:
    assert run(AT_THE_END) == (-signal.SIGTERM, [])


@pytest.mark.parametrize(
    "command",
    [["-m", "avscan"], ["-c", "from avscan.__main__ import main; main()"]],
    ids=["python -m avscan", "avscan"],
)
def test_ctrl_c_during_the_imports_prints_no_traceback(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "click.py").write_text("import time; print('importing', flush=True); time.sleep(9)")
    with subprocess.Popen(
        [sys.executable, *command, "run"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGINT, "")


def test_the_console_script_starts_like_the_module() -> None:
    project = Path(__file__).parents[1] / "pyproject.toml"
    scripts = tomllib.loads(project.read_text())["project"]["scripts"]
    assert scripts == {"avscan": "avscan.__main__:main"}
