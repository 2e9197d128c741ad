"""The verdict on a build from the findings on its files. Only this module applies the policies."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from avscan.findings import Examination
from avscan.records import REASON_MAX, Status
from avscan.settings import Policy
from avscan.text import printable

REASON_LENGTH = 200
# The start of an error text from `archives`, after the name of the member.
_NOT_WHOLE = "cannot be scanned whole: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The effect of unsupported and oversized content on a verdict."""

    opaque: Policy = Policy.NOTE
    oversize: Policy = Policy.ERROR


class Cause(enum.StrEnum):
    """Why a build is an error."""

    CONTENT = "content"
    """A file is damaged, ambiguous, too large or encrypted."""
    MISSING = "missing"
    """A file is missing from the storage."""
    SCAN = "scan"
    """avscan failed: the scan was interrupted or timed out, or clamscan failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """The result for a file of a build.

    `size` is in bytes, None if the file was not downloaded. `cause` is None if the inspection was
    complete; errors are then about the content.
    """

    name: str
    examination: Examination
    size: int | None = None
    sha256: str = ""
    seconds: float = 0.0
    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The status of a build and its reason in one line, with the virus or the cause of the error."""

    status: Status
    reason: str
    virus_name: str = ""
    cause: Cause | None = None


def judge(reports: Sequence[FileReport], policies: Policies) -> Verdict:
    """Return the verdict on a build: infected before error before clean.

    Without reports it is an error: only a scanned build can be clean.
    """
    if not reports:
        return Verdict(status=Status.ERROR, reason="no files", cause=Cause.CONTENT)
    if infected := [report for report in reports if report.examination.sightings]:
        name = infected[0].examination.sightings[0].signature
        where = infected[0].name
        reason = f"{name} in {where}{_others(len(infected), len(reports))}"
        reason = _cut(reason, REASON_LENGTH)
        return Verdict(status=Status.INFECTED, virus_name=name, reason=reason)
    if failed := [report for report in reports if problems(report.examination, policies)]:
        what = problems(failed[0].examination, policies)[0]
        reason = f"{failed[0].name}: {what}{_others(len(failed), len(reports))}"
        reason = _cut(reason, REASON_LENGTH)
        return Verdict(status=Status.ERROR, reason=reason, cause=_cause(failed))
    size = sum(report.size or 0 for report in reports)
    noted = sum(bool(report.examination.opaque) for report in reports)
    reason = f"nothing found in {len(reports)} file{'s' * (len(reports) > 1)}, {size} bytes"
    if noted:
        reason += f"; {noted} with content that could not be inspected"
    return Verdict(status=Status.CLEAN, reason=reason)


def explain(reports: Sequence[FileReport], policies: Policies) -> str:
    """Return the most severe finding as a sentence for the publisher; '' if there is none.

    It has at most `REASON_MAX` characters, and is complete without the log:
    'setup.7z in game.tar.gz could not be inspected: encrypted'.
    """
    found = [
        f"{_place(report.name, each.member)} contains {each.signature}"
        for report in reports
        for each in report.examination.sightings
    ]
    failed = [] if reports else ["The build has no files"]
    noted: list[str] = []
    for report in reports:
        each = report.examination
        failed += [_could_not_be_inspected(report.name, text) for text in each.errors]
        large = [_is_too_large(report.name, text) for text in each.oversize]
        opaque = [_is_opaque(report.name, text) for text in each.opaque]
        (failed if policies.oversize is Policy.ERROR else noted).extend(large)
        (failed if policies.opaque is Policy.ERROR else noted).extend(opaque)
    sentences = found or failed or [f"Nothing was found, but {each}" for each in noted]
    if not sentences:
        return ""
    more = " (and more)" * (len(sentences) > 1)
    return _cut(printable(sentences[0]), REASON_MAX - len(more)) + more


def file_status(report: FileReport, policies: Policies) -> Status:
    """Return the status of one file."""
    if report.examination.sightings:
        return Status.INFECTED
    return Status.ERROR if problems(report.examination, policies) else Status.CLEAN


def problems(examination: Examination, policies: Policies) -> tuple[str, ...]:
    """Return the texts of all findings that make a file an error under these policies."""
    found = examination.errors
    if policies.oversize is Policy.ERROR:
        found += examination.oversize
    if policies.opaque is Policy.ERROR:
        found += examination.opaque
    return found


def _cause(failed: Sequence[FileReport]) -> Cause:
    """Return the most severe cause; a failure of avscan is the most severe."""
    causes = {_cause_of(report) for report in failed}
    return next(each for each in (Cause.SCAN, Cause.MISSING, Cause.CONTENT) if each in causes)


def _cause_of(report: FileReport) -> Cause:
    broken = any(_NOT_WHOLE not in text for text in report.examination.errors)
    return report.cause or (Cause.SCAN if broken else Cause.CONTENT)


def _others(number: int, total: int) -> str:
    return f" ({number} of {total} files)" if total > 1 else ""


def _cut(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


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
