"""Runs of avscan without its imports: each uses 200 ms less of CPU.

A helper process, one for each worker of pytest, imports all of avscan once. For each run it forks;
the fork gets the arguments, the environment and the standard streams of the run and does what
`python -m avscan` does. It is a process of its own, so signals, exit codes and locks are real.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

LONGEST_MESSAGE = 100_000
NOT_PRELOADED = ("avscan.inspector.child",)  # the other side's


class Process:
    """A run of avscan; its interface is the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], stdout: int, stderr: int
    ) -> None:
        self.returncode: int | None = None
        self._waiting = threading.Lock()  # a test and its proxy may wait for the same run
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"arguments": list(arguments), "env": dict(env), "cwd": str(Path.cwd())}
        with theirs, Path(os.devnull).open() as stdin:
            streams = [stdin.fileno(), stdout, stderr, theirs.fileno()]
            socket.send_fds(_helper().requests, [json.dumps(request).encode()], streams)
        self.pid = int(self._answers.recv(LONGEST_MESSAGE))

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; minus the number of the signal where one ended it.

        Raises:
            subprocess.TimeoutExpired: it runs for longer than `timeout` seconds.

        """
        with self._waiting:
            if self.returncode is None:
                self._answers.settimeout(timeout)
                try:
                    answer = self._answers.recv(LONGEST_MESSAGE)
                except (TimeoutError, BlockingIOError) as error:
                    raise subprocess.TimeoutExpired("avscan", timeout or 0.0) from error
                self.returncode = int(answer)
                self._answers.close()
            return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the run has ended."""
        with suppress(ProcessLookupError):
            if self.returncode is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the run as a kernel without memory does."""
        self.send_signal(signal.SIGKILL)


class _Helper:
    """The process that forks, as the tests see it."""

    def __init__(self) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def close(self) -> None:
        self.requests.close()
        self._process.wait()


@cache
def _helper() -> _Helper:
    return _Helper()


def close() -> None:
    """End the helper process, if there is one."""
    if _helper.cache_info().currsize:
        _helper().close()
        _helper.cache_clear()


# -- in the helper process ------------------------------------------------------------------------


def _preload() -> None:
    package = importlib.import_module("avscan")
    for module in pkgutil.walk_packages(package.__path__, "avscan."):
        if module.name not in NOT_PRELOADED:
            importlib.import_module(module.name)


def _serve(requests: socket.socket) -> None:
    """Fork for each request; return in the process of a run only."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, LONGEST_MESSAGE, 4)
        if not message:
            sys.exit()
        monitor = os.fork()
        if not monitor:
            break
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    requests.close()
    answers = socket.socket(fileno=descriptors.pop())
    if run := os.fork():
        _report(run, answers, descriptors)
    answers.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    request = json.loads(message)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["avscan", *request["arguments"]]


def _report(run: int, answers: socket.socket, streams: Sequence[int]) -> None:
    """Send the process id of a run, then its exit code, and end."""
    for descriptor in (0, 1, 2, *streams):
        os.close(descriptor)
    with suppress(OSError):  # nobody waits for it any more
        answers.send(str(run).encode())
        _, status = os.waitpid(run, 0)
        answers.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def main() -> None:
    """Run avscan for whoever holds the other end of the socket that is named."""
    faulthandler.enable()
    _preload()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    importlib.import_module("avscan.cli").main()


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])  # not `support`, whose names are not avscan's
    main()
