"""Runs a command, and tells what it cost."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SAMPLED = 0.05
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run took.

    `wall` and `cpu` are in seconds, `cpu` with the children that it waited for. `memory` is the
    process's own peak in bytes, without its children, and `disk` the most that `folder` held; both
    are 0 where they were not asked for.
    """

    wall: float
    cpu: float
    memory: int
    disk: int
    out: str
    err: str


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    stdin: str = "",
    good: Sequence[int] = (0,),
    folder: Path | None = None,
) -> Cost:
    """Run a command to its end; where a `folder` is named, memory and disk are watched.

    Raises AssertionError where it does not end well: what failed must not look fast.
    """
    with ExitStack() as files:
        given, out, err = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin.encode())
        given.seek(0)
        started = time.perf_counter()
        process = subprocess.Popen(command, env=dict(env), stdin=given, stdout=out, stderr=err)
        watch = _Watch(process.pid, folder) if folder else None
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if watch:
            watch.end()
        texts = _text(out), _text(err)
    assert process.returncode in good, f"{command}: {process.returncode}\n{''.join(texts)}"
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=watch.memory if watch else 0,
        disk=watch.disk if watch else 0,
        out=texts[0],
        err=texts[1],
    )


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


class _Watch:
    """Samples a process's peak of memory, which the kernel keeps, and the size of a folder."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.memory = 0
        self.disk = 0
        self._status = Path(f"/proc/{pid}/status")
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLED):
            with suppress(OSError):
                if peak := _PEAK.search(self._status.read_text()):
                    self.memory = max(self.memory, int(peak[1]) * 1024)
            self.disk = max(self.disk, _size(self._folder))


def _size(folder: Path) -> int:
    """Sum up what the files in a folder take on the disk, in bytes; some vanish meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_blocks * 512
    return total
