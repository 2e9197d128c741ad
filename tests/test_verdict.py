"""The verdict on a build, from the findings on its files and the policies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avscan.findings import Examination, Sighting
from avscan.records import REASON_MAX, Status
from avscan.settings import Policy
from avscan.verdict import (
    REASON_LENGTH,
    Cause,
    FileReport,
    Policies,
    Verdict,
    explain,
    file_status,
    judge,
    problems,
)

CLEAN = Examination()
INFECTED = Examination(sightings=(Sighting(signature="Win.Trojan.A"),))
FAILED = Examination(errors=("can't be read",))
OPAQUE = Examination(opaque=("Encrypted.Zip",))
OVERSIZE = Examination(oversize=("a member of 3 GiB",))

STRICT = Policies(opaque=Policy.ERROR, oversize=Policy.ERROR)
DEFAULT = Policies()
LENIENT = Policies(opaque=Policy.NOTE, oversize=Policy.NOTE)

texts = st.lists(st.text(min_size=1, max_size=300), max_size=2).map(tuple)
examinations = st.builds(
    Examination,
    sightings=st.lists(
        st.builds(Sighting, signature=st.text(min_size=1, max_size=300)), max_size=2
    ).map(tuple),
    errors=texts,
    opaque=texts,
    oversize=texts,
)
reports = st.builds(
    FileReport,
    name=st.text(min_size=1, max_size=300),
    examination=examinations,
    size=st.none() | st.integers(min_value=0),
)
policies = st.builds(
    Policies, opaque=st.sampled_from(list(Policy)), oversize=st.sampled_from(list(Policy))
)


def report(name: str, examination: Examination = CLEAN, size: int | None = 10) -> FileReport:
    return FileReport(name=name, examination=examination, size=size)


@pytest.mark.parametrize(
    ("examination", "policy", "status"),
    [
        (CLEAN, STRICT, Status.CLEAN),
        (INFECTED, LENIENT, Status.INFECTED),
        (FAILED, LENIENT, Status.ERROR),
        (OPAQUE, DEFAULT, Status.CLEAN),
        (OPAQUE, STRICT, Status.ERROR),
        (OVERSIZE, DEFAULT, Status.ERROR),
        (OVERSIZE, LENIENT, Status.CLEAN),
        (
            Examination(sightings=INFECTED.sightings, errors=FAILED.errors),
            DEFAULT,
            Status.INFECTED,
        ),
    ],
)
def test_the_status_of_a_file(examination: Examination, policy: Policies, status: Status) -> None:
    assert file_status(report("a", examination), policy) is status


def test_problems_begin_with_errors() -> None:
    found = Examination(errors=("e",), opaque=("q",), oversize=("s",))
    assert problems(found, STRICT) == ("e", "s", "q")
    assert problems(found, LENIENT) == ("e",)


def test_a_build_without_reports_is_an_error() -> None:
    assert judge([], LENIENT) == Verdict(
        status=Status.ERROR, reason="no files", cause=Cause.CONTENT
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            [report("a", size=7)],
            Verdict(status=Status.CLEAN, reason="nothing found in 1 file, 7 bytes"),
        ),
        (
            [report("a", size=7), report("b", OPAQUE, size=5)],
            Verdict(
                status=Status.CLEAN,
                reason="nothing found in 2 files, 12 bytes;"
                " 1 with content that could not be inspected",
            ),
        ),
        (
            [report("a", INFECTED)],
            Verdict(status=Status.INFECTED, virus_name="Win.Trojan.A", reason="Win.Trojan.A in a"),
        ),
        (
            [report("a", FAILED), report("b"), report("c", INFECTED)],
            Verdict(
                status=Status.INFECTED,
                virus_name="Win.Trojan.A",
                reason="Win.Trojan.A in c (1 of 3 files)",
            ),
        ),
        (
            [report("a"), report("b", FAILED), report("c", OVERSIZE)],
            Verdict(
                status=Status.ERROR,
                reason="b: can't be read (2 of 3 files)",
                cause=Cause.SCAN,
            ),
        ),
    ],
)
def test_the_verdict_is_that_of_the_most_severe_file(
    files: list[FileReport], expected: Verdict
) -> None:
    assert judge(files, DEFAULT) == expected


UNPACKED = Examination(errors=("b.zip: cannot be scanned whole: zip: an entry twice",))


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ([report("a", UNPACKED)], Cause.CONTENT),
        ([report("a", OVERSIZE)], Cause.CONTENT),
        ([report("a", UNPACKED), report("b", FAILED)], Cause.SCAN),
        ([replace(report("a", FAILED), cause=Cause.MISSING)], Cause.MISSING),
        ([replace(report("a", FAILED), cause=Cause.MISSING), report("b", FAILED)], Cause.SCAN),
    ],
)
def test_the_cause_of_an_error(files: list[FileReport], cause: Cause) -> None:
    assert judge(files, DEFAULT).cause is cause


def test_a_long_reason_ends_with_an_ellipsis() -> None:
    verdict = judge([report("a" * 300, FAILED)], DEFAULT)
    assert len(verdict.reason) == REASON_LENGTH
    assert verdict.reason.endswith("…")


@given(files=st.lists(reports, max_size=4), policy=policies)
def test_infected_comes_before_error_and_error_before_clean(
    files: list[FileReport], policy: Policies
) -> None:
    statuses = {file_status(file, policy) for file in files}
    status = judge(files, policy).status
    if Status.INFECTED in statuses:
        assert status is Status.INFECTED
    elif Status.ERROR in statuses or not files:
        assert status is Status.ERROR
    else:
        assert status is Status.CLEAN


@given(files=st.lists(reports, min_size=1, max_size=4), policy=policies)
def test_a_clean_build_has_no_sighting_and_no_error(
    files: list[FileReport], policy: Policies
) -> None:
    clean = judge(files, policy).status is Status.CLEAN
    if any(file.examination.sightings or file.examination.errors for file in files):
        assert not clean


@given(files=st.lists(reports, min_size=1, max_size=4), policy=policies)
def test_there_is_a_virus_name_if_and_only_if_a_signature_matched(
    files: list[FileReport], policy: Policies
) -> None:
    verdict = judge(files, policy)
    names = [seen.signature for file in files for seen in file.examination.sightings]
    assert bool(verdict.virus_name) is bool(names)
    assert not names or verdict.virus_name == names[0]


@given(files=st.lists(reports, max_size=4), policy=policies)
def test_a_reason_has_a_maximum_length(files: list[FileReport], policy: Policies) -> None:
    assert 0 < len(judge(files, policy).reason) <= REASON_LENGTH


# -- the sentence for the publisher ---------------------------------------------------------------

DEEP = Examination(sightings=(Sighting(signature="Win.Trojan.A", member="bin/crack.exe"),))
CUT = "cannot be scanned whole: gzip: it is cut short"


@pytest.mark.parametrize(
    ("files", "policy", "expected"),
    [
        ([report("a.zip")], DEFAULT, ""),
        ([], DEFAULT, "The build has no files"),
        ([report("a.exe", INFECTED)], DEFAULT, "a.exe contains Win.Trojan.A"),
        ([report("a.zip", DEEP)], DEFAULT, "bin/crack.exe in a.zip contains Win.Trojan.A"),
        (
            [report("a", FAILED), report("b.exe", INFECTED), report("c.exe", INFECTED)],
            DEFAULT,
            "b.exe contains Win.Trojan.A (and more)",
        ),
        (
            [report("a", Examination(errors=("missing from the storage",)))],
            DEFAULT,
            "a could not be inspected: missing from the storage",
        ),
        (
            [report("a.tgz", Examination(errors=(CUT,)))],
            DEFAULT,
            "a.tgz could not be inspected: gzip: it is cut short",
        ),
        (
            [report("a.tgz", Examination(errors=(f"b.gz: {CUT}",)))],
            DEFAULT,
            "b.gz in a.tgz could not be inspected: gzip: it is cut short",
        ),
        (
            [report("a.tgz", Examination(opaque=("encrypted: setup.7z", "zstd: b")))],
            STRICT,
            "setup.7z in a.tgz could not be inspected: encrypted (and more)",
        ),
        (
            [report("setup.7z", Examination(opaque=("encrypted",)))],
            STRICT,
            "setup.7z could not be inspected: encrypted",
        ),
        (
            [report("a.7z", Examination(opaque=("encrypted",)))],
            DEFAULT,
            "Nothing was found, but a.7z could not be inspected: encrypted",
        ),
        (
            [report("a.tgz", Examination(oversize=("b.pak: 3000000000 bytes",)))],
            DEFAULT,
            "b.pak in a.tgz is too large to be inspected as a whole: 3000000000 bytes",
        ),
        (
            [report("b.pak", Examination(oversize=("3000000000 bytes",)))],
            LENIENT,
            "Nothing was found, but b.pak is too large to be inspected as a whole: 3000000000 bytes",
        ),
    ],
)
def test_the_publishers_sentence_has_the_most_severe_finding(
    files: list[FileReport], policy: Policies, expected: str
) -> None:
    assert explain(files, policy) == expected


@given(files=st.lists(reports, max_size=4), policy=policies)
def test_the_publishers_sentence_is_one_line_of_limited_length(
    files: list[FileReport], policy: Policies
) -> None:
    sentence = explain(files, policy)
    assert len(sentence) <= REASON_MAX
    assert not sentence or sentence.isprintable()
    status = judge(files, policy).status
    assert sentence or status is Status.CLEAN
    assert sentence.startswith("Nothing was found") <= (status is Status.CLEAN)
