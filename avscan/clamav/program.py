"""The clamscan program: where it is, which version, with which options it runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from avscan.clamav.transcript import EngineVersion, one_line, parse_version
from avscan.errors import EngineError

MAX_FILE_SIZE = 2_147_483_645
"""Bytes that clamscan can look at as one file, itself or a member (INT_MAX - 2, libclamav)."""

DATABASE = Path("/var/lib/clamav")
"""Where freshclam puts the signatures, on most systems and in ClamAV's image."""

_VERSION_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much clamscan looks at before it says `Limits.Exceeded`; sizes in bytes.

    `file_size` holds for the file and for every member. `recursion` is the depth of nesting, 100 at
    most (libclamav, CLI_MAX_MAXRECLEVEL). `embedded_pe` is how far before the end of a program
    another program is looked for inside it. Each one found is scanned to the end of the file,
    nested in the one before: raised, it costs the square of a program's size, and a program that
    bundles 50 libraries exceeds any `recursion`. So it keeps ClamAV's default.
    """

    file_size: int = MAX_FILE_SIZE
    recursion: int = 100
    embedded_pe: int = 40 * 1024**2

    def options(self) -> list[str]:
        """Return clamscan's options for these limits."""
        return [
            f"--max-filesize={self.file_size}",
            f"--max-recursion={self.recursion}",
            f"--max-embeddedpe={self.embedded_pe}",
            # The pass ends an inspection that takes too long.
            "--max-scantime=0",
            # The sum of a build's members and their number mean nothing: 0 lifts both limits.
            "--max-scansize=0",
            "--max-files=0",
            # A longer HTML file is not scanned at all, neither raw nor normalised, without an
            # alert; nor is a longer one without its tags. The cost grows with the size only.
            f"--max-htmlnormalize={self.file_size}",
            f"--max-htmlnotags={self.file_size}",
            # Longer scripts are matched as they are, but not with their spaces and case evened out.
            f"--max-scriptnormalize={self.file_size}",
            # Signatures with a regular expression pass over larger files, without an alert.
            f"--pcre-max-filesize={self.file_size}",
            # Further partitions of a disk image are passed over, without an alert.
            "--max-partitions=10000",
            # --max-ziptypercg stays as it is: it decides whether programs are looked for in the raw
            # bytes of a zip. The members are scanned anyway, and see `embedded_pe` for the cost.
        ]


DEFAULT_LIMITS = Limits()


def executable(program: str) -> str:
    """Return the absolute path of a program, found by this process's PATH.

    Raises:
        EngineError: there is none.

    """
    found = shutil.which(program)
    if found is None:
        raise EngineError(
            f"{program} is missing or not executable: install ClamAV, or set CLAMSCAN_PATH"
        )
    return str(Path(found).absolute())


def version(program: str, database: Path) -> EngineVersion:
    """Ask clamscan for its version and that of its signatures.

    Raises:
        EngineError: it does not answer as clamscan does.

    """
    command = [executable(program), "--version", f"--database={database.absolute()}"]
    try:
        done = subprocess.run(
            command,
            env=environment(Path(tempfile.gettempdir())),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_SECONDS,
            check=False,
        )
        return parse_version(done.stdout.decode(errors="replace"))
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        text = one_line(str(error))
        raise EngineError(f"{program} --version does not print a version: {text}") from error


def environment(folder: Path) -> dict[str, str]:
    """Build a child's environment from nothing, so that no secret reaches it."""
    return {
        "PATH": os.defpath,
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }


def ending(code: int) -> str:
    """Return how a process ended, by its exit code as `subprocess` has it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
