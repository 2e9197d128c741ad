"""One warm clamscan: started once, fed one path after another, trusted only after its canary.

Loading the official signatures takes some 13 s and 1.2 GB, so one process scans all the files of a
pass. The first path that it scans is a canary that it must find, packed in a zip so that unpacking
into the temporary folder is proved too: clamscan says `OK` to everything when that folder can't be
written.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from avscan.clamav import canary as canaries
from avscan.clamav import marks
from avscan.clamav.feed import DiedError, Feed, FeedError, Transcript
from avscan.clamav.program import DATABASE, DEFAULT_LIMITS, Limits, executable
from avscan.clamav.transcript import complaints, parse
from avscan.errors import EngineError
from avscan.findings import Findings


class Clamscan:
    """A context manager, started when it is entered. Not for use by several threads.

    `program` is a name or path. `workspace` is where the files that are scanned lie, and where the
    folder for temporary files is made. `database` is a file or folder of signatures. `canary` is a
    file that the signatures know, in place of EICAR. `limit` runs in the child before it becomes
    clamscan. A process that has failed once is not used again.

    `end_mark` is content that nobody else knows: as a whole file, and as such alone, it is reported
    as unopened by the name `bundle.END`.
    """

    def __init__(
        self,
        *,
        program: str,
        workspace: Path,
        database: Path = DATABASE,
        canary: Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        limit: Callable[[], None] | None = None,
    ) -> None:
        self._program = program
        self._workspace = workspace.resolve()
        self._database = database.absolute()
        self._canary = canary
        self._limits = limits
        self._limit = limit
        self._proved = False
        self._submitted: deque[Path] = deque()
        self._received: deque[Transcript] = deque()
        self.end_mark = os.urandom(32)

    def __enter__(self) -> Self:
        """Start the process, without waiting for it to load its signatures. Raise EngineError."""
        folder = self._workspace / "clamscan"
        try:
            (folder / "tmp").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"the work folder can't be written: {error.strerror}") from error
        self._packed = canaries.pack(folder, self._canary)
        self._feed = Feed(folder, self.command(folder), limit=self._limit)
        self._feed.send(self._packed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill the process."""
        self._feed.close()

    def prove(self) -> None:
        """Wait until the process has loaded its signatures and found its canary.

        Raises:
            EngineError: it has not; the text says why, as far as it is known.

        """
        if self._proved:
            return
        try:
            transcript = self._feed.receive()
        except DiedError as death:
            raise EngineError(self._startup_failure(death)) from death
        except FeedError as trouble:
            raise EngineError(f"clamscan {trouble} while it loaded its signatures") from trouble
        self._expect_canary(transcript)
        self._proved = True

    def scan(self, path: Path) -> Findings:
        """Scan one file, while no other is. Raise EngineError, see `submit` and `collect`."""
        self.submit(path)
        return self.collect()

    def submit(self, path: Path) -> None:
        """Submit a file for scanning: an absolute, resolved path in the workspace, named by us.

        A few may be submitted ahead, see `Feed.send`. Raise EngineError.
        """
        self.prove()
        self._feed.send(path)
        self._submitted.append(path)

    def collect(self) -> Findings:
        """Wait for what is found of the file that was submitted first.

        Raises:
            EngineError: clamscan died, or does not find its canary any more.

        """
        path = self._submitted.popleft()
        transcript = self._received.popleft() if self._received else self._receive()
        findings = parse(transcript.text, path, private=self._workspace)
        if findings.signatures:
            return findings
        if transcript.lost:
            flood = f"clamscan printed {transcript.lost} bytes more than are kept"
            findings = replace(findings, errors=(*findings.errors, flood))
        if findings.errors:
            # They may be the installation's, such as a full disk.
            self._prove_again()
        return findings

    def _prove_again(self) -> None:
        """Ask for the canary, whose turn comes behind what was submitted."""
        self._feed.send(self._packed)
        while len(self._received) < len(self._submitted):
            self._received.append(self._receive())
        self._expect_canary(self._receive())

    def _receive(self) -> Transcript:
        try:
            return self._feed.receive()
        except FeedError as trouble:
            raise EngineError(f"clamscan {trouble}") from trouble

    def _expect_canary(self, transcript: Transcript) -> None:
        """Raise EngineError if the canary was not found; the text says why as far as it is known."""
        findings = parse(transcript.text, self._packed, private=self._workspace)
        if findings.signatures:
            return
        if findings.errors:
            text = f"{findings.errors[0]} (can the work folder be written, has it room?)"
        elif self._canary is None:
            text = "the signatures lack the EICAR test: set CANARY_FILE to a file that they know"
        else:
            text = f"CANARY_FILE must be a file that the signatures know: {self._canary}"
        raise EngineError(f"clamscan does not find its canary: {text}")

    def _startup_failure(self, death: DiedError) -> str:
        """Return why a process died before it could scan anything, and what to do."""
        if death.code == -signal.SIGKILL:
            return (
                "clamscan was killed by SIGKILL while it loaded its signatures: mostly memory is "
                "short (the official set takes 1.2 GB, and 3 GB are advised)"
            )
        words = complaints(death.transcript, private=self._workspace)
        return (
            f"clamscan {death} while it loaded its signatures:"
            f" {'; '.join(words) or 'no error line'}; look at {self._database}"
            " (freshclam fetches the official ones)"
        )

    def command(self, folder: Path) -> list[str]:
        """Return the command that scans what its standard input lists. Raise EngineError."""
        return [
            executable(self._program),
            "--no-summary",
            "--stdout",
            "--file-list=/dev/stdin",
            f"--tempdir={folder / 'tmp'}",
            # Else the first alert hides the others: an encrypted member, a virus beside it.
            "--allmatch",
            "--alert-exceeds-max=yes",
            "--alert-encrypted=yes",
            # clamscan remembers clean content by its MD5 (before 1.5), so that a file made to have
            # the MD5 of a harmless one that came before it would be `OK` unseen. It also remembers
            # as clean what it could not unpack.
            "--disable-cache",
            f"--database={self._database}",
            # Beside the others: clamscan takes any number of these.
            f"--database={marks.write(folder, self.end_mark)}",
            *self._limits.options(),
        ]
