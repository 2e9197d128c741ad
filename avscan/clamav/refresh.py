"""New signatures, when they are due: freshclam, run into the signatures' folder.

freshclam does what is delicate. It asks the DNS before it asks a server, verifies what it fetched,
loads it on trial, and only then puts it in the place of the old file, in one step; and it remembers
when a server told it to stay away. What is added here is when it runs: some hours after the last
time, at a random moment, and sooner after a failure. ClamAV's servers turn away who comes more often
than once an hour, or at every start.
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
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from avscan.clamav.program import ending
from avscan.clamav.signatures import NOTES, files
from avscan.clamav.transcript import one_line
from avscan.errors import EngineError
from avscan.settings import RefreshSettings

log = logging.getLogger(__name__)

HOUR = 3600.0
REST = (4 * HOUR, 8 * HOUR)
"""Seconds from one refresh to the next, at random between these."""

RETRY = (HOUR, 1.5 * HOUR)
"""The same after a failure."""

RETRY_EMPTY = (HOUR / 6, HOUR / 3)
"""The same while there are no signatures at all, so that no build can be scanned."""

STAMP = "refresh" + NOTES
"""The file whose time of modification is the moment at which the next refresh is due."""

_ERROR = "ERROR: "
_PARTING = 3.0  # seconds that freshclam has to end in
_INHERITED = re.compile(
    r"PATH|TMPDIR|(https?|all|no)_proxy|CURL_CA_BUNDLE|SSL_CERT_(FILE|DIR)|FRESHCLAM_CLIENT_\w+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """freshclam has run, and what is there is the newest there is; `due` is the next time."""

    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDue:
    """The last time was not long ago; `due` is the next time."""

    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """Another refresh is at work in the same folder."""


Outcome: TypeAlias = Refreshed | NotDue | Underway


def refresh(
    settings: RefreshSettings,
    *,
    force: bool,
    clock: Callable[[], float] = time.time,
    chance: Callable[[float, float], float] = random.uniform,
) -> Outcome:
    """Fetch new signatures if they are due, or at once; a failure leaves the old ones as they are.

    `clock` gives Unix seconds, `chance` a random number between two.

    Raises:
        EngineError: freshclam is missing, fails, or was told by a server to stay away; or the
            folder can't be written.

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
            # A stamp from further ahead is another clock's.
            if now < due <= now + REST[1] and not force:
                return NotDue(due=_moment(due))
            # Noted before it is tried, so that one that is killed does not come back at once.
            _set(stamp, now + chance(*(RETRY_EMPTY if empty else RETRY)))
            _sweep(folder)
            wait = _fetch(settings, lock=stamp.fileno())
            due = clock() + chance(*REST)
            _set(stamp, due)
    except OSError as error:
        raise EngineError(f"SIGNATURE_DIR {folder} can't be used: {error.strerror}") from error
    if wait:
        raise EngineError(f"the server asks freshclam to stay away until {wait} (local time)")
    return Refreshed(due=_moment(due))


def configuration(settings: RefreshSettings) -> str:
    """Write freshclam's configuration (freshclam.conf(5))."""
    lines = [
        f"DatabaseDirectory {settings.signatures}",
        "TestDatabases yes",
        "ConnectTimeout 30",
        "ReceiveTimeout 1800",
        # Started by root, freshclam would become another user, to whom the folder is closed.
        "DatabaseOwner root",
    ]
    if settings.mirror:
        # It is asked itself what is new, not the DNS, which tells of ClamAV's own servers.
        lines.append(f"PrivateMirror {settings.mirror}")
    else:
        lines.append("DatabaseMirror database.clamav.net")
    if not settings.official:
        lines += [f"ExcludeDatabase {name}" for name in ("main", "daily", "bytecode")]
    lines += [f"DatabaseCustomURL {address}" for address in settings.custom]
    return "\n".join(lines) + "\n"


def _fetch(settings: RefreshSettings, *, lock: int) -> str:
    """Run freshclam to its end, and log what it says.

    Gives the moment until which a server wants to be left alone, in freshclam's words; mostly
    nothing. Raises EngineError.
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
            # Having been told to stay away, it ends as if all were well.
            wait = wait or text.partition("cool-down until after: ")[2]
    if process.returncode:
        raise EngineError(
            f"freshclam {ending(process.returncode)}: {failure or 'no word of why'};"
            f" {_unchanged(settings.signatures)}"
        )
    return wait


@contextmanager
def _running(command: list[str], text: str, lock: int) -> Iterator[subprocess.Popen[str]]:
    """Run a command that is given a text and holds the lock; it ends with whoever waits for it."""
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
                with suppress(BrokenPipeError):  # it says itself why it ended
                    process.stdin.write(text)
                    process.stdin.close()
            yield process
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PARTING)
            process.kill()
            raise


def _unchanged(folder: Path) -> str:
    return "the signatures stay as they are" if files(folder) else "there are no signatures yet"


def _sweep(folder: Path) -> None:
    """Remove what a freshclam that was killed has left."""
    for left in folder.glob("tmp.*"):
        shutil.rmtree(left, ignore_errors=True)


def _set(stamp: IO[bytes], moment: float) -> None:
    os.utime(stamp.fileno(), (moment, moment))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds), UTC)


def _level(text: str) -> int:
    if text.startswith(_ERROR):
        return logging.ERROR
    return logging.WARNING if text.startswith("WARNING") else logging.INFO


def _masked(text: str, settings: RefreshSettings) -> str:
    """Make no secret known that is part of an address, as it is where signatures are bought."""
    for address in (*settings.custom, settings.mirror):
        if address:
            parts = urlsplit(address)
            text = text.replace(address, f"{parts.scheme}://{parts.hostname}/…")
    return text
