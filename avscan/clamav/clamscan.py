"""One warm clamscan: started once, fed one path after another, trusted only after its canary.

Loading the official signatures takes some 13 s and 1.2 GB, so one process scans all the files of a
pass. It needs to know no settings and no backend: a program, a folder, limits. The first path that
each process scans is a canary that it must find, packed into a zip so that unpacking into the
temporary folder is proved too: clamscan says `OK` to everything when that folder can't be written.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from avscan.clamav import canary as canaries
from avscan.clamav import confine, marks
from avscan.clamav.feed import DiedError, Feed, FeedError, HungError, Transcript, environment
from avscan.clamav.transcript import EngineVersion, complaints, one_line, parse, parse_version
from avscan.errors import EngineError
from avscan.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

log = logging.getLogger(__name__)

MAX_FILE_SIZE = 2_147_483_645
"""Bytes that clamscan can look at as one file, itself or a member (INT_MAX - 2, libclamav)."""

DATABASE = Path("/var/lib/clamav")
"""Where freshclam puts the signatures, on most systems and in ClamAV's image. Said and not left to
clamscan, which reads its own place only if it is given no other."""

LOADING = 600.0
"""Seconds that a process has to load its signatures and find its canary (13 s are usual)."""

MARGIN = 30.0
"""Seconds beyond the timeout, at which clamscan stops by itself and says so, before it is killed."""

_VERSION_SECONDS = 60.0
_MOST_MILLISECONDS = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much clamscan looks at before it says `Limits.Exceeded`; sizes in bytes.

    `file_size` holds for the file and for every member. `recursion` is the depth of nesting, 100 at
    most (libclamav, CLI_MAX_MAXRECLEVEL). `embedded_pe` is how far before the end of a program
    another program is looked for inside it. Each one found is scanned to the end of the file,
    nested in the one before: raised, it costs the square of a program's size, and a program that
    bundles 50 libraries exceeds any `recursion`. So it stays what ClamAV has it at.
    """

    file_size: int = MAX_FILE_SIZE
    recursion: int = 100
    embedded_pe: int = 40 * 1024**2

    def options(self, timeout: float) -> list[str]:
        """Give clamscan's options for these limits, and for a timeout in seconds."""
        milliseconds = min(max(1, round(timeout * 1000)), _MOST_MILLISECONDS)
        return [
            f"--max-filesize={self.file_size}",
            f"--max-recursion={self.recursion}",
            f"--max-embeddedpe={self.embedded_pe}",
            # 0 would lift it, and a hostile file then takes for ever.
            f"--max-scantime={milliseconds}",
            # The sum of a build's members and their number say nothing: 0 lifts both.
            "--max-scansize=0",
            "--max-files=0",
            # A longer HTML file is not looked at at all, neither raw nor normalised, and no alert
            # tells; nor is a longer one without its tags. The cost grows with the size only.
            f"--max-htmlnormalize={self.file_size}",
            f"--max-htmlnotags={self.file_size}",
            # Longer scripts are matched as they are, but not with their spaces and case evened out.
            f"--max-scriptnormalize={self.file_size}",
            # Signatures with a regular expression pass over larger files, without an alert.
            f"--pcre-max-filesize={self.file_size}",
            # A disk image's further partitions are passed over, without an alert.
            "--max-partitions=10000",
            # Not raised, --max-ziptypercg: whether programs are looked for in the raw bytes of a
            # zip. Its members are scanned one by one anyway, and see `embedded_pe` for the cost.
        ]


class Clamscan:
    """A context manager. Not for use by several threads.

    `program` is a name or path. `workspace` is where the files that are scanned lie, and where
    folders of its own come and go. `database` is a file or folder of signatures, by default
    `DATABASE`. `timeout` is for one file, in seconds. `canary` is a file that the signatures
    know, in place of EICAR. A process older than `renew_after` seconds is replaced before the next
    scan, so that new signatures are used.

    The kernel kills a process when the thread that started it ends. So `warm_up` and `scan` must be
    called from a thread that lives until `close`.
    """

    def __init__(
        self,
        *,
        program: str,
        workspace: Path,
        database: Path | None = None,
        timeout: float = 600.0,
        canary: Path | None = None,
        renew_after: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = Limits(),
    ) -> None:
        self._program = program
        self._workspace = workspace.resolve()
        self._database = database or DATABASE
        self._timeout = timeout
        self._canary = canary
        self._packed = self._workspace
        self._renew_after = renew_after
        self._clock = clock
        self._limits = limits
        self._feed: Feed | None = None
        self._proved = False
        self._started = 0.0
        self._starts = 0
        self._version: EngineVersion | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def starts(self) -> int:
        """How many clamscan processes were started so far."""
        return self._starts

    def warm_up(self) -> None:
        """Start a process, if there is none, without waiting for it to load its signatures.

        Raises EngineError.
        """
        self._warm()

    def prove(self) -> None:
        """Wait until a process has loaded its signatures and found its canary. Raises EngineError."""
        self._ready()

    def scan(self, path: Path) -> Findings:
        """Scan one file: an absolute, resolved path of our own naming in the workspace.

        A file on which clamscan dies or hangs is tried once more, in a fresh process. Raises
        EngineError if clamscan or its signatures don't work.
        """
        self._renew()
        troubles = []
        for _ in range(2):
            feed = self._ready()
            try:
                feed.send(path)
                transcript = feed.receive(self._timeout + MARGIN)
            except (DiedError, HungError) as trouble:
                self.close()
                troubles.append(str(trouble))
                log.warning("clamscan.failed", extra={"reason": f"clamscan {trouble}"})
            except FeedError as trouble:
                self.close()
                raise EngineError(f"clamscan {trouble}") from trouble
            else:
                return self._judge(feed, transcript, path)
        return Findings(errors=(_twice(*troubles),))

    def version(self) -> EngineVersion:
        """Ask the program for its version and that of its signatures, once. Raises EngineError."""
        if self._version is None:
            command = [self._executable(), "--version", *self._source()]
            try:
                done = subprocess.run(
                    command,
                    env=environment(self._workspace),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=_VERSION_SECONDS,
                    check=False,
                )
                self._version = parse_version(done.stdout.decode(errors="replace"))
            except (OSError, subprocess.TimeoutExpired, ValueError) as error:
                text = one_line(str(error))
                raise EngineError(f"{self._program} does not tell its version: {text}") from error
        return self._version

    def close(self) -> None:
        """End the process at once and remove its folder; never raises, and can be called twice."""
        self._proved = False
        if self._feed is not None:
            self._feed.close()  # interrupted here, it can be called again
            self._feed = None

    def _renew(self) -> None:
        """Make way for a fresh process if this one has ended, or its signatures are old."""
        if self._feed is None or not self._proved:
            return
        old = self._clock() - self._started > self._renew_after
        if old:
            self._version = None
        if old or not self._feed.alive:
            self.close()

    def _warm(self) -> Feed:
        """Give the process, whether or not it has found its canary. Raises EngineError."""
        if self._feed is None:
            self._started = self._clock()
            self._feed = Feed(self._workspace, self._command)
            self._starts += 1
            log.info("clamscan.started", extra={"starts": self._starts})
            try:
                self._packed = canaries.pack(self._feed.folder, self._canary)
                self._feed.send(self._packed)
            except BaseException:
                self.close()
                raise
        return self._feed

    def _ready(self) -> Feed:
        """Give a process that has found its canary. Raises EngineError."""
        feed = self._warm()
        if not self._proved:
            try:
                self._prove(feed)
            except BaseException:
                self.close()
                raise
            self._proved = True
        return feed

    def _prove(self, feed: Feed) -> None:
        """Wait for the canary, which was fed already, to be found. Raises EngineError."""
        try:
            transcript = feed.receive(LOADING)
        except DiedError as death:
            raise EngineError(self._stillborn(death)) from death
        except FeedError as trouble:
            raise EngineError(f"clamscan {trouble} while it loaded its signatures") from trouble
        self._expect_canary(transcript)

    def _judge(self, feed: Feed, transcript: Transcript, path: Path) -> Findings:
        """Say what a transcript means. Raises EngineError if its errors are not the file's."""
        findings = parse(transcript.text, path, private=self._workspace)
        if findings.signatures:
            return findings
        if transcript.lost:
            flood = f"clamscan printed {transcript.lost} bytes more than are kept"
            findings = replace(findings, errors=(*findings.errors, flood))
        if findings.errors:
            self._prove_again(feed)
        return findings

    def _prove_again(self, feed: Feed) -> None:
        """Tell a file's errors from those of the installation, such as a full disk."""
        try:
            feed.send(self._packed)
            self._expect_canary(feed.receive(self._timeout + MARGIN))
        except FeedError:  # the next scan will start a fresh process, and see
            self.close()
        except BaseException:
            self.close()
            raise

    def _expect_canary(self, transcript: Transcript) -> None:
        """Raise EngineError, which says why as far as it is known, if the canary is not found."""
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

    def _stillborn(self, death: DiedError) -> str:
        """Say why a process died before it could scan anything, and what to do."""
        words = "; ".join(complaints(death.transcript, private=self._workspace)) or "no word of why"
        if death.code in (confine.EXIT_CANNOT, confine.EXIT_ORPHAN):
            return f"clamscan can't be started: {words}"
        if death.code == -signal.SIGKILL:
            return (
                "clamscan was killed by SIGKILL while it loaded its signatures: mostly memory is "
                "short (the official set takes 1.2 GB, and 3 GB are advised)"
            )
        return (
            f"clamscan {death} while it loaded its signatures: {words}; "
            f"look at {self._database} (freshclam fetches the official ones)"
        )

    def _command(self, temporary: Path) -> list[str]:
        """Give the command that scans what its standard input lists. Raises EngineError."""
        return [
            self._executable(),
            "--no-summary",
            "--stdout",
            "--file-list=/dev/stdin",
            f"--tempdir={temporary}",
            # Else the first alert hides the others: an encrypted member, a virus beside it.
            "--allmatch",
            "--alert-exceeds-max=yes",
            "--alert-encrypted=yes",
            # clamscan remembers clean content by its MD5 (before 1.5), so that a file made to have
            # the MD5 of a harmless one that came before it would be `OK` unseen. It also remembers
            # as clean what it could not unpack.
            "--disable-cache",
            *self._source(),
            # Beside the others: clamscan takes any number of these.
            f"--database={marks.write(temporary.parent)}",
            *self._limits.options(self._timeout),
        ]

    def _executable(self) -> str:
        """Find the program by the PATH of this process, which the child does not get."""
        found = shutil.which(self._program)
        if found is None:
            raise EngineError(
                f"{self._program} is missing or not executable: install ClamAV, or say where it is"
            )
        return str(Path(found).absolute())

    def _source(self) -> list[str]:
        """Give the option that says where the signatures are."""
        return [f"--database={self._database.absolute()}"]


def _twice(first: str, second: str) -> str:
    """Say how two tries of one file went."""
    if first == second:
        return f"clamscan {first} twice on this file"
    return f"clamscan {first}, then {second} on this file"
