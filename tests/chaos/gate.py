"""Waiting for what happens in other processes, and holding them where a test wants them."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 30.0


def eventually(condition: Callable[[], object], *, within: float = PATIENCE) -> None:
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
    """A clamscan that loads its signatures only once the gate is open."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.program = folder / "clamscan"
        self._opened = folder / "opened"
        self._started = folder / "started"
        self._started.touch()
        clamscan = shutil.which("clamscan")
        assert clamscan, "install ClamAV: the tests scan with the real one"
        self.program.write_text(
            f"#!{sys.executable} -IS\n"
            "import os, sys, time\n"
            "if '--version' not in sys.argv:\n"
            f"    with open({str(self._started)!r}, 'a') as started:\n"
            "        print(os.getpid(), file=started)\n"
            f"    while not os.path.exists({str(self._opened)!r}):\n"
            "        time.sleep(0.01)\n"
            f"os.execv({clamscan!r}, sys.argv)\n"
        )
        self.program.chmod(0o755)

    def open(self) -> None:
        self._opened.touch()

    @property
    def processes(self) -> list[int]:
        """The clamscan processes that were started so far."""
        return [int(line) for line in self._started.read_text().split()]
