"""From what a scan found to what it means: pure, and the only place that holds the policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avscan.findings import Examination
from avscan.records import Status
from avscan.settings import Policy

REASON_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What content that could not be seen as it is means for its build."""

    opaque: Policy = Policy.NOTE
    oversize: Policy = Policy.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """A file of a build after its scan; `size` in bytes is None if it was never had."""

    name: str
    examination: Examination
    size: int | None = None
    sha256: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of a build: its status, the virus and the reason, in one line."""

    status: Status
    reason: str
    virus_name: str = ""


def judge(reports: Sequence[FileReport], policies: Policies) -> Verdict:
    """Judge a build by its files: one infected file is graver than any error.

    No reports at all is an error: what has not been scanned is never clean.
    """
    verdicts = [file_status(report, policies) for report in reports]
    if not reports:
        return Verdict(status=Status.ERROR, reason="no files")
    if infected := _with(Status.INFECTED, reports, verdicts):
        name = infected[0].examination.sightings[0].signature
        where = infected[0].name
        reason = f"{name} in {where}{_others(len(infected), len(reports))}"
        return Verdict(status=Status.INFECTED, virus_name=name, reason=_reason(reason))
    if failed := _with(Status.ERROR, reports, verdicts):
        what = problems(failed[0].examination, policies)[0]
        reason = f"{failed[0].name}: {what}{_others(len(failed), len(reports))}"
        return Verdict(status=Status.ERROR, reason=_reason(reason))
    size = sum(report.size or 0 for report in reports)
    noted = sum(bool(report.examination.opaque) for report in reports)
    reason = f"nothing found in {len(reports)} file{'s' * (len(reports) > 1)}, {size} bytes"
    if noted:
        reason += f"; {noted} with content that nobody can look into"
    return Verdict(status=Status.CLEAN, reason=reason)


def file_status(report: FileReport, policies: Policies) -> Status:
    """Judge one file."""
    if report.examination.sightings:
        return Status.INFECTED
    return Status.ERROR if problems(report.examination, policies) else Status.CLEAN


def problems(examination: Examination, policies: Policies) -> tuple[str, ...]:
    """List what stands between a file and `clean` under these policies."""
    found = examination.errors
    if policies.oversize is Policy.ERROR:
        found += examination.oversize
    if policies.opaque is Policy.ERROR:
        found += examination.opaque
    return found


def _with(
    status: Status, reports: Sequence[FileReport], verdicts: Sequence[Status]
) -> list[FileReport]:
    return [report for report, verdict in zip(reports, verdicts, strict=True) if verdict is status]


def _others(number: int, total: int) -> str:
    return f" ({number} of {total} files)" if total > 1 else ""


def _reason(text: str) -> str:
    """Cut to a line's length.

    Angle brackets go: PocketBase's excerpt of a text drops what looks like a tag, and discovery
    reads the line behind this one from such an excerpt.
    """
    text = text.translate(str.maketrans("<>&", "()+"))
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
