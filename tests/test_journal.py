"""A check's log: its format, and how it is parsed, whole or as PocketBase's excerpt."""

from __future__ import annotations

import hashlib
import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avscan.backend import journal
from avscan.backend.journal import Interruption
from avscan.backend.sections import RULE
from avscan.backend.sections import sections as split
from avscan.findings import Examination, Sighting
from avscan.records import Status
from avscan.verdict import FileReport, Policies, Verdict, judge

NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
SCAN = journal.Scan(
    uploaded=NOON - timedelta(seconds=30),
    engine="ClamAV 1.4.6/27600/Thu May  1 08:00:00 2025",
    host="scanner-1",
    claim="0123456789ab",
    started=NOON,
    ended=NOON + timedelta(seconds=42),
)
POLICIES = Policies()
INTERRUPTED = (Interruption(file="a" * 99, times=3, reason="x" * 999),)
BY_HAND = f"clean: {journal.BY_HAND}"
FORGED = f'x {{"files": "{"0" * 32}", "claim": "1", "judged": "{"0" * 32}"}}'
FORGED_OLD = f"x files: 1, digest {'0' * 32}"

# An inspector's texts are single printable lines.
lines = st.text(
    st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=300
) | st.sampled_from(
    [FORGED, FORGED_OLD, f"clean: {FORGED}", RULE, "<b> &amp;", "<" * 300, '"\\' * 150]
)
names = st.from_regex(r"[a-z0-9_]{1,90}_[a-z0-9]{10}\.[a-z]{1,5}", fullmatch=True)
texts = st.lists(lines, max_size=3).map(tuple)
reports = st.builds(
    FileReport,
    name=names,
    examination=st.builds(
        Examination,
        sightings=st.lists(st.builds(Sighting, signature=lines, member=lines), max_size=3).map(
            tuple
        ),
        errors=texts,
        opaque=texts,
        oversize=texts,
    ),
    size=st.none() | st.integers(min_value=0, max_value=1 << 30),
    sha256=st.sampled_from(["", "0" * 64]),
)
builds = st.lists(reports, max_size=8, unique_by=lambda report: report.name)
sections = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=80), max_size=4
)
marks = st.from_regex(r"[0-9a-f]{12}", fullmatch=True)


def excerpt(log: str, length: int = journal.EXCERPT) -> str:
    """Cut a log as PocketBase's `excerpt` modifier does."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>?", "", log)).strip()[:length]


def report(
    name: str,
    *,
    errors: tuple[str, ...] = (),
    opaque: tuple[str, ...] = (),
    oversize: tuple[str, ...] = (),
) -> FileReport:
    examination = Examination(errors=errors, opaque=opaque, oversize=oversize)
    return FileReport(name=name, examination=examination, size=6, sha256="ab" * 32, seconds=1.25)


def settled(files: list[FileReport], *, before: tuple[str, ...] = (), limit: int = 100_000) -> str:
    return journal.settled(
        judge(files, POLICIES), files, SCAN, POLICIES, before=before, limit=limit
    )


# -- format for people ----------------------------------------------------------------------------


def test_a_verdicts_log_reads_from_the_reason_to_each_file() -> None:
    files = [
        report("a.txt", opaque=("zstd",)),
        report("b.txt", errors=("unreadable",), opaque=("Encrypted.Zip",), oversize=("big",)),
        FileReport(
            name="c.zip",
            examination=Examination(
                sightings=(Sighting(signature="Eicar", member="x/y"), Sighting(signature="Worm"))
            ),
        ),
    ]
    digest = hashlib.sha256(b"a.txt\nb.txt\nc.zip").hexdigest()[:32]
    judged = hashlib.sha256(b"z").hexdigest()[:32]
    assert settled(files, before=(f"clean: z\nfiles: 1, digest {judged}",)) == "\n".join(
        [
            (
                'infected: {"reason": "Eicar in c.zip (1 of 3 files)", "files": "'
                f'{digest}", "uploaded": "2025-05-01 11:59:30.000Z", "engine":'
                ' "ClamAV 1.4.6/27600/Thu May 1 08:00:00 2025", "claim": "0123456789ab",'
                f' "judged": "{judged}"}}'
            ),
            "3 files, 2025-05-01 12:00:00Z to 2025-05-01 12:00:42Z, on scanner-1",
            "infected  c.zip  not downloaded  0.0 s",
            "    found: Eicar in x/y",
            "    found: Worm",
            f"error     b.txt  6 bytes  sha256 {'ab' * 32}  1.2 s",
            "    error: unreadable",
            "    too large to be scanned as one: big",
            "    not looked into: Encrypted.Zip",
            f"clean     a.txt  6 bytes  sha256 {'ab' * 32}  1.2 s",
            "    not looked into: zstd",
            RULE,
            f"clean: z\nfiles: 1, digest {judged}",
        ]
    )


def test_a_pending_log_has_its_reason() -> None:
    assert journal.pending("new build", limit=5000) == 'pending: {"reason": "new build"}'


def test_a_pending_log_counts_the_interruptions_of_each_file() -> None:
    twice = Interruption(file="a.zip", times=2, reason="signal 15")
    once = Interruption(file="b.zip", times=1)
    log = journal.pending("PocketBase failed", interruptions=(twice, once), limit=5000)
    assert log == (
        'pending: {"reason": "PocketBase failed", "interrupted": {"a.zip": 2, "b.zip": 1},'
        ' "last": "signal 15"}'
    )


def test_a_claimed_log_has_the_claim_the_host_the_time_and_the_file() -> None:
    text = journal.claimed(
        "abc",
        "host",
        NOON,
        inspecting="b.zip",
        interruptions=[Interruption(file="a.zip", times=1, reason="signal 15")],
        before=["clean: x"],
        limit=5000,
    )
    assert text == (
        'scanning: {"claim": "abc", "host": "host", "at": "2025-05-01 12:00:00.000Z",'
        ' "inspecting": "b.zip", "interrupted": {"a.zip": 1}, "last": "signal 15"}'
        f"\n{RULE}\nclean: x"
    )


def test_a_paused_claims_log_names_no_file() -> None:
    text = journal.claimed("abc", "host", NOON, inspecting=None, limit=5000)
    assert "inspecting" not in text
    assert journal.inspected(text, ["a.zip"]) is None


def test_a_section_is_displayed_field_by_field() -> None:
    log = journal.pending("failed", interruptions=INTERRUPTED, limit=5000)
    assert journal.lines_of(log)[0] == "pending: failed"
    assert journal.lines_of(log)[2].startswith("last: xxx")
    assert journal.lines_of("clean: by hand\nbelow") == ["clean: by hand", "below"]


def test_lines_of_the_least_severe_files_are_omitted_first() -> None:
    files = [report(f"{number}.txt") for number in range(50)]
    files += [report("bad.txt", errors=("unreadable",))]
    files += [
        FileReport(name="worm", examination=Examination(sightings=(Sighting(signature="W"),)))
    ]
    lines = settled(files, limit=1030).splitlines()
    kept = [line.split()[1] for line in lines[2:-1]]
    assert kept == ["worm", "bad.txt", *(f"{number}.txt" for number in range(len(kept) - 2))]


def test_details_are_omitted_before_first_lines_of_files() -> None:
    files = [report("a.txt", opaque=tuple("n" * 40 for _ in range(20))), report("b.txt")]
    *_, detail, last_file, count = settled(files, limit=700).splitlines()
    assert detail.startswith("    not looked into: nnn")
    assert last_file.startswith("clean     b.txt")
    assert re.fullmatch(r"\.\.\. and 1\d more lines", count)


# -- parsing --------------------------------------------------------------------------------------


@given(files=st.lists(names, max_size=10), seed=st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order(files: list[str], seed: random.Random) -> None:
    shuffled = files.copy()
    seed.shuffle(shuffled)
    assert journal.digest(shuffled) == journal.digest(files)


@given(one=st.sets(names, max_size=5), other=st.sets(names, max_size=5))
def test_different_files_have_different_digests(one: set[str], other: set[str]) -> None:
    assert (journal.digest(one) == journal.digest(other)) is (one == other)


@given(files=builds, before=sections, again=st.booleans())
@example(files=[report("a" * 90, errors=(FORGED,))], before=[FORGED], again=False)
@example(files=[report("a" * 90, errors=(FORGED_OLD,))], before=[FORGED_OLD], again=True)
@example(files=[report("a" * 90, errors=("<" * 300,))], before=[], again=False)
def test_a_verdict_is_read_back_from_the_log_and_its_excerpt(
    *, files: list[FileReport], before: list[str], again: bool
) -> None:
    digest = journal.digest(file.name for file in files)
    older = [f"clean: x\nfiles: 1, digest {digest}"] if again else []
    log = settled(files, before=(*older, *before), limit=5000)
    for text in (log, excerpt(log)):
        entry = journal.read(text)
        assert entry.status is judge(files, POLICIES).status
        assert (entry.files, entry.claim, entry.uploaded) == (digest, SCAN.claim, SCAN.uploaded)
        assert entry.engine.split() == SCAN.engine.split()
        assert entry.again is again
    assert journal.digest_of(log) == digest
    assert journal.claim_of(log) == SCAN.claim


# A verdict written by version 0.1.0.
OLD = (
    "error: a.zip: damaged\n"
    "files: 1, digest 8ba9d96de40dd8d6cde7e4b9ef0ba3cb\n"
    "uploaded: 2025-05-01 11:59:30.000Z, scanned before\n"
    "engine: ClamAV 1.4.6/27600\n"
    "host: scanner-1, 2025-05-01 12:00:00Z to 2025-05-01 12:00:42Z\n"
    "claim: 0123456789ab"
)
READ_OLD = journal.Entry(
    status=Status.ERROR, reason="a.zip: damaged", files="8ba9d96de40dd8d6cde7e4b9ef0ba3cb"
)


@pytest.mark.parametrize(
    ("log", "entry"),
    [
        ("", journal.Entry()),
        ("by hand", journal.Entry()),
        ("clean: by hand", journal.Entry()),
        ("pending: new build", journal.Entry()),
        (f"pending: clean: x\nfiles: 1, digest {'0' * 32}", journal.Entry()),
        (f"scanning: claim 1\n{RULE}\nclean: x\nfiles: 1, digest {'0' * 32}", journal.Entry()),
        (f"clean: {'x' * 400}\nfiles: 1, digest {'0' * 32}", journal.Entry()),
        ("clean: x\nfiles: 1, digest 0123", journal.Entry()),
        ('clean: {"files": "x"', journal.Entry()),
        ('clean: ["files"]', journal.Entry()),
        ('given: {"files": "x"}', journal.Entry()),
        (f'clean: x {{"files": "{"0" * 32}"}}', journal.Entry()),
        ('clean: {"files": ["x"]}', journal.Entry(status=Status.CLEAN)),
        ('error: {"cause": "fate"}', journal.Entry(status=Status.ERROR)),
        ('pending: {"interrupted": "a 3"}', journal.Entry(status=Status.PENDING)),
        ('pending: {"interrupted": {"a": "3"}}', journal.Entry(status=Status.PENDING)),
        (
            f'pending: {{}}\n{RULE}\nscanning: {{"claim": "a", "interrupted": {{"a": 3}}}}',
            journal.Entry(status=Status.PENDING),
        ),
        (OLD, READ_OLD),
        (excerpt(OLD), READ_OLD),
    ],
)
def test_only_the_record_of_the_newest_section_is_parsed(log: str, entry: journal.Entry) -> None:
    assert journal.read(log) == entry


def test_a_log_without_a_record_has_neither_a_digest_nor_a_claim() -> None:
    assert journal.digest_of("clean: by hand") is None
    assert journal.claim_of("clean: by hand") is None


# Unsanitized file names, which may look like parts of a log.
wild = st.text(max_size=60) | st.sampled_from(
    [
        "a 9",
        "a, b 7",
        '", "inspecting": "b',
        '": 9, "b',
        RULE,
        "#0",
        "é" * 90,
    ]
)
wild_builds = st.lists(wild, min_size=1, max_size=6, unique=True)


@given(mark=marks, host=names, before=sections, files=wild_builds, times=st.integers(1, 999))
def test_a_claim_is_read_back_with_any_file_names(
    mark: str, host: str, before: list[str], files: list[str], times: int
) -> None:
    counted = (
        Interruption(file=files[0], times=times, reason="signal 15"),
        *(Interruption(file=name, times=1) for name in files[1:]),
    )
    log = journal.claimed(
        mark, host, NOON, inspecting=files[-1], interruptions=counted, before=before, limit=5000
    )
    assert journal.claim_of(log) == mark
    assert journal.inspected(log, files) == files[-1]
    assert journal.interruptions_of(log, files) == counted
    assert journal.interruptions_of(log, files[1:]) == counted[1:]
    assert journal.interruptions_of(excerpt(log), files)[0].times == times


@given(before=sections, files=wild_builds, reason=st.text(max_size=300))
@example(before=[], files=["a"], reason='x", "interrupted": {"a": 3}, "last": "y')
def test_a_pending_log_keeps_its_interruptions_and_has_no_claim(
    before: list[str], files: list[str], reason: str
) -> None:
    counted = journal.interrupt((), files[0], "signal 15")
    log = journal.pending(reason, interruptions=counted, before=before, limit=5000)
    assert journal.interruptions_of(log, files) == counted
    assert journal.interruptions_of(log, files[1:]) == ()
    assert journal.claim_of(log) is None


def test_each_file_has_its_own_count_latest_first() -> None:
    counted = journal.interrupt((), "a", "first")
    counted = journal.interrupt(counted, "b", "second")
    counted = journal.interrupt(counted, "a", "third")
    assert counted == (
        Interruption(file="a", times=2, reason="third"),
        Interruption(file="b", times=1, reason="second"),
    )


def test_the_counts_of_all_files_fit_into_pocketbases_shortest_log() -> None:
    files = [f"{number}{'x' * 110}.zip" for number in range(99)]
    counted = tuple(Interruption(file=name, times=2) for name in files)
    log = journal.claimed("m", "h", NOON, inspecting=files[0], interruptions=counted, limit=5000)
    assert journal.interruptions_of(log, files) == counted


# -- history --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "status", "kept"),
    [
        ("", Status.PENDING, []),
        ("", Status.CLEAN, [BY_HAND]),
        (" \n", Status.CLEAN, [BY_HAND]),
        ("by hand", Status.CLEAN, [BY_HAND, "by hand"]),
        ("infected: a", Status.CLEAN, [BY_HAND, "infected: a"]),
        ("pending: new build", Status.PENDING, []),
        (f"scanning: claim a\n{RULE}\nclean: b", Status.SCANNING, ["clean: b"]),
        (f"error: a\n{RULE}\nclean: b", Status.ERROR, ["error: a", "clean: b"]),
    ],
)
def test_only_verdicts_are_kept_newest_first(log: str, status: Status, kept: list[str]) -> None:
    assert journal.history(log, status) == kept


def test_a_check_with_several_scans_keeps_its_verdicts_newest_first() -> None:
    log, status = "", Status.PENDING
    for number in range(3):
        before = journal.history(log, status)
        log = journal.claimed("abc", "h", NOON, inspecting="a", before=before, limit=5000)
        before = journal.history(log, Status.SCANNING)
        verdict = Verdict(status=Status.CLEAN, reason=f"scan {number}")
        log = journal.settled(verdict, [], SCAN, POLICIES, before=before, limit=5000)
        status = Status.CLEAN
    heads = [journal.lines_of(section)[0] for section in split(log)]
    assert heads == ["clean: scan 2", "clean: scan 1", "clean: scan 0"]


def test_the_oldest_sections_are_dropped_as_a_whole() -> None:
    text = journal.pending("x", before=["a" * 10, "b" * 200, "c"], limit=120)
    assert split(text) == ['pending: {"reason": "x"}', "a" * 10]


def test_a_verdict_that_does_not_fit_keeps_its_head() -> None:
    long = settled([report(f"{number}.txt") for number in range(60)], limit=5000)
    text = journal.pending("an operator asked", before=[long], limit=len(long))
    waiting, kept = split(text)
    assert journal.lines_of(waiting)[0] == "pending: an operator asked"
    assert kept == "\n".join(long.splitlines()[:2])
    again = settled([report(f"{number}.txt") for number in range(60)], before=(kept,), limit=5000)
    assert split(again)[1] == kept


# -- earlier verdicts on the same files -----------------------------------------------------------


@given(files=builds, count=st.integers(0, 9))
def test_a_waiting_check_has_whether_its_files_were_scanned_before(
    files: list[FileReport], count: int
) -> None:
    names = [file.name for file in files]
    interruptions = tuple(Interruption(file=f"{n}{'a' * 60}", times=3) for n in range(count))
    before = [settled(files)]
    for log in (
        journal.pending("x" * 999, interruptions=interruptions, before=before, limit=5000),
        journal.claimed(
            "m" * 12,
            "h" * 64,
            NOON,
            inspecting="a" * 99,
            interruptions=interruptions,
            before=before,
            limit=5000,
        ),
    ):
        for text in (log, excerpt(log)):
            assert journal.scanned_before(text, names)
            assert not journal.scanned_before(text, [*names, "another"])


def test_a_members_name_is_not_mistaken_for_the_author_of_a_verdict() -> None:
    before = [settled([report("a.zip", opaque=(f"zstd: {journal.BY_AV_SERVICE}",))])]
    assert journal.read(journal.pending("x", before=before, limit=5000)).judged == journal.digest(
        ["a.zip"]
    )


def test_files_with_a_verdict_of_av_service_were_scanned_before() -> None:
    before = journal.history("File: a.zip\n...", Status.CLEAN)
    assert journal.scanned_before(journal.pending("x", before=before, limit=5000), ["a.zip"])
    log = settled([report("a.zip")], before=tuple(before))
    assert journal.read(log).again


@pytest.mark.parametrize(
    ("sections", "known"),
    [
        (["pending: {}"], []),
        (["pending: {}", "infected: a\nfiles: 1, digest DIGEST"], [Status.INFECTED]),
        (["scanning: {}", "error: a\nfiles: 1, digest DIGEST"], [Status.ERROR]),
        (["clean: a\nfiles: 1, digest DIGEST"], [Status.CLEAN]),
        (['clean: {"files": "DIGEST"}', 'error: {"files": "DIGEST"}'], [Status.CLEAN]),
        (["pending: {}", f"infected: a\nfiles: 1, digest {'0' * 32}"], []),
        (["pending: {}", BY_HAND, "infected: a\nfiles: 1, digest DIGEST"], []),
    ],
)
def test_a_verdict_is_known_if_the_newest_one_is_the_same_on_the_same_files(
    sections: list[str], known: list[Status]
) -> None:
    log = f"\n{RULE}\n".join(sections).replace("DIGEST", journal.digest(["a.txt"]))
    assert [each for each in Status if journal.judged_before(log, ["a.txt"], each)] == known


# -- bounds ---------------------------------------------------------------------------------------


@given(files=builds, before=sections, limit=st.integers(0, 3000))
def test_a_log_never_exceeds_its_limit(
    files: list[FileReport], before: list[str], limit: int
) -> None:
    assert len(settled(files, before=tuple(before), limit=limit)) <= limit
    pending = journal.pending("x" * 99, interruptions=INTERRUPTED, before=before, limit=limit)
    assert len(pending) <= limit
    claimed = journal.claimed(
        "m",
        "h" * 99,
        NOON,
        inspecting="a" * 99,
        interruptions=INTERRUPTED,
        before=before,
        limit=limit,
    )
    assert len(claimed) <= limit


@given(files=builds, limit=st.integers(700, 3000))
def test_the_digest_survives_a_short_limit(files: list[FileReport], limit: int) -> None:
    log = settled(files, limit=limit)
    assert journal.digest_of(log) == journal.digest(file.name for file in files)


@given(files=st.lists(reports, min_size=1, max_size=30, unique_by=lambda report: report.name))
def test_every_line_is_kept_or_counted(files: list[FileReport]) -> None:
    whole, lines = (settled(files, limit=limit).split("\n") for limit in (1_000_000, 2000))
    more = re.fullmatch(r"\.\.\. and (\d+) more lines?", lines[-1])
    kept = lines[:-1] if more else lines
    assert len(kept) + int(more[1] if more else 0) == len(whole)
    rest = iter(whole)
    assert all(line in rest for line in kept)
