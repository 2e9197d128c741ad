"""`avscan refresh`: update the signatures with freshclam, when an update is due.

freshclam checks the DNS for new versions, verifies and test-loads the files, replaces the old ones
atomically, and remembers when a server asked it to wait. This module adds the schedule: a random
time some hours after the last update, and an earlier one after a failure. ClamAV's servers block
clients that connect more than once an hour or at every start.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from avscan.clamav.program import ending
from avscan.clamav.signatures import NOTES, files
from avscan.clamav.transcript import one_line
from avscan.errors import EngineError
from avscan.settings import Settings

log = logging.getLogger(__name__)

HOUR = 3600.0
INTERVAL = (4 * HOUR, 8 * HOUR)
"""The range of the random number of seconds from one refresh to the next."""

RETRY = (HOUR, 1.5 * HOUR)
"""The same after a failure."""

RETRY_EMPTY = (HOUR / 6, HOUR / 3)
"""The same while there are no signatures, and no build can be scanned."""

STAMP = "refresh" + NOTES
"""The file whose modification time is the time of the next refresh."""

_ERROR = "ERROR: "
_TERMINATE_TIMEOUT = 3.0  # seconds
_INHERITED = re.compile(
    r"PATH|TMPDIR|(https?|all|no)_proxy|CURL_CA_BUNDLE|SSL_CERT_(FILE|DIR)|FRESHCLAM_CLIENT_\w+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """The signatures are up to date; `due` is the time of the next refresh."""

    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDue:
    """No refresh is due yet; `due` is the time of the next one."""

    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """Another refresh is running in the same folder."""


Outcome: TypeAlias = Refreshed | NotDue | Underway


def refresh(
    settings: Settings,
    *,
    force: bool,
    clock: Callable[[], float] = time.time,
    chance: Callable[[float, float], float] = random.uniform,
) -> Outcome:
    """Update the signatures if that is due, or always with `force`. A failure keeps the old ones.

    `clock` returns Unix seconds, `chance` a random number between two.

    Raises:
        EngineError: freshclam is missing or fails, a server asks it to wait, or the folder can't
            be written.

    """
    folder = settings.signatures
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / STAMP).open("ab") as stamp:
            try:
                fcntl.flock(stamp, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Underway()
            due, now, empty = os.fstat(stamp.fileno()).st_mtime, clock(), not files(folder)
            # A time further ahead was set by another clock.
            if now < due <= now + INTERVAL[1] and not force:
                return NotDue(due=_moment(due))
            # Set before the attempt, so that a killed one is not repeated at once.
            _set(stamp, now + chance(*(RETRY_EMPTY if empty else RETRY)))
            for left in folder.glob("tmp.*"):  # of a killed freshclam
                shutil.rmtree(left, ignore_errors=True)
            wait = _fetch(settings, lock=stamp.fileno())
            due = clock() + chance(*INTERVAL)
            _set(stamp, due)
    except OSError as error:
        raise EngineError(
            f"SIGNATURE_DIR {folder} can't be used by uid {os.geteuid()}: {error.strerror}: choose"
            " another folder or change its owner (Debian's clamav-freshclam needs no refresh)"
        ) from error
    if wait:
        raise EngineError(f"the server asks freshclam to wait until {wait} (local time)")
    return Refreshed(due=_moment(due))


def configuration(settings: Settings) -> str:
    """Return freshclam's configuration (freshclam.conf(5))."""
    lines = [
        f"DatabaseDirectory {settings.signatures}",
        "TestDatabases yes",
        "ConnectTimeout 30",
        "ReceiveTimeout 1800",
        # As root, freshclam would switch to another user, which can't write to the folder.
        "DatabaseOwner root",
    ]
    if settings.mirror:
        # With a private mirror, freshclam does not query the DNS for new versions.
        lines.append(f"PrivateMirror {settings.mirror}")
    else:
        lines.append("DatabaseMirror database.clamav.net")
    if not settings.official:
        lines += [f"ExcludeDatabase {name}" for name in ("main", "daily", "bytecode")]
    lines += [f"DatabaseCustomURL {address}" for address in settings.custom]
    return "\n".join(lines) + "\n"


def _fetch(settings: Settings, *, lock: int) -> str:
    """Run freshclam and log its output.

    Return the time until which a server asks freshclam to wait, in freshclam's format, or ''.

    Raises:
        EngineError: freshclam is missing or fails.

    """
    program = shutil.which("freshclam")
    if program is None:
        raise EngineError("freshclam is missing or not executable: install it with ClamAV")
    command = [program, "--config-file=/dev/stdin", "--stdout"]
    if not settings.official:
        command.append("--no-dns")
    wait = failure = ""
    with _running(command, configuration(settings), lock) as process:
        for line in process.stdout or ():
            text = one_line(_masked(line, settings))
            log.log(_level(text), "freshclam.line", extra={"text": text})
            if text.startswith(_ERROR) and text != "ERROR: Update failed.":
                failure = text.removeprefix(_ERROR)
            # freshclam exits with 0 if a server asked it to wait.
            wait = wait or text.partition("cool-down until after: ")[2]
    if process.returncode:
        reason, old = failure or "no reason given", files(settings.signatures)
        state = "the signatures stay as they are" if old else "there are no signatures yet"
        raise EngineError(f"freshclam {ending(process.returncode)}: {reason}; {state}")
    return wait


@contextmanager
def _running(command: list[str], text: str, lock: int) -> Iterator[subprocess.Popen[str]]:
    """Run a command with `text` as input. It inherits the lock, and is terminated on an exception."""
    process = subprocess.Popen(
        command,
        env={name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        pass_fds=[lock],
    )
    with process:
        try:
            if process.stdin is not None:
                with suppress(BrokenPipeError):  # its output has the reason
                    process.stdin.write(text)
                    process.stdin.close()
            yield process
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_TERMINATE_TIMEOUT)
            process.kill()
            raise


def _set(stamp: IO[bytes], moment: float) -> None:
    os.utime(stamp.fileno(), (moment, moment))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds), UTC)


def _level(text: str) -> int:
    if text.startswith(_ERROR):
        return logging.ERROR
    return logging.WARNING if text.startswith("WARNING") else logging.INFO


def _masked(text: str, settings: Settings) -> str:
    """Replace URLs by their host, since URLs of commercial signatures contain secrets."""
    for address in (*settings.custom, settings.mirror):
        if address:
            parts = urlsplit(address)
            text = text.replace(address, f"{parts.scheme}://{parts.hostname}/…")
    return text
