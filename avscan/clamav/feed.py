"""One clamscan process that is fed paths over its standard input: paths in, transcripts out.

It knows nothing of signatures, canaries and second tries. Every transcript ends where clamscan
reports an empty file, the sentinel, which is fed after every path and whose name nobody can guess;
so a transcript is whole however many lines it has, and no file name can forge its end.
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from avscan.clamav import confine
from avscan.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

PATH_LENGTH = 1000
"""The most bytes of a path; a line of `--file-list` holds 1,023, and a longer one is two lines."""

TRANSCRIPT_LENGTH = 1024 * 1024
"""How many bytes of a transcript are kept; a hostile archive can cause millions of lines."""

_FILE_SIZE = 2 * 1024**3  # of clamscan's temporary files: above its own ceiling, or it warns
_CHUNK = 64 * 1024
_LONGEST_POLL = 1_000_000.0  # seconds; poll(2) counts milliseconds in 31 bits
_REAPING = 10.0  # seconds that a killed process has to vanish in


class FeedError(Exception):
    """The process gave no whole transcript; `transcript` is what there is of it."""

    def __init__(self, reason: str, transcript: bytes = b"") -> None:
        super().__init__(reason)
        self.transcript = transcript


class DiedError(FeedError):
    """The process has ended, with this exit code (negative: by a signal)."""

    def __init__(self, code: int, transcript: bytes) -> None:
        super().__init__(ending(code), transcript)
        self.code = code


class HungError(FeedError):
    """The process did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What clamscan printed for one path, and how many more bytes were not kept."""

    text: bytes
    lost: int = 0


def environment(folder: Path) -> dict[str, str]:
    """Build what clamscan needs to know of the world, from nothing: no password gets to it."""
    return {
        "PATH": os.defpath,
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }


class Feed:
    """A running process in a session of its own, and its private folder in the workspace."""

    def __init__(self, workspace: Path, command: Callable[[Path], list[str]]) -> None:
        """Start what `command` says, given the folder for temporary files; doesn't wait for it.

        The process is killed when the thread that calls this ends: call it from one that lives as
        long as the process is needed. Raises EngineError.
        """
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="clamscan-", dir=workspace))
        except OSError as error:
            raise EngineError(f"the work folder can't be written: {error.strerror}") from error
        self._early = b""
        try:
            temporary = self.folder / "tmp"
            temporary.mkdir()
            sentinel = self.folder / secrets.token_hex(16)
            sentinel.touch()
            self._sentinel = os.fsencode(sentinel)
            self._process = _start(command(temporary), temporary)
        except BaseException as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise EngineError(f"clamscan can't be started: {error.strerror}") from error
            raise
        self._input = cast("IO[bytes]", self._process.stdin)
        self._output = cast("IO[bytes]", self._process.stdout)

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def send(self, path: Path) -> None:
        """Feed a path and the sentinel after it, without waiting for an answer.

        One path at a time: its transcript must be received before the next is sent. Raises
        EngineError if a line can't hold the path. If the process has ended, `receive` will tell.
        """
        line = os.fsencode(path)
        if len(line) > PATH_LENGTH or b"\n" in line:
            raise EngineError(f"the work folder's path is longer than {PATH_LENGTH} bytes")
        with suppress(BrokenPipeError):  # short enough for the pipe to take it whole, at once
            self._input.write(line + b"\n" + self._sentinel + b"\n")

    def receive(self, seconds: float) -> Transcript:
        """Read up to the sentinel. Raises DiedError, HungError, or FeedError."""
        deadline = time.monotonic() + seconds
        kept, lost, pending = bytearray(), 0, self._early
        while True:
            before, found, after = pending.partition(self._sentinel)
            whole = found and b"\n" in after
            if whole:
                known, pending = before, after
            elif found:
                known = b""
            else:  # the end of it may be the beginning of the sentinel
                safe = max(0, len(pending) - len(self._sentinel) + 1)
                known, pending = pending[:safe], pending[safe:]
            room = TRANSCRIPT_LENGTH - len(kept)
            kept += known[:room]
            lost += max(0, len(known) - room)
            if whole:
                break
            chunk = self._read(deadline, seconds)
            if not chunk:
                raise DiedError(self._reap(), bytes(kept) + pending)
            pending += chunk
        verdict, _, self._early = pending.partition(b"\n")
        if verdict != b": Empty file":
            raise FeedError("lost its work folder", bytes(kept))
        if lost:  # half a line would be taken for a whole one
            del kept[kept.rfind(b"\n") + 1 :]
        return Transcript(text=bytes(kept), lost=lost)

    def close(self) -> None:
        """Kill the process and remove its folder; never raises, and can be called twice."""
        if self.alive:
            # Its session has its number. Nothing else is in it, but what took it over might be.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._input, self._output):
            with suppress(OSError):
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAPING)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, deadline: float, seconds: float) -> bytes:
        """Read what there is, or wait for it until the deadline; nothing at the end of it."""
        left = deadline - time.monotonic()
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        if left <= 0 or not poll.poll(min(left, _LONGEST_POLL) * 1000):
            raise HungError(f"did not finish within {seconds:.0f} s")
        return os.read(self._output.fileno(), _CHUNK)

    def _reap(self) -> int:
        """Give the exit code of the process, whose output has ended."""
        try:
            return self._process.wait(_REAPING)
        except subprocess.TimeoutExpired as error:
            raise HungError("closed its output and lives on") from error


def ending(code: int) -> str:
    """Say how a process ended, by its exit code as `subprocess` gives it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command through the launcher that confines it."""
    launcher = [sys.executable, "-I", "-S", confine.__file__, str(os.getpid()), str(_FILE_SIZE)]
    return subprocess.Popen(
        launcher + command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # one stream, so that the order of lines is kept
        cwd=folder,
        env=environment(folder),
        start_new_session=True,  # a Ctrl-C at the terminal is the pass's to handle
    )
