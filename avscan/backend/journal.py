"""Format and parse a check's `log`.

A log is a list of sections, newest first: the present state of the check, then its earlier
verdicts, which are cut to their first lines if they don't fit. The first line of a section is its
status and a record in JSON. Only the record is parsed; it begins right after the status, so no
other text can be mistaken for it. The lines below are for people. Lengths are in code points, as
in PocketBase.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from avscan.backend.sections import fit, sections
from avscan.records import Status, format_time, parse_time
from avscan.text import printable
from avscan.verdict import Cause, FileReport, Policies, Verdict, file_status

EXCERPT = 700  # holds a record with the interruptions of up to a dozen files
BY_HAND = "given by hand"
BY_AV_SERVICE = "given by av-service"
AV_SERVICE = {
    Status.CLEAN: ("File: ", "No files to scan"),
    Status.INFECTED: ("File: ",),
    Status.ERROR: ("File scan failed: ", "Failed to fetch records: "),
}
"""How logs of av-service, avscan's predecessor, begin (its `index.ts`), by status."""
FOUND = " FOUND"
"""Part of av-service's logs of infected builds; a `clean` check with it was corrected by hand."""

# File names that stand in a record as they are; others are replaced by a digest.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,39}\Z")
_MAX_TEXT = 120  # as JSON
_MAX_REASON = 300  # as JSON
# PocketBase's `excerpt` modifier removes HTML tags and entities.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
# The form of verdicts up to version 0.1.0.
_OLD_VERDICT = re.compile(
    r"(clean|infected|error): (?P<reason>.{0,250}?)\sfiles: \d+, digest (?P<files>[0-9a-f]{32})",
    re.DOTALL,
)
_SEVERITY = {Status.INFECTED: 0, Status.ERROR: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Facts about a scan that its log records.

    `uploaded` is when the files were uploaded, or an upper bound: PocketBase has one time for all
    changes of a build.
    """

    uploaded: datetime
    engine: str
    host: str
    claim: str
    started: datetime
    ended: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """A file whose inspection was interrupted, and how many times.

    `reason` is that of the last interruption, for the file that was interrupted last.
    """

    file: str
    times: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The parsed first line of a section; without a status if avscan did not write it.

    Attributes:
        files: the digest of the file names that a verdict is about.
        uploaded: when these files were uploaded.
        claim: the mark of the claim that the section was written under.
        inspecting: the file under inspection, as a token.
        interrupted: how often the inspection of each file was interrupted, by token.
        last: the reason of the last interruption.
        judged: the digest of the file names that the previous verdict was about.
        cause: the cause of an error; None if the log does not name it.

    """

    status: Status | None = None
    reason: str = ""
    files: str = ""
    uploaded: datetime | None = None
    engine: str = ""
    claim: str = ""
    inspecting: str = ""
    interrupted: Mapping[str, int] = field(default_factory=dict)
    last: str = ""
    judged: str = ""
    cause: Cause | None = None

    @property
    def again(self) -> bool:
        """Whether the previous verdict was, or may be, about the same files."""
        return self.judged in {self.files, BY_AV_SERVICE}


def digest(files: Iterable[str]) -> str:
    """Return a digest of a build's file names, in any order: 32 hexadecimal digits.

    PocketBase never changes a file without its name, so the names identify the contents.
    """
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:32]


# -- parsing --------------------------------------------------------------------------------------


def read(log: str) -> Entry:
    """Parse the newest section of a log.

    The first `EXCERPT` characters suffice, even with white space collapsed.
    """
    status, _, text = log.partition(": ")
    if status not in set(Status):
        return Entry()
    record = _parse_record(text)
    if record is None:
        old = _OLD_VERDICT.match(log)
        if old is None:
            return Entry()
        return Entry(status=Status(status), reason=old["reason"], files=old["files"])
    texts = {name: value for name, value in record.items() if isinstance(value, str)}
    counts = record.get("interrupted")
    return Entry(
        status=Status(status),
        reason=texts.get("reason", ""),
        files=texts.get("files", ""),
        uploaded=parse_time(texts.get("uploaded", "")),
        engine=texts.get("engine", ""),
        claim=texts.get("claim", ""),
        inspecting=texts.get("inspecting", ""),
        interrupted={
            token: times
            for token, times in (counts.items() if isinstance(counts, dict) else ())
            if isinstance(times, int)
        },
        last=texts.get("last", ""),
        judged=texts.get("judged", ""),
        cause=next((each for each in Cause if each == texts.get("cause")), None),
    )


def _parse_record(text: str) -> dict[str, object] | None:
    try:
        record, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def scanned_before(log: str, files: Iterable[str]) -> bool:
    """Return whether the previous verdict of an unsettled check was, or may be, about these files.

    av-service did not record which files its verdicts were about.
    """
    return read(log).judged in {digest(files), BY_AV_SERVICE}


def judged_before(log: str, files: Iterable[str], status: Status) -> bool:
    """Return whether the newest verdict in a log is about these files and has this status."""
    waiting = (f"{Status.PENDING}: ", f"{Status.SCANNING}: ")
    newest = next((each for each in sections(log) if not each.startswith(waiting)), "")
    entry = read(newest)
    return (entry.status, entry.files) == (status, digest(files))


def digest_of(log: str) -> str | None:
    """Return the digest of the files that a verdict is about, if the log has it."""
    return read(log).files or None


def claim_of(log: str) -> str | None:
    """Return the mark of the claim that the newest section was written under, if there is one."""
    return read(log).claim or None


def inspected(log: str, files: Iterable[str]) -> str | None:
    """Return the file that a log records as under inspection, if it is one of the build's."""
    return {_token(name): name for name in files}.get(read(log).inspecting)


def interruptions_of(log: str, files: Iterable[str]) -> tuple[Interruption, ...]:
    """Return the interruptions of a build's present files, the latest first."""
    entry = read(log)
    names = {_token(name): name for name in files}
    return tuple(
        Interruption(file=names[token], times=times, reason="" if position else entry.last)
        for position, (token, times) in enumerate(entry.interrupted.items())
        if token in names
    )


def interrupt(before: Sequence[Interruption], file: str, reason: str) -> tuple[Interruption, ...]:
    """Return the interruptions with one more of this file."""
    times = sum(each.times for each in before if each.file == file) + 1
    others = (each for each in before if each.file != file)
    return (Interruption(file=file, times=times, reason=reason), *others)


def history(log: str, status: Status | None) -> list[str]:
    """Return the sections of verdicts that a new section goes before, newest first.

    A verdict that avscan did not give gets a section that names its author.
    """
    newest, *older = sections(log)
    if status is None or not status.settled:
        return older
    verdicts = [newest, *older] if newest.strip() else older
    by = author(log, status)
    return [f"{status}: {by}", *verdicts] if by else verdicts


def author(log: str, status: Status) -> str:
    """Return the author of a verdict; '' for avscan, whose logs begin with the status."""
    if log.startswith(f"{status}: "):
        return ""
    return BY_AV_SERVICE if is_by_av_service(log, status) else BY_HAND


def is_by_av_service(log: str, status: Status | None) -> bool:
    """Return whether a verdict is av-service's and was not corrected by hand."""
    corrected = status is Status.CLEAN and FOUND in log
    return status in AV_SERVICE and log.startswith(AV_SERVICE[status]) and not corrected


def lines_of(section: str) -> list[str]:
    """Return the lines of a section for display, with each field of its record on its own line."""
    first, *rest = section.split("\n")
    status, _, text = first.partition(": ")
    record = _parse_record(text)
    if record is None:
        return [first, *rest]
    reason = record.pop("reason", "under scan")
    return [f"{status}: {reason}", *(f"{name}: {value}" for name, value in record.items()), *rest]


# -- formatting -----------------------------------------------------------------------------------


def pending(
    reason: str,
    *,
    interruptions: Sequence[Interruption] = (),
    before: Sequence[str] = (),
    limit: int,
) -> str:
    """Format the log of a pending check."""
    record = {"reason": _shortened(reason)}
    return _unsettled(Status.PENDING, record, interruptions, before, limit)


def claimed(
    claim: str,
    host: str,
    at: datetime,
    *,
    inspecting: str | None,
    interruptions: Sequence[Interruption] = (),
    before: Sequence[str] = (),
    limit: int,
) -> str:
    """Format the log of a check under scan, with the file under inspection."""
    record = {
        "claim": claim,
        "host": _shortened(host),
        "at": format_time(at),
        "inspecting": "" if inspecting is None else _token(inspecting),
    }
    return _unsettled(Status.SCANNING, record, interruptions, before, limit)


def _unsettled(
    status: Status,
    record: Mapping[str, object],
    interruptions: Sequence[Interruption],
    before: Sequence[str],
    limit: int,
) -> str:
    with_interruptions = {
        **record,
        "interrupted": {_token(each.file): each.times for each in interruptions},
        "last": _shortened(interruptions[0].reason) if interruptions else "",
        "judged": _judged_files(before),
    }
    return fit([_first_line(status, with_interruptions)], [], before, limit)


def settled(
    verdict: Verdict,
    reports: Sequence[FileReport],
    scan: Scan,
    policies: Policies,
    *,
    before: Sequence[str],
    limit: int,
) -> str:
    """Format the log of a verdict within `limit`, the most severe files first."""
    record = {
        "reason": _shortened(verdict.reason, _MAX_REASON),
        "files": digest(report.name for report in reports),
        "uploaded": format_time(scan.uploaded),
        "engine": _shortened(scan.engine),
        "claim": scan.claim,
        "cause": verdict.cause,
        "judged": _judged_files(before),
    }
    started, ended = (f"{time:%Y-%m-%d %H:%M:%SZ}" for time in (scan.started, scan.ended))
    files = f"{len(reports)} file{'s' * (len(reports) != 1)}"
    head = [_first_line(verdict.status, record), f"{files}, {started} to {ended}, on {scan.host}"]
    ranked = sorted(reports, key=lambda report: _SEVERITY.get(file_status(report, policies), 2))
    details = [line for report in ranked for line in _file_lines(report, policies)]
    return fit(head, details, before, limit)


def _first_line(status: Status, record: Mapping[str, object]) -> str:
    return f"{status}: {_as_json({name: value for name, value in record.items() if value})}"


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)


def _token(name: str) -> str:
    """Return a short token for a file: its name if it is plain, or else a digest."""
    if _PLAIN_NAME.match(name):
        return name
    return f"#{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _shortened(text: str, max_length: int = _MAX_TEXT) -> str:
    """Cut a text so that its JSON has at most `max_length` characters."""
    text = printable(" ".join(text.split()))[:max_length]
    while len(_as_json(text)) > max_length:
        text = text[:-1]
    return text


def _judged_files(before: Sequence[str]) -> str:
    """Return the digest of the files that the newest verdict is about, if known."""
    if before and before[0].partition(": ")[2] == BY_AV_SERVICE:
        return BY_AV_SERVICE
    return next(filter(None, map(digest_of, before)), "")


def _file_lines(report: FileReport, policies: Policies) -> Iterator[str]:
    status = file_status(report, policies)
    size = "not downloaded" if report.size is None else f"{report.size} bytes"
    digested = f"  sha256 {report.sha256}" if report.sha256 else ""
    yield f"{status:8}  {report.name}  {size}{digested}  {report.seconds:.1f} s"
    examination = report.examination
    for sighting in examination.sightings:
        place = f" in {sighting.member}" if sighting.member else ""
        yield f"    found: {sighting.signature}{place}"
    yield from (f"    error: {text}" for text in examination.errors)
    yield from (f"    too large to be scanned as one: {text}" for text in examination.oversize)
    yield from (f"    not looked into: {text}" for text in examination.opaque)
