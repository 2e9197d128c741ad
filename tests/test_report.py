"""The status report: waiting builds, verdicts and criteria, computed from a `Reading`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from avscan.backend import journal
from avscan.findings import Examination, Sighting
from avscan.ops.reading import Reading
from avscan.ops.report import Delays, Report, State, report
from avscan.records import Build, Check, Status
from avscan.verdict import Cause, FileReport, Policies, judge

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=90)


def ago(**span: float) -> datetime:
    return NOON - timedelta(**span)


def build(
    name: str = "build", *, updated: datetime = NOON, files: tuple[str, ...] = ("a",)
) -> Build:
    return Build(id=name, files=files, created=LONG_AGO, updated=updated)


def check(
    of: Build, status: Status = Status.PENDING, *, updated: datetime = NOON, log: str = ""
) -> Check:
    return Check(
        id=of.id,
        build=of.id,
        status=status,
        virus_name="",
        scan_time=None,
        log=log,
        created=LONG_AGO,
        updated=updated,
    )


def verdict(
    of: Build,
    *,
    uploaded: datetime,
    given: datetime,
    virus: str = "",
    errors: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
) -> Check:
    sightings = (Sighting(signature=virus),) if virus else ()
    examination = Examination(sightings=sightings, errors=errors)
    files = [FileReport(name=name, examination=examination) for name in of.files]
    scan = journal.Scan(
        uploaded=uploaded,
        engine="ClamAV 1.4.6, signatures 27800 of 2026-04-30",
        host="h",
        claim="c",
        started=given,
        ended=given,
    )
    judged = judge(files, Policies())
    log = journal.settled(judged, files, scan, Policies(), before=before, limit=5000)
    return replace(
        check(of, judged.status, updated=given, log=log),
        scan_time=given,
        virus_name=judged.virus_name,
    )


EMPTY = Reading(now=NOON, window=timedelta(days=1), stuck_after=timedelta(seconds=90), counts={})


def waiting(*pairs: tuple[Check, Build]) -> Report:
    return report(replace(EMPTY, unsettled=pairs))


def judged(*verdicts: Check) -> Report:
    return report(replace(EMPTY, verdicts=verdicts))


def broken(found: Report) -> set[str]:
    return {criterion.name for criterion in found.criteria if not criterion.kept}


# -- waiting builds -------------------------------------------------------------------------------


def test_on_an_empty_backend_every_criterion_is_kept() -> None:
    found = report(EMPTY)
    assert found.kept
    assert [criterion.figure for criterion in found.criteria] == [1.0, 0.0, 0.0]
    assert found.delays == Delays(count=0)


@pytest.mark.parametrize(
    ("minutes", "wrong"),
    [
        (4.9, set()),
        (5.1, {"in_time_ratio"}),
        (9.9, {"in_time_ratio"}),
        (10.1, {"in_time_ratio", "oldest_pending_seconds"}),
    ],
)
def test_a_pending_build_waits_from_its_upload(minutes: float, wrong: set[str]) -> None:
    of = build(updated=ago(minutes=minutes))
    found = waiting((check(of, updated=ago(minutes=minutes)), of))
    assert broken(found) == wrong
    assert found.oldest_pending == pytest.approx(minutes * 60)


def test_a_build_under_scan_can_be_late_but_not_pending() -> None:
    of = build(updated=ago(minutes=11))
    found = waiting((check(of, Status.SCANNING), of))
    assert broken(found) == {"in_time_ratio"}
    assert (found.oldest_pending, found.oldest_scanning) == (0, 660)


def test_a_build_edited_after_its_check_was_opened_waits_from_the_opening() -> None:
    of = build(updated=ago(minutes=1))
    opened = check(of, updated=ago(minutes=7), log="pending: new build")
    assert waiting((opened, of)).oldest_pending == 420


def test_a_check_created_by_a_hook_before_the_upload_waits_from_the_upload() -> None:
    of = build(updated=ago(minutes=1))
    assert waiting((check(of, updated=ago(hours=1)), of)).oldest_pending == 60


def test_a_reclaimed_check_waits_from_the_upload() -> None:
    of = build(updated=ago(minutes=30))
    log = "pending: reclaimed, no heartbeat since long ago"
    assert waiting((check(of, log=log), of)).oldest_pending == 1800


def test_a_rescan_waits_from_its_request_and_is_never_late() -> None:
    of = build(updated=ago(days=30))
    first = verdict(of, uploaded=ago(days=30), given=ago(days=30))
    log = journal.pending("an operator asked", before=[first.log], limit=5000)
    found = waiting((check(of, updated=ago(minutes=6), log=log), of))
    assert found.oldest_pending == 360
    assert not found.late
    assert found.kept


def test_replaced_files_wait_from_their_upload() -> None:
    before = build(updated=ago(days=30), files=("old",))
    first = verdict(before, uploaded=ago(days=30), given=ago(days=30))
    log = journal.pending("its files changed", before=[first.log], limit=5000)
    now = build(updated=ago(minutes=6))
    found = waiting((check(now, updated=ago(minutes=5), log=log), now))
    assert [each.seconds for each in found.late] == [360]


def test_an_unfinished_upload_does_not_wait() -> None:
    of = build(updated=ago(minutes=50), files=())
    found = waiting((check(of), of))
    assert found.kept
    assert not found.waiting


def test_a_build_without_a_check_waits() -> None:
    found = report(replace(EMPTY, changed=(build(updated=ago(minutes=20)),)))
    assert [(each.state, each.seconds) for each in found.waiting] == [(State.UNCHECKED, 1200)]
    assert broken(found) == {"in_time_ratio", "oldest_pending_seconds"}


@pytest.mark.parametrize(
    ("files", "expected"), [(("new",), [(State.CHANGED, 360)]), ((), [])], ids=["new", "none yet"]
)
def test_a_build_whose_verdict_is_for_replaced_files_waits(
    files: tuple[str, ...], expected: list[tuple[State, float]]
) -> None:
    first = verdict(build(files=("old",)), uploaded=ago(days=2), given=ago(days=2))
    of = build(updated=ago(minutes=6), files=files)
    found = report(replace(EMPTY, changed=(of,), others=(first,)))
    assert [(each.state, each.seconds) for each in found.waiting] == expected


def test_an_edit_without_new_files_does_not_wait() -> None:
    first = verdict(build(), uploaded=ago(days=2), given=ago(days=2))
    found = report(replace(EMPTY, changed=(build(updated=ago(minutes=6)),), others=(first,)))
    assert not found.waiting


def test_a_build_with_two_checks_waits_once() -> None:
    of = build(updated=ago(minutes=2))
    found = waiting((check(of), of), (check(of, Status.SCANNING), of))
    assert len(found.waiting) == 1


@pytest.mark.parametrize(
    ("status", "seconds", "stuck"),
    [(Status.SCANNING, 60, 0), (Status.SCANNING, 100, 1), (Status.PENDING, 100, 0)],
)
def test_a_check_under_scan_without_a_heartbeat_is_stuck(
    status: Status, seconds: float, stuck: int
) -> None:
    of = build()
    found = waiting((check(of, status, updated=ago(seconds=seconds)), of))
    assert len(found.stuck) == stuck


# -- verdicts -------------------------------------------------------------------------------------


def test_a_verdict_is_late_after_five_minutes() -> None:
    checks = [
        verdict(build(f"b{minutes}"), uploaded=ago(minutes=60), given=ago(minutes=60 - minutes))
        for minutes in (1, 2, 6)
    ]
    found = judged(*checks)
    assert [(each.build, each.seconds, each.verdict) for each in found.late] == [
        ("b6", 360, Status.CLEAN)
    ]
    assert found.delays == Delays(count=3, median_seconds=120, p95_seconds=360, max_seconds=360)
    (in_time, _, _) = found.criteria
    assert in_time.figure == pytest.approx(2 / 3)
    assert in_time.detail == "2 of 3 builds"


def test_a_renewed_verdict_is_not_timed() -> None:
    first = verdict(build(), uploaded=ago(days=40), given=ago(days=40))
    again = verdict(build(), uploaded=ago(days=40), given=ago(minutes=1), before=(first.log,))
    found = judged(again)
    assert found.kept
    assert found.delays.count == 0
    assert found.verdicts[Status.CLEAN] == 1


def test_an_edit_after_the_verdict_does_not_change_the_delay() -> None:
    given = verdict(build(), uploaded=ago(hours=2), given=ago(hours=2) + timedelta(seconds=40))
    found = report(replace(EMPTY, verdicts=(given,), changed=(build(updated=ago(minutes=1)),)))
    assert found.delays.max_seconds == 40


def test_a_verdict_given_by_hand_is_counted_but_not_timed() -> None:
    by_hand = replace(check(build(), Status.CLEAN, log="by hand"), scan_time=ago(hours=1))
    found = judged(by_hand)
    assert found.verdicts[Status.CLEAN] == 1
    assert found.delays.count == 0


def test_a_percentile_is_one_of_the_delays() -> None:
    checks = [
        verdict(build(f"b{seconds}"), uploaded=ago(hours=1), given=ago(seconds=3600 - seconds))
        for seconds in range(1, 101)
    ]
    assert judged(*checks).delays == Delays(
        count=100, median_seconds=50, p95_seconds=95, max_seconds=100
    )


def test_damaged_content_is_not_a_failed_scan() -> None:
    damaged = "a: cannot be scanned whole: zip: cut short"
    bad = verdict(build(), uploaded=ago(hours=1), given=ago(hours=1), errors=(damaged,))
    found = judged(bad)
    assert found.criteria[2].kept
    assert [each.cause for each in found.errors] == [Cause.CONTENT]


def test_an_error_of_unknown_cause_counts_as_a_failure() -> None:
    old = replace(
        verdict(build(), uploaded=ago(hours=1), given=ago(hours=1), errors=("x",)),
        log="error: x in a",
    )
    assert not judged(old).criteria[2].kept


@pytest.mark.parametrize(("clean", "kept"), [(98, False), (99, True), (200, True)])
def test_at_most_one_percent_of_the_verdicts_may_be_failures(clean: int, *, kept: bool) -> None:
    bad = verdict(build(), uploaded=ago(hours=1), given=ago(hours=1), errors=("unreadable",))
    good = [
        verdict(build(f"b{number}"), uploaded=ago(hours=1), given=ago(hours=1))
        for number in range(clean)
    ]
    found = judged(bad, *good)
    assert found.criteria[2].kept is kept
    assert [(each.build, each.reason) for each in found.errors] == [("build", "a: unreadable")]


def test_a_detection_has_build_file_and_virus() -> None:
    of = build(files=("game_x1.zip",))
    (found,) = judged(
        verdict(of, uploaded=ago(hours=1), given=ago(hours=1), virus="Eicar")
    ).detections
    assert (found.build, found.file, found.virus, found.time) == (
        *("build", "game_x1.zip", "Eicar"),
        ago(hours=1),
    )


def test_the_engine_is_that_of_the_latest_verdict() -> None:
    latest = verdict(build(), uploaded=ago(days=3), given=ago(days=3))
    found = report(replace(EMPTY, latest=latest))
    assert found.engine == "ClamAV 1.4.6, signatures 27800 of 2026-04-30"
    assert found.last_verdict == ago(days=3)


def test_checks_are_counted_by_status() -> None:
    of = build(updated=ago(minutes=1))
    counts = {Status.CLEAN: 100_000, Status.INFECTED: 3, Status.ERROR: 0}
    found = report(replace(EMPTY, unsettled=((check(of), of),), counts=counts))
    assert {str(status): number for status, number in found.checks.items()} == {
        "pending": 1,
        "scanning": 0,
        "clean": 100_000,
        "infected": 3,
        "error": 0,
    }
