"""One clamscan process that reads paths from its standard input: paths in, transcripts out.

After every path, the sentinel is fed: an empty file with an unguessable name. A transcript ends where
clamscan reports the sentinel. So it is complete however many lines it has, and no file name can forge
its end. There is no deadline here: the pass ends an inspection that takes too long.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from avscan.clamav.program import ending, environment
from avscan.errors import EngineError

PATH_LENGTH = 1000
"""Bytes of a path, at the most. clamscan reads lines of up to 1,023 bytes, and splits longer ones."""

TRANSCRIPT_LENGTH = 1024 * 1024
"""Bytes of a transcript that are kept; a hostile archive can cause millions of lines."""

FILE_SIZE = 2 * 1024**3
"""Bytes of a temporary file of clamscan, at the most: above its own limit, or it warns."""

CHUNK = 64 * 1024


class DiedError(EngineError):
    """The process has ended, with this exit code (negative: by a signal), after this transcript."""

    def __init__(self, code: int, transcript: bytes) -> None:
        super().__init__(f"clamscan {ending(code)}")
        self.code = code
        self.transcript = transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """clamscan's output for one path, and the number of bytes that were not kept."""

    text: bytes
    lost: int = 0


class Feed:
    """A running process with a private folder for its temporary files."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        *,
        limit: Callable[[], None] | None = None,
    ) -> None:
        """Start a command in an existing folder, without waiting for it.

        `limit` runs in the child before it executes the command (`preexec_fn`: only for a process
        without threads). Raise EngineError if the command cannot be started.
        """
        self._early = b""
        sentinel = folder / os.urandom(16).hex()
        try:
            sentinel.touch()
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,  # one stream, so that the order of lines is kept
                cwd=folder,
                env=environment(folder),
                preexec_fn=limit,  # noqa: PLW1509 - for a process without threads
            )
        except (OSError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise EngineError(f"clamscan can't be started: {reason}") from error
        self._sentinel = os.fsencode(sentinel)
        self._input = cast("IO[bytes]", self._process.stdin)
        self._output = cast("IO[bytes]", self._process.stdout)

    def send(self, path: Path) -> None:
        """Feed a path and the sentinel, without waiting for an answer.

        A few may be sent ahead, as many as fit into the pipe (4 KiB at least); their transcripts are
        received in the same order. Raise EngineError if the path is too long for a line. If the
        process has ended, `receive` raises DiedError.
        """
        line = os.fsencode(path)
        if len(line) > PATH_LENGTH or b"\n" in line:
            raise EngineError(f"the work folder's path is longer than {PATH_LENGTH} bytes")
        with suppress(BrokenPipeError):  # it is short enough to be written at once
            self._input.write(line + b"\n" + self._sentinel + b"\n")

    def receive(self) -> Transcript:
        """Read up to the sentinel. Raise DiedError, or EngineError if the sentinel has vanished."""
        kept, lost, pending = bytearray(), 0, self._early
        while True:
            before, found, after = pending.partition(self._sentinel)
            whole = found and b"\n" in after
            if whole:
                known, pending = before, after
            elif found:
                known = b""
            else:  # its end may be the beginning of the sentinel
                safe = max(0, len(pending) - len(self._sentinel) + 1)
                known, pending = pending[:safe], pending[safe:]
            room = TRANSCRIPT_LENGTH - len(kept)
            kept += known[:room]
            lost += max(0, len(known) - room)
            if whole:
                break
            chunk = os.read(self._output.fileno(), CHUNK)
            if not chunk:
                raise DiedError(self._process.wait(), bytes(kept) + pending)
            pending += chunk
        verdict, _, self._early = pending.partition(b"\n")
        if verdict != b": Empty file":
            raise EngineError("clamscan lost its work folder")
        if lost:  # a cut line could look like a whole one
            del kept[kept.rfind(b"\n") + 1 :]
        return Transcript(text=bytes(kept), lost=lost)

    def close(self) -> None:
        """Kill the process. It can be called twice."""
        self._process.kill()
        for pipe in (self._input, self._output):
            with suppress(OSError):
                pipe.close()
        self._process.wait()
