"""The text of a check's `log`: for a person who reads it, and for the next pass.

A log is a list of sections, newest first: the present state of the check, then the verdicts that it
had before, cut to their first lines where they don't fit. The first line of a section is its
status and a record in JSON. Nothing but the record is read back, and no text can be taken for one:
it begins where the status ends. The lines below it are for people. Lengths are in code points, as
PocketBase counts them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from avscan.backend.sections import fit, fit_files, head_of, sections, separated
from avscan.records import Status, format_time, parse_time
from avscan.text import printable
from avscan.verdict import Cause, FileReport, Policies, Verdict, file_status

EXCERPT = 700  # covers a record, unless it counts the interruptions of more than a dozen files
BY_HAND = "given by hand"
BY_AV_SERVICE = "given by av-service"
AV_SERVICE = {
    Status.CLEAN: ("File: ", "No files to scan"),
    Status.INFECTED: ("File: ",),
    Status.ERROR: ("File scan failed: ", "Failed to fetch records: "),
}
"""What the logs of av-service's verdicts begin with (its `index.ts`), the service before avscan."""
FOUND = " FOUND"
"""What its log of an infected build has, so that a `clean` beside it is a correction by hand."""

# Of a log's length, what the verdicts before the newest one may claim of its room.
_HISTORY = 0.25
# A file in a record: its name, or a digest of one that is long or unusual.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,39}\Z")
_LONGEST_TEXT = 120
_LONGEST_REASON = 300  # as JSON
# PocketBase's excerpt of a text drops what looks like a tag or an entity of HTML.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
# How versions up to 0.1.0 wrote a verdict.
_OLD_VERDICT = re.compile(
    r"(?P<status>clean|infected|error): (?P<reason>.{0,250}?)\sfiles: \d+, digest"
    r" (?P<files>[0-9a-f]{32})"
    r"(?:\suploaded: (?P<uploaded>[0-9-]{10} [0-9:.]{8,15}Z)(?P<again>, scanned before)?"
    r"(?:\sengine: (?P<engine>.*?)\shost: )?)?",
    re.DOTALL,
)
_CAUSES = {str(cause): cause for cause in Cause}
_GRAVITY = {Status.INFECTED: 0, Status.ERROR: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The circumstances of a scan, for the audit.

    `uploaded` is when the files last came, as far as PocketBase tells: it keeps one moment for all
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
    """A file whose inspection was begun `times` times and never ended.

    `reason` says why the last time, for the file that was interrupted last.
    """

    file: str
    times: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the first line of a section says.

    Attributes:
        files: the digest of the file names that a verdict is about.
        uploaded: when these files came.
        again: whether they had a verdict before it.
        claim: the claim that a check is scanned under, or was judged under.
        inspecting: the file under inspection, as a token.
        interrupted: how often the inspection of each file was interrupted, by token.
        last: why the last time.
        judged: the digest of the file names that the verdict before was about.
        cause: why it is an error; None if the log does not say.

    """

    status: Status
    reason: str = ""
    files: str = ""
    uploaded: datetime | None = None
    again: bool = False
    engine: str = ""
    claim: str = ""
    inspecting: str = ""
    interrupted: Mapping[str, int] = field(default_factory=dict)
    last: str = ""
    judged: str = ""
    cause: Cause | None = None


def digest(files: Iterable[str]) -> str:
    """Digest a build's file names, whatever their order: 32 hexadecimal digits.

    PocketBase never changes a file under its name, so the names stand for the contents.
    """
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:32]


# -- read back ------------------------------------------------------------------------------------


def read(log: str) -> Entry | None:
    """Read the newest section of a log; None if avscan did not write it.

    Works on the first `EXCERPT` characters, also with their white space folded.
    """
    status, _, text = log.partition(": ")
    if status not in set(Status):
        return None
    record = _record(text)
    if record is None:
        return _read_old(log)
    texts = {name: value for name, value in record.items() if isinstance(value, str)}
    counts = record.get("interrupted")
    files, judged = texts.get("files", ""), texts.get("judged", "")
    return Entry(
        status=Status(status),
        reason=texts.get("reason", ""),
        files=files,
        uploaded=parse_time(texts.get("uploaded", "")),
        again=judged in {files, BY_AV_SERVICE},
        engine=texts.get("engine", ""),
        claim=texts.get("claim", ""),
        inspecting=texts.get("inspecting", ""),
        interrupted={
            token: times
            for token, times in (counts.items() if isinstance(counts, dict) else ())
            if isinstance(times, int)
        },
        last=texts.get("last", ""),
        judged=judged,
        cause=_CAUSES.get(texts.get("cause", "")),
    )


def _record(text: str) -> dict[str, object] | None:
    try:
        record, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _read_old(log: str) -> Entry | None:
    found = _OLD_VERDICT.match(log)
    return found and Entry(
        status=Status(found["status"]),
        reason=found["reason"],
        files=found["files"],
        uploaded=parse_time(found["uploaded"] or ""),
        again=found["again"] is not None,
        engine=found["engine"] or "",
    )


def scanned_before(log: str, files: Iterable[str]) -> bool:
    """Return whether the verdict before a waiting check was about these files, or may be.

    av-service did not write down which files its verdicts were about.
    """
    entry = read(log)
    return entry is not None and entry.judged in {digest(files), BY_AV_SERVICE}


def judged_before(log: str, files: Iterable[str], status: Status) -> bool:
    """Return whether the newest verdict in a log gave these very files this status."""
    waiting = (f"{Status.PENDING}: ", f"{Status.SCANNING}: ")
    newest = next((each for each in sections(log) if not each.startswith(waiting)), "")
    entry = read(newest)
    return entry is not None and (entry.status, entry.files) == (status, digest(files))


def digest_of(log: str) -> str | None:
    """Return which files a verdict is about; None if the log does not say."""
    entry = read(log)
    return (entry and entry.files) or None


def claim_of(log: str) -> str | None:
    """Return whose claim, or whose verdict, the log's newest section is."""
    entry = read(log)
    return (entry and entry.claim) or None


def inspected(log: str, files: Iterable[str]) -> str | None:
    """Return which of a build's files a claim's log records as under inspection, if any."""
    entry = read(log)
    return {_token(name): name for name in files}.get(entry.inspecting) if entry else None


def interruptions_of(log: str, files: Iterable[str]) -> tuple[Interruption, ...]:
    """Return which of a build's files were interrupted, the last one first.

    Files that the build no longer has don't count.
    """
    entry = read(log)
    if entry is None:
        return ()
    names = {_token(name): name for name in files}
    reasons = [entry.last, *[""] * len(entry.interrupted)]
    return tuple(
        Interruption(file=names[token], times=times, reason=reason)
        for (token, times), reason in zip(entry.interrupted.items(), reasons, strict=False)
        if token in names
    )


def interrupt(before: Sequence[Interruption], file: str, reason: str) -> tuple[Interruption, ...]:
    """Count one more interruption of a file's inspection."""
    times = sum(each.times for each in before if each.file == file) + 1
    others = (each for each in before if each.file != file)
    return (Interruption(file=file, times=times, reason=reason), *others)


def history(log: str, status: Status | None) -> list[str]:
    """List the verdicts in a log that a new section is to be put before.

    A verdict that the log does not tell of is somebody else's, and is noted as such.
    """
    newest, *older = sections(log)
    if status is None or not status.settled:
        return older
    told = [newest, *older] if newest.strip() else older
    by = author(log, status)
    return [f"{status}: {by}", *told] if by else told


def author(log: str, status: Status) -> str:
    """Return who gave a verdict, if it was not avscan: its log begins with another status."""
    if log.startswith(f"{status}: "):
        return ""
    return BY_AV_SERVICE if is_by_av_service(log, status) else BY_HAND


def is_by_av_service(log: str, status: Status | None) -> bool:
    """Return whether av-service gave a verdict, and nobody corrected it since."""
    corrected = status is Status.CLEAN and FOUND in log
    return status in AV_SERVICE and log.startswith(AV_SERVICE[status]) and not corrected


def lines_of(section: str) -> list[str]:
    """Return the lines of a section for a person, with each field of its record on its own line."""
    first, *rest = section.split("\n")
    status, _, text = first.partition(": ")
    record = _record(text)
    if record is None:
        return [first, *rest]
    reason = record.pop("reason", "under scan")
    return [f"{status}: {reason}", *(f"{name}: {value}" for name, value in record.items()), *rest]


# -- written --------------------------------------------------------------------------------------


def pending(
    reason: str,
    *,
    interruptions: Sequence[Interruption] = (),
    before: Sequence[str] = (),
    limit: int,
) -> str:
    """Write the log of a check that waits for its scan."""
    record = {"reason": _short(reason)} | _counts(interruptions) | {"judged": _judged(before)}
    return fit([_first_line(Status.PENDING, record)], before, limit)


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
    """Write the log of a check that is being scanned, with the file under inspection."""
    record = {
        "claim": claim,
        "host": _short(host),
        "at": format_time(at),
        "inspecting": "" if inspecting is None else _token(inspecting),
        **_counts(interruptions),
        "judged": _judged(before),
    }
    return fit([_first_line(Status.SCANNING, record)], before, limit)


def _first_line(status: Status, record: Mapping[str, object]) -> str:
    return f"{status}: {_as_json({name: value for name, value in record.items() if value})}"


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)


def _counts(interruptions: Sequence[Interruption]) -> dict[str, object]:
    return {
        "interrupted": {_token(each.file): each.times for each in interruptions},
        "last": _short(interruptions[0].reason) if interruptions else "",
    }


def _token(name: str) -> str:
    """Return what stands for a file in a record, which is never long."""
    if _PLAIN_NAME.match(name):
        return name
    return f"#{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _short(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Cut a text, so that its JSON is at most so many characters."""
    text = printable(" ".join(text.split()))
    while (length := len(_as_json(text))) > longest:
        text = text[: min(len(text) - 1, len(text) * longest // length)]
    return text


def _judged(before: Sequence[str]) -> str:
    """Return the digest of the files that the newest of these verdicts is about, if it is known."""
    if any(section.endswith(f": {BY_AV_SERVICE}") for section in before[:1]):
        return BY_AV_SERVICE
    return next((entry.files for entry in map(read, before) if entry and entry.files), "")


def settled(
    verdict: Verdict,
    reports: Sequence[FileReport],
    scan: Scan,
    policies: Policies,
    *,
    before: Sequence[str],
    limit: int,
) -> str:
    """Write the log of a verdict: what matters most first, as much as fits in `limit`."""
    names = [report.name for report in reports]
    record = {
        "reason": _short(verdict.reason, _LONGEST_REASON),
        "files": digest(names),
        "uploaded": format_time(scan.uploaded),
        "engine": _short(scan.engine),
        "claim": scan.claim,
        "cause": verdict.cause,
        "judged": _judged(before),
    }
    head = [
        _first_line(verdict.status, record),
        f"{len(reports)} files, {_moment(scan.started)} to {_moment(scan.ended)}, on {scan.host}",
    ]
    ranked = sorted(reports, key=lambda report: _GRAVITY.get(file_status(report, policies), 2))
    older = sum(len(separated(head_of(section))) for section in before)
    room = limit - len("\n".join(head)) - 1 - min(older, int(limit * _HISTORY))
    body = fit_files([list(_file_lines(report, policies)) for report in ranked], room)
    return fit(head + body, before, limit)


def _file_lines(report: FileReport, policies: Policies) -> Iterator[str]:
    status = file_status(report, policies)
    size = "not downloaded" if report.size is None else f"{report.size} bytes"
    digested = f"  sha256 {report.sha256}" if report.sha256 else ""
    yield f"{status:8}  {report.name}  {size}{digested}  {report.seconds:.1f} s"
    found = report.examination
    for sighting in found.sightings:
        yield f"    found: {sighting.signature}{_where(sighting.member)}"
    yield from (f"    error: {text}" for text in found.errors)
    yield from (f"    too large to be scanned as one: {text}" for text in found.oversize)
    yield from (f"    not looked into: {text}" for text in found.opaque)


def _where(member: str) -> str:
    return f" in {member}" if member else ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
