"""Parser of clamscan's output: pure functions from bytes to values.

A transcript is everything that clamscan printed, on both of its streams, while it scanned one path.
A file is clean if its own `OK` line is there and no other line contradicts it. An unknown line that
names the file contradicts it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from avscan.findings import Findings
from avscan.text import printable

LINE_LENGTH = 300
"""Characters of a line that are kept; a signature's name has some 30, an error some 100."""

LINES = 100
"""Distinct names or errors that are kept of one transcript."""

_CLEAN = (b"OK", b"Empty file")
_FOUND = b" FOUND"
_LIMIT = "Heuristics.Limits.Exceeded"
_OPAQUE = "Heuristics.Encrypted."

MARKER = "Avscan.Opaque."
"""The prefix of the names of our own signatures (`markers`); a format's name follows."""

# Its messages if a temporary file exceeds RLIMIT_FSIZE (EFBIG), and then about the file.
_TOO_LONG = "write error: File too large"
_UNWRITTEN = "Can't write to file ERROR"

# clamscan 1.5 prints this after an alert of a limit. It adds nothing to that alert.
_ECHO = b"Virus(es) detected ERROR"

# Lines that may name a file, or begin like an error, but do not mean that it was not scanned.
_REMARKS = (
    b"LibClamAV Warning:",
    b"LibClamAV info:",
    b"LibClamAV debug:",
    # Printed at the start if RLIMIT_FSIZE is set, which is always below a lifted --max-scansize.
    b"WARNING: System limit for file size is lower than ",
)

# Lines that may not name the file: only one is scanned at a time, so they are about that one.
_COMPLAINT = re.compile(
    rb"(LibClamAV )?Error:|ERROR:|WARNING:|Can't (open|access)|Access denied|"
    rb"Symbolic link|Excluded|No such file"
)

_VERSION = re.compile(
    r"^ClamAV (?P<engine>[^/\s]+)(?:/(?P<signatures>\d+)/(?P<date>.+))?$", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineVersion:
    """The version of ClamAV, and of its daily set if there is one (`date` is in UTC)."""

    engine: str
    signatures: int | None = None
    date: datetime | None = None

    def __str__(self) -> str:
        number = "" if self.signatures is None else f" {self.signatures}"
        age = "unknown age" if self.date is None else f"{self.date:%Y-%m-%d}"
        return f"ClamAV {self.engine}, signatures{number} of {age}"


def parse_version(text: str) -> EngineVersion:
    """Parse the output of `clamscan --version`, run with `TZ=UTC`.

    It prints `ClamAV 1.4.6/27800/Mon Nov 23 09:22:00 2026` if there is a daily set, and only
    `ClamAV 1.4.6` if there is none. Raise ValueError on anything else.
    """
    match = _VERSION.search(text)
    if match is None:
        raise ValueError(f"no version in {one_line(text)!r}")
    number, date = match["signatures"], match["date"]
    return EngineVersion(
        engine=match["engine"],
        signatures=int(number) if number else None,
        date=_date(date) if date else None,
    )


def _date(text: str) -> datetime | None:
    """Parse a date as C's `ctime` writes it; None if it is not one."""
    try:
        return datetime.strptime(text.strip(), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def one_line(text: str) -> str:
    """Return a text as one printable line of at most `LINE_LENGTH` characters."""
    head = text[: LINE_LENGTH + 1]  # escaping makes it longer, never shorter
    line = printable(head.strip())
    return line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…"


def parse(transcript: bytes, path: Path, *, private: Path | None = None) -> Findings:
    """Parse the transcript of the scan of `path`.

    `path` is the absolute resolved path that was given to clamscan, with `--allmatch`. Neither it nor
    any path below `private` appears in the texts that are returned. Lines about other paths are
    ignored.
    """
    front = os.fsencode(path)
    names: list[str] = []
    errors: list[str] = []
    passed = echoed = False
    for line in transcript.split(b"\n"):
        own = line.startswith(front + b": ")
        result = line[len(front) + 2 :] if own else line
        if own and result in _CLEAN:
            passed = True
        elif own and result == _ECHO:
            echoed = True
        elif own and result.endswith(_FOUND):
            names.append(_text(result.removesuffix(_FOUND), path, private))
        elif own or _complains(line) or (front in line and not line.startswith(_REMARKS)):
            errors.append(_text(result, path, private))
    if any(_TOO_LONG in error for error in errors):
        # Content that it unpacked is longer than it may write; these errors mean nothing else.
        errors = [error for error in errors if not error.endswith((_TOO_LONG, _UNWRITTEN))]
        names.append(f"{_LIMIT}.TemporaryFileSize")
    if echoed and not names:
        errors.append(_text(_ECHO, path, private))
    if not (passed or names or errors):
        errors.append("clamscan gave no verdict on the file")
    return _sort(names, errors)


def complaints(transcript: bytes, *, private: Path | None = None) -> tuple[str, ...]:
    """Return the error lines of a transcript about no file, such as that of the start."""
    lines = (line for line in transcript.split(b"\n") if _complains(line))
    return _distinct([_text(line, None, private) for line in lines])


def _complains(line: bytes) -> bool:
    """Return whether a line that does not begin with the path is an error."""
    return _COMPLAINT.match(line) is not None and not line.startswith(_REMARKS)


def _sort(names: list[str], errors: list[str]) -> Findings:
    """Sort the names of malware from those that mean that something was not scanned."""
    limits = [name for name in names if name.startswith(_LIMIT)]
    opaque = [name for name in names if name.startswith(_OPAQUE)]
    markers = [name for name in names if name.startswith(MARKER)]
    known = (_LIMIT, _OPAQUE, MARKER)
    return Findings(
        signatures=_distinct([name for name in names if not name.startswith(known)]),
        limits=_distinct([name.removeprefix(_LIMIT).lstrip(".") or "Limit" for name in limits]),
        opaque=_distinct([name.removeprefix("Heuristics.") for name in opaque]),
        unopened=_distinct([name.removeprefix(MARKER).partition(".")[0] for name in markers]),
        errors=_distinct(errors),
    )


def _distinct(texts: list[str]) -> tuple[str, ...]:
    """Return the distinct texts in their order, the first `LINES` of them."""
    return tuple(dict.fromkeys(texts))[:LINES]


def _text(line: bytes, path: Path | None, private: Path | None) -> str:
    """Return a line as printable text of bounded length, without paths of ours."""
    if path is not None:
        line = line.replace(os.fsencode(path), b"the file")
    if private is not None:
        line = re.sub(re.escape(os.fsencode(private)) + rb"[^\s:'\"]*", b"a temporary file", line)
    return one_line(line.decode(errors="replace")) or "(nothing)"
