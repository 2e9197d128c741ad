"""The text of a check's `log`: for a person who reads it, and for the next pass.

A log is a list of sections, newest first. The first line of the newest begins with the check's
status and says why. A verdict's second line has a digest of the file names that it is about, a
claim's first line has the claim: these two are what later passes read back. A verdict's third line
says since when its files had waited, for the report. Below a claim's first line stand the file under
inspection and, as below that of a waiting check, the files whose inspection was interrupted. Behind
them stand the verdicts that the check had before, cut to their first lines where they don't fit.
Lengths are in code points, as PocketBase counts them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from avscan.records import Status, format_time, parse_time
from avscan.verdict import FileReport, Policies, Verdict, file_status

EXCERPT = 400  # covers a verdict's first two lines, or a claim's first
ENTRY = 800  # covers a verdict's first lines also behind a claim's or a pending check's
RULE = "-" * 40
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
_HEAD = 6  # lines of a verdict before those of its files
_VERDICT = re.compile(
    r"(?:clean|infected|error): .{0,250}?\sfiles: \d+, digest ([0-9a-f]{32})", re.DOTALL
)
_OLDER = re.compile(rf"\s{RULE}\s{_VERDICT.pattern}", re.DOTALL)
# A reason may quote a member's name; what looks like the line behind it would be read in its place.
_FORGED = re.compile(r"digest (?=[0-9a-f]{32})")
_CLAIM = re.compile(r"scanning: claim (\S+)|(?:clean|infected|error): .*?\nclaim: (\S+)", re.DOTALL)
# A file in a line that is read back: its name, or a digest of one that is long or unusual.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,39}\Z")
_INSPECTED = re.compile(r"scanning: [^\n]*\ninspecting: (\S+)$", re.MULTILINE)
_INTERRUPTED = re.compile(
    r"(?:pending|scanning): .{0,350}?\sinterrupted: (\S+ \d{1,6}(?:, \S+ \d{1,6})*)"
    r"(?:; last: ([^\n]*))?",
    re.DOTALL,
)
_LONGEST_REASON = 120
_ENTRY = re.compile(
    r"(?P<status>clean|infected|error): (?P<reason>.{0,250}?)\sfiles: \d+, digest [0-9a-f]{32}"
    r"(?:\suploaded: (?P<uploaded>[0-9-]{10} [0-9:.]{8,15}Z)(?P<again>, scanned before)?"
    r"(?:\sengine: (?P<engine>.*?)\shost: )?)?",
    re.DOTALL,
)
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
    """What a verdict's section says, read back; `again` if its files had a verdict before it."""

    status: Status
    reason: str
    uploaded: datetime | None
    again: bool
    engine: str


def digest(files: Iterable[str]) -> str:
    """Digest a build's file names, whatever their order: 32 hexadecimal digits.

    PocketBase never changes a file under its name, so the names stand for the contents.
    """
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:32]


def digest_of(log: str) -> str | None:
    """Read which files a verdict is about; None if the log does not say.

    Works on the first `EXCERPT` characters, also with their white space folded.
    """
    found = _VERDICT.match(log)
    return found[1] if found else None


def entry_of(log: str) -> Entry | None:
    """Read the verdict that a log begins with; None if it begins with none of ours.

    Works on the first `ENTRY` characters, also with their white space folded.
    """
    found = _ENTRY.match(log)
    return found and Entry(
        status=Status(found["status"]),
        reason=found["reason"],
        uploaded=parse_time(found["uploaded"] or ""),
        again=found["again"] is not None,
        engine=found["engine"] or "",
    )


def scanned_before(log: str, files: Iterable[str]) -> bool:
    """Return whether an older verdict in a log is about these files, or may be: av-service's.

    Works on the first `ENTRY` characters, also with their white space folded, since the newest of
    the older verdicts is the one that counts.
    """
    wanted = digest(files)
    newest = log.partition(RULE)[2].strip()
    return _is_noted_as_av_services(newest) or any(
        found[1] == wanted for found in _OLDER.finditer(log)
    )


def _is_noted_as_av_services(section: str) -> bool:
    return section.partition(": ")[2].startswith(BY_AV_SERVICE)


def judged_before(log: str, files: Iterable[str], status: Status) -> bool:
    """Return whether the newest verdict in a log gave these very files this status."""
    verdicts = [
        section
        for section in sections(log)
        if not section.startswith((f"{Status.PENDING}: ", f"{Status.SCANNING}: "))
    ]
    return any(
        section.startswith(f"{status}: ") and digest_of(section) == digest(files)
        for section in verdicts[:1]
    )


def claim_of(log: str) -> str | None:
    """Read whose claim, or whose verdict, the log's newest section is."""
    found = _CLAIM.match(sections(log)[0])
    return (found[1] or found[2]) if found else None


def inspected(log: str, files: Iterable[str]) -> str | None:
    """Return which of a build's files a claim's log records as under inspection, if any."""
    found = _INSPECTED.match(log)
    return {_token(name): name for name in files}.get(found[1]) if found else None


def interruptions_of(log: str, files: Iterable[str]) -> tuple[Interruption, ...]:
    """Read which of a build's files were interrupted, the last one first.

    Works on the first `EXCERPT` characters, also with their white space folded, as far as they
    reach. Files that the build no longer has don't count.
    """
    found = _INTERRUPTED.match(log.partition(RULE)[0])
    if found is None:
        return ()
    names = {_token(name): name for name in files}
    counts = [count.split(" ") for count in found[1].split(", ")]
    reasons = [(found[2] or "").strip(), *[""] * len(counts)]
    return tuple(
        Interruption(file=names[token], times=int(times), reason=reason)
        for (token, times), reason in zip(counts, reasons, strict=False)
        if token in names
    )


def interrupt(before: Sequence[Interruption], file: str, reason: str) -> tuple[Interruption, ...]:
    """Count one more interruption of a file's inspection."""
    times = sum(each.times for each in before if each.file == file) + 1
    others = (each for each in before if each.file != file)
    return (Interruption(file=file, times=times, reason=reason), *others)


def sections(log: str) -> list[str]:
    """Split a log into its sections, newest first; there is always one."""
    return log.split(f"\n{RULE}\n")


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


def pending(
    reason: str,
    *,
    interruptions: Sequence[Interruption] = (),
    before: Sequence[str] = (),
    limit: int,
) -> str:
    """Write the log of a check that waits for its scan."""
    return _fit([f"pending: {_one_line(reason)}", *_counts(interruptions)], before, limit)


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
    head = [f"scanning: claim {claim} by {_one_line(host)} at {_moment(at)}"]
    if inspecting is not None:
        head.append(f"inspecting: {_token(inspecting)}")
    return _fit([*head, *_counts(interruptions)], before, limit)


def _counts(interruptions: Sequence[Interruption]) -> Iterator[str]:
    if interruptions:
        counts = ", ".join(f"{_token(each.file)} {each.times}" for each in interruptions)
        yield f"interrupted: {counts}; last: {_one_line(interruptions[0].reason)}"


def _token(name: str) -> str:
    """Return what stands for a file in a line that is read back: no space, no comma, never long."""
    if _PLAIN_NAME.match(name):
        return name
    return f"#{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _one_line(text: str) -> str:
    """Keep free text from being read as a line of its own, and from crowding out the others."""
    return " ".join(text.split()).replace("interrupted: ", "interrupted ")[:_LONGEST_REASON]


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
    again = any(digest_of(section) == digest(names) for section in before)
    again = again or any(map(_is_noted_as_av_services, before[:1]))
    head = [
        f"{verdict.status}: {_FORGED.sub('digest', verdict.reason)}",
        f"files: {len(reports)}, digest {digest(names)}",
        f"uploaded: {format_time(scan.uploaded)}" + ", scanned before" * again,
        f"engine: {scan.engine}",
        f"host: {scan.host}, {_moment(scan.started)} to {_moment(scan.ended)}",
        f"claim: {scan.claim}",
    ]
    ranked = sorted(reports, key=lambda report: _GRAVITY.get(file_status(report, policies), 2))
    older = sum(len(_separated(_head(section))) for section in before)
    room = limit - len("\n".join(head)) - 1 - min(older, int(limit * _HISTORY))
    body = _fit_files([list(_file_lines(report, policies)) for report in ranked], room)
    return _fit(head + body, before, limit)


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


def _fit_files(blocks: Sequence[Sequence[str]], room: int) -> list[str]:
    """Keep as many files' lines as fit: first every file's own line, then the lines below it."""
    spare = room - 60  # for the line that says what was left out
    kept: list[list[str]] = []
    for block in blocks:
        if len(block[0]) + 1 > spare:
            break
        spare -= len(block[0]) + 1
        kept.append([block[0]])
    omitted = 0
    for lines, block in zip(kept, blocks, strict=False):
        for line in block[1:]:
            if len(line) + 1 > spare:
                omitted += 1
                continue
            spare -= len(line) + 1
            lines.append(line)
    left_out = len(blocks) - len(kept)
    text = [line for lines in kept for line in lines]
    if left_out:
        text.append(f"... and {left_out} more files")
    if omitted:
        text.append(f"... and {omitted} more lines")
    return text


def _fit(lines: Sequence[str], before: Sequence[str], limit: int) -> str:
    """Join a new section with as many of the older ones as fit, whole or at least their heads."""
    text = "\n".join(lines)[:limit]
    for section in before:
        room = limit - len(text)
        fitting = [each for each in (section, _head(section)) if len(_separated(each)) <= room]
        if not fitting:
            break
        text += _separated(fitting[0])
    return text


def _separated(section: str) -> str:
    return f"\n{RULE}\n{section}"


def _head(section: str) -> str:
    return "\n".join(section.split("\n", _HEAD)[:_HEAD])


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
