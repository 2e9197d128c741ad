"""Waiting for what happens in other processes, and holding them where a test wants them."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MAX_WAIT = 30.0
CANARY = 2  # lines: the canary and the sentinel behind it


def eventually(condition: Callable[[], object], *, within: float = MAX_WAIT) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def lives(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Gate:
    """The real clamscan, which gets no file but its canary until the gate is open.

    With `loading` it does not even load its signatures before. The engine is confined to its own
    folder and may start no process. So the program gives its standard input to this process, over a
    Unix socket, and becomes a clamscan that reads what is forwarded.
    """

    def __init__(self, folder: Path, *, loading: bool = False) -> None:
        folder.mkdir()
        self.program = folder / "clamscan"
        self.processes: list[int] = []
        self._loading = loading
        self._opened = threading.Event()
        # Not in `folder`: a socket's path holds 108 bytes.
        address = Path(tempfile.mkdtemp(prefix="gate-")) / "socket"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(address))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        clamscan = shutil.which("clamscan")
        assert clamscan, "install ClamAV: the tests scan with the real one"
        self.program.write_text(
            f"#!{sys.executable} -IS\n"
            "import os, socket, sys\n"
            "if '--version' not in sys.argv:\n"
            "    with socket.socket(socket.AF_UNIX) as gate:\n"
            f"        gate.connect({str(address)!r})\n"
            "        socket.send_fds(gate, [str(os.getpid()).encode()], [0])\n"
            "        _, (stdin,), _, _ = socket.recv_fds(gate, 1, 1)\n"
            "    os.dup2(stdin, 0)\n"
            f"os.execv({clamscan!r}, sys.argv)\n"
        )
        self.program.chmod(0o755)

    def open(self) -> None:
        self._opened.set()

    def _serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            threading.Thread(target=self._hold, args=(connection,), daemon=True).start()

    def _hold(self, connection: socket.socket) -> None:
        with connection:
            process, (source,), _, _ = socket.recv_fds(connection, 32, 1)
            self.processes.append(int(process))
            if self._loading:
                self._opened.wait()
            target, sink = os.pipe()
            with suppress(OSError):  # it was killed while it waited
                socket.send_fds(connection, [b"."], [target])
            os.close(target)
        with (
            suppress(BrokenPipeError),
            os.fdopen(source, "rb", buffering=0) as lines,
            os.fdopen(sink, "wb", buffering=0) as forwarded,
        ):
            for number, line in enumerate(lines):
                if number >= CANARY:
                    self._opened.wait()
                forwarded.write(line)
