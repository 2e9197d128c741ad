"""One warm clamscan: started once, fed one path after another, trusted after it found its canary.

To load the official signatures takes some 13 s and 1.2 GB, so one process scans all files. The first
path that it scans is the canary, which it must find. The canary is in a zip, which proves that
clamscan can write its temporary folder: if it cannot, it prints `OK` for everything.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from avscan.clamav import canary as canaries
from avscan.clamav import markers
from avscan.clamav.feed import DiedError, Feed, Transcript
from avscan.clamav.program import DEFAULT_LIMITS, Limits, executable
from avscan.clamav.transcript import complaints, parse
from avscan.errors import EngineError
from avscan.findings import Findings


class Clamscan:
    """A context manager, started when it is entered. Not for use by several threads.

    `program` is a name or path. `workspace` is the folder of the files to scan; the folder for
    temporary files is made in it. `database` is a file or folder of signatures. `canary` is a file
    that the signatures match, instead of EICAR. `limit` runs in the child before it executes
    clamscan. A process that has failed once is not used again.

    `end_mark` is random content: a file with exactly this content is reported as unopened, under the
    name `bundle.END`.
    """

    def __init__(
        self,
        *,
        program: str,
        workspace: Path,
        database: Path,
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
            self._packed = canaries.pack(folder, self._canary)
            command = self.command(folder)
        except OSError as error:
            raise EngineError(f"the work folder can't be written: {error.strerror}") from error
        self._feed = Feed(folder, command, limit=self._limit)
        self._feed.send(self._packed)
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process."""
        self._feed.close()

    def prove(self) -> None:
        """Wait until the process has loaded its signatures and found its canary.

        Raises:
            EngineError: it has not; the text is the reason, as far as it is known.

        """
        if self._proved:
            return
        try:
            transcript = self._feed.receive()
        except DiedError as death:
            raise EngineError(self._startup_failure(death)) from death
        self._expect_canary(transcript)
        self._proved = True

    def submit(self, path: Path) -> None:
        """Submit a file for scanning: an absolute, resolved path in the workspace, named by us.

        A few may be submitted ahead, see `Feed.send`. Raise EngineError.
        """
        self.prove()
        self._feed.send(path)
        self._submitted.append(path)

    def collect(self) -> Findings:
        """Wait for the findings on the file that was submitted first.

        Raises:
            EngineError: clamscan died, or does not find its canary any more.

        """
        path = self._submitted.popleft()
        transcript = self._received.popleft() if self._received else self._feed.receive()
        findings = parse(transcript.text, path, private=self._workspace)
        if findings.signatures:
            return findings
        if transcript.lost:
            flood = f"clamscan printed {transcript.lost} bytes more than are kept"
            findings = replace(findings, errors=(*findings.errors, flood))
        if findings.errors:
            # The installation may be the cause, such as a full disk.
            self._prove_again()
        return findings

    def _prove_again(self) -> None:
        """Check that the canary is still found, after the files that were submitted."""
        self._feed.send(self._packed)
        while len(self._received) < len(self._submitted):
            self._received.append(self._feed.receive())
        self._expect_canary(self._feed.receive())

    def _expect_canary(self, transcript: Transcript) -> None:
        """Raise EngineError if the canary was not found; the text is the reason, as far as it is known."""
        findings = parse(transcript.text, self._packed, private=self._workspace)
        if findings.signatures:
            return
        if findings.errors:
            text = f"{findings.errors[0]} (can the work folder be written, has it room?)"
        elif self._canary is None:
            text = (
                "the signatures lack the EICAR test, or allow it: set CANARY_FILE to a file that"
                " they find"
            )
        else:
            text = f"CANARY_FILE must be a file that the signatures know: {self._canary}"
        raise EngineError(f"clamscan does not find its canary: {text}")

    def _startup_failure(self, death: DiedError) -> str:
        """Return the reason why a process died before its first scan, and what to do."""
        if death.code == -signal.SIGKILL:
            return (
                "clamscan was killed by SIGKILL while it loaded its signatures: mostly memory is "
                "short (the official set takes 1.2 GB, and 3 GB are advised)"
            )
        errors = complaints(death.transcript, private=self._workspace)
        return (
            f"{death} while it loaded its signatures:"
            f" {'; '.join(errors) or 'no error line'}; look at {self._database}"
            " (freshclam fetches the official ones)"
        )

    def command(self, folder: Path) -> list[str]:
        """Return the command that scans what its standard input lists.

        Raise EngineError if there is no such program, or OSError.
        """
        return [
            executable(self._program),
            "--no-summary",
            "--stdout",
            "--file-list=/dev/stdin",
            f"--tempdir={folder / 'tmp'}",
            # Without it the first alert hides the others: an encrypted member hides a virus.
            "--allmatch",
            "--alert-exceeds-max=yes",
            "--alert-encrypted=yes",
            # clamscan (before 1.5) caches clean content by its MD5, and prints `OK` for a file that
            # was made to have the MD5 of an earlier, harmless one. It also caches what it could not
            # unpack as clean.
            "--disable-cache",
            f"--database={self._database}",
            # clamscan accepts several of these.
            f"--database={markers.write(folder, self.end_mark)}",
            *self._limits.options(),
        ]
