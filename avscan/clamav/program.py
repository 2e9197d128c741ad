"""The clamscan program: its path, its version, its options."""

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
"""Bytes of a file or a member that clamscan can scan (INT_MAX - 2, libclamav)."""

_VERSION_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits above which clamscan reports `Limits.Exceeded`; sizes in bytes.

    `file_size` holds for the file and for every member. `recursion` is the depth of nesting, 100 at
    most (libclamav, CLI_MAX_MAXRECLEVEL). clamscan searches the last `embedded_pe` bytes of a
    program for other programs. It scans each one to the end of the file, nested in the one before: a
    higher limit costs the square of a program's size, and a program that bundles 50 libraries exceeds
    any `recursion`. So it is ClamAV's default.
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
            # 0 lifts the limits on the sum of the members' sizes and on their number.
            "--max-scansize=0",
            "--max-files=0",
            # A longer HTML file is not scanned at all, neither raw nor normalised, without an
            # alert. The same holds for its text without tags. The cost is linear.
            f"--max-htmlnormalize={self.file_size}",
            f"--max-htmlnotags={self.file_size}",
            # Longer scripts are scanned as they are, but not with normalised spaces and case.
            f"--max-scriptnormalize={self.file_size}",
            # Signatures with a regular expression skip larger files, without an alert.
            f"--pcre-max-filesize={self.file_size}",
            # Further partitions of a disk image are skipped, without an alert.
            "--max-partitions=10000",
            # --max-ziptypercg keeps its default: above it, programs are not searched for in the raw
            # bytes of a zip. The members are scanned anyway; for the cost see `embedded_pe`.
        ]


DEFAULT_LIMITS = Limits()


def executable(program: str) -> str:
    """Return the absolute path of a program on this process's PATH.

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
    """Return the version of clamscan and of its signatures.

    Raises:
        EngineError: it does not print a version as clamscan does.

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
    """Return the environment of a child process, which has no variable of this one and no secret."""
    return {
        "PATH": os.defpath,
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }


def ending(code: int) -> str:
    """Describe how a process ended, by its exit code (negative: a signal)."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
