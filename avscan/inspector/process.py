"""The pass's side of an inspector: start it, give it an artifact, read its findings, end it.

The inspector is not trusted. Whatever it sends or does, an examination ends with one of `Ended`. The
inspector can be paused and killed at any time.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, TypeAlias, cast

from avscan.clamav.program import ending, environment
from avscan.errors import EngineError
from avscan.findings import Collector, Examination, Finding
from avscan.inspector.protocol import (
    LINE_LENGTH,
    Done,
    Failed,
    Message,
    ProtocolError,
    Ready,
    decode,
)
from avscan.workspace import remove

LOADING = 600.0
"""Seconds in which clamscan must load its signatures and find its canary (13 s are usual)."""

_CHUNK = 64 * 1024
_ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The clamscan program and the signatures of an inspector, as absolute paths."""

    program: str
    signatures: Path
    canary: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The artifact was examined to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The inspector has ended, or broken the protocol; `reason` is one printable line."""

    reason: str


Ended: TypeAlias = Examined | Broken


class Inspector:
    """A running inspector with a folder of its own. Not for use by several threads.

    The kernel kills it when the thread that started it ends.
    """

    def __init__(
        self, engine: Engine, folder: Path, *, command: Sequence[str] | None = None
    ) -> None:
        """Start an inspector in an empty folder, without waiting for its clamscan.

        `command` is another program that follows the protocol.

        Raises:
            EngineError: it cannot be started.

        """
        self.started = monotonic()
        self._folder = folder
        self._ready = False
        self._broken: Broken | None = None
        self._pending = b""
        self._is_busy = False
        self._collector = Collector()
        self._ran = 0.0
        self._since: float | None = None
        try:
            self._process = subprocess.Popen(
                command or _command(engine, folder),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=environment(folder),
                start_new_session=True,  # the pass handles a Ctrl-C at the terminal
            )
        except OSError as error:
            raise EngineError(f"the inspector can't be started: {error.strerror}") from error
        self._input = cast("IO[bytes]", self._process.stdin)
        self._output = cast("IO[bytes]", self._process.stdout)

    @property
    def ran(self) -> float:
        """The seconds that the examination of the artifact has run, without pauses."""
        return self._ran + (0.0 if self._since is None else monotonic() - self._since)

    @property
    def works(self) -> bool:
        """Whether it is idle and can examine another artifact."""
        return self._broken is None and not self._is_busy

    @property
    def examination(self) -> Examination:
        """The findings on the artifact so far."""
        return self._collector.examination()

    def prove(self, tick: Callable[[], object]) -> None:
        """Wait until its clamscan has found the canary; `tick` is called each second.

        Raises:
            EngineError: it does not; the text is the reason.

        """
        while not self._ready:
            tick()
            if monotonic() - self.started > LOADING:
                raise EngineError(f"clamscan did not load its signatures within {LOADING:.0f} s")
            match self._next(1.0):
                case Ready():
                    self._ready = True
                case None:
                    pass
                case Failed(reason=reason):
                    raise EngineError(reason)
                case Broken(reason=reason):
                    raise EngineError(f"{reason} before it was ready")
                case _:
                    raise EngineError("the inspector sent a finding before it was ready")

    def begin(self, artifact: Path) -> None:
        """Begin to examine an artifact, which is moved into its folder. It must be ready and idle.

        Raises:
            OSError: the artifact cannot be moved.

        """
        self._is_busy = True
        self._collector = Collector()
        self._ran, self._since = 0.0, monotonic()
        artifact.replace(self._folder / _ARTIFACT)
        with suppress(BrokenPipeError):  # `wait` returns how it ended
            self._input.write(f"{_ARTIFACT}\n".encode())

    def wait(self, seconds: float) -> Ended | None:
        """Wait for the end of the examination; None if it has not ended within `seconds`."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            match self._next(left):
                case Finding() as finding:
                    self._collector.add(finding)
                case Done():
                    self._finish()
                    return Examined()
                case Broken() as broken:
                    return broken
                case Failed(reason=reason):
                    return self._break(reason)
                case Ready():
                    return self._break("the inspector sent a line out of turn")
                case None:
                    return None
        return None

    def pause(self) -> None:
        """Stop the inspector and all its processes until `resume`."""
        self._signal(signal.SIGSTOP)
        self._ran, self._since = self.ran, None

    def resume(self) -> None:
        """Continue a paused inspector."""
        self._since = monotonic()
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the inspector and all its processes, and remove its folder. It can be called twice."""
        self._signal(signal.SIGKILL)
        for pipe in (self._input, self._output):
            with suppress(OSError):
                pipe.close()
        self._process.wait()
        with suppress(OSError):  # the end of the pass removes the rest, or reports it
            remove(self._folder)

    def _finish(self) -> None:
        self._is_busy = False
        self._ran, self._since = self.ran, None
        (self._folder / _ARTIFACT).unlink(missing_ok=True)

    def _break(self, reason: str) -> Broken:
        self._ran, self._since = self.ran, None
        self._broken = Broken(reason=reason)
        return self._broken

    def _next(self, seconds: float) -> Message | Broken | None:
        """Read the next message; None if there is none within `seconds`."""
        if self._broken:
            return self._broken
        end = monotonic() + seconds
        while b"\n" not in self._pending:
            if len(self._pending) > LINE_LENGTH:
                return self._break("the inspector sent a line that is too long")
            poll = select.poll()
            poll.register(self._output, select.POLLIN)
            if not poll.poll(max(0.0, end - monotonic()) * 1000):
                return None
            chunk = os.read(self._output.fileno(), _CHUNK)
            if not chunk:
                return self._break(f"the inspector {self._ending()}")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            return decode(line)
        except ProtocolError as error:
            return self._break(f"the inspector sent {error}")

    def _ending(self) -> str:
        """Return how the process ended, after its output has ended."""
        # This ends its children, and the process if it has only closed its output.
        self._signal(signal.SIGKILL)
        return ending(self._process.wait())

    def _signal(self, number: int) -> None:
        """Send a signal to the inspector's process group, unless its process has been reaped."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _command(engine: Engine, folder: Path) -> list[str]:
    child = [sys.executable, "-I", "-m", "avscan.inspector.child", str(os.getpid())]
    return [*child, str(folder), engine.program, str(engine.signatures), str(engine.canary or "")]
