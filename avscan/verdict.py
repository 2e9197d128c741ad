"""From what a scan found to what it means: pure, and the only place that holds the policies."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from avscan.findings import Examination
from avscan.records import REASON_MAX, Status
from avscan.settings import Policy
from avscan.text import printable

REASON_LENGTH = 200
# How `archives` begins the text of an error, behind the member that it is about.
_NOT_WHOLE = "cannot be scanned whole: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What content that could not be seen as it is means for its build."""

    opaque: Policy = Policy.NOTE
    oversize: Policy = Policy.ERROR


class Cause(enum.StrEnum):
    """Why a build is an error."""

    CONTENT = "content"
    """A file can't be inspected by anybody: damaged, ambiguous, too large, or encrypted."""
    MISSING = "missing"
    """The storage has lost a file."""
    SCAN = "scan"
    """avscan failed: the scan was interrupted, took too long, or clamscan broke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """A file of a build after its scan.

    `size` in bytes is None if the file was never downloaded, `cause` is None if avscan reached its
    end: what is wrong then is wrong with the content.
    """

    name: str
    examination: Examination
    size: int | None = None
    sha256: str = ""
    seconds: float = 0.0
    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The status of a build, with the virus or the cause of the error, and the reason in one line."""

    status: Status
    reason: str
    virus_name: str = ""
    cause: Cause | None = None


def judge(reports: Sequence[FileReport], policies: Policies) -> Verdict:
    """Judge a build by its files: one infected file is graver than any error.

    No reports at all is an error: what has not been scanned is never clean.
    """
    verdicts = [file_status(report, policies) for report in reports]
    if not reports:
        return Verdict(status=Status.ERROR, reason="no files", cause=Cause.CONTENT)
    if infected := _with(Status.INFECTED, reports, verdicts):
        name = infected[0].examination.sightings[0].signature
        where = infected[0].name
        reason = f"{name} in {where}{_others(len(infected), len(reports))}"
        return Verdict(status=Status.INFECTED, virus_name=name, reason=_reason(reason))
    if failed := _with(Status.ERROR, reports, verdicts):
        what = problems(failed[0].examination, policies)[0]
        reason = f"{failed[0].name}: {what}{_others(len(failed), len(reports))}"
        return Verdict(status=Status.ERROR, reason=_reason(reason), cause=_cause(failed))
    size = sum(report.size or 0 for report in reports)
    noted = sum(bool(report.examination.opaque) for report in reports)
    reason = f"nothing found in {len(reports)} file{'s' * (len(reports) > 1)}, {size} bytes"
    if noted:
        reason += f"; {noted} with content that nobody can look into"
    return Verdict(status=Status.CLEAN, reason=reason)


def explain(reports: Sequence[FileReport], policies: Policies) -> str:
    """Return the gravest finding as a sentence for the build's publisher; '' if there is none.

    It has at most `REASON_MAX` characters, and needs no log beside it:
    'setup.7z in game.tar.gz could not be inspected: encrypted'.
    """
    found = [
        f"{_place(report.name, each.member)} contains {each.signature}"
        for report in reports
        for each in report.examination.sightings
    ]
    failed: list[str] = []
    noted: list[str] = []
    for report in reports:
        each = report.examination
        failed += [_could_not_be_inspected(report.name, text) for text in each.errors]
        large = [_is_too_large(report.name, text) for text in each.oversize]
        opaque = [_is_opaque(report.name, text) for text in each.opaque]
        (failed if policies.oversize is Policy.ERROR else noted).extend(large)
        (failed if policies.opaque is Policy.ERROR else noted).extend(opaque)
    if not reports:
        failed = ["The build has no files"]
    sentences = found or failed or [f"Nothing was found, but {each}" for each in noted]
    if not sentences:
        return ""
    text = printable(sentences[0])
    more = " (and more)" * (len(sentences) > 1)
    room = REASON_MAX - len(more)
    return (text if len(text) <= room else text[: room - 1] + "…") + more


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


def _cause(failed: Sequence[FileReport]) -> Cause:
    """Return the cause that says most about avscan itself."""
    causes = {_cause_of(report) for report in failed}
    return next(each for each in (Cause.SCAN, Cause.MISSING, Cause.CONTENT) if each in causes)


def _cause_of(report: FileReport) -> Cause:
    broken = any(_NOT_WHOLE not in text for text in report.examination.errors)
    return report.cause or (Cause.SCAN if broken else Cause.CONTENT)


def _others(number: int, total: int) -> str:
    return f" ({number} of {total} files)" if total > 1 else ""


def _reason(text: str) -> str:
    """Cut to a line's length."""
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"


def _place(name: str, member: str) -> str:
    return f"{member} in {name}" if member else name


def _could_not_be_inspected(name: str, error: str) -> str:
    member, _, what = error.rpartition(_NOT_WHOLE)
    return f"{_place(name, member.removesuffix(': '))} could not be inspected: {what}"


def _is_too_large(name: str, oversize: str) -> str:
    member, _, size = oversize.rpartition(": ")
    return f"{_place(name, member)} is too large to be inspected as a whole: {size}"


def _is_opaque(name: str, opaque: str) -> str:
    what, separator, member = opaque.rpartition(": ")
    if not separator:
        what, member = opaque, ""
    return f"{_place(name, member)} could not be inspected: {what}"
