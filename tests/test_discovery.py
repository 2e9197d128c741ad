"""Discovery of work: comparisons, and queries of real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend import Backend

from avscan.backend import discovery, journal, pocketbase
from avscan.backend.discovery import (
    LATELY,
    UPLOAD_TIME,
    Job,
    Plan,
    Verdicts,
    compare_large,
    compare_recent,
    compared,
    id_ranges,
    is_due,
    is_outdated,
    job_of,
    plans,
)
from avscan.backend.journal import Interruption
from avscan.backend.pocketbase import PocketBase
from avscan.errors import SchemaError
from avscan.records import BUILDS, CHECKS, Build, Check, Status, format_time, parse_time

NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
STUCK_AFTER = timedelta(seconds=90)
LONG_AGO = "2020-01-01 00:00:00.000Z"
BUILD = Build(id="abc", files=("a.txt", "b.txt"), created=NOON, updated=NOON)
CHECK = Check(
    id="xyz",
    build="abc",
    status=Status.CLEAN,
    virus_name="",
    scan_time=NOON,
    log=f"clean: x\nfiles: 2, digest {journal.digest(['b.txt', 'a.txt'])}",
    created=NOON,
    updated=NOON,
)


# -- pure -----------------------------------------------------------------------------------------


def test_a_verdict_about_the_same_files_is_current_after_an_edit() -> None:
    assert not is_outdated(CHECK, replace(BUILD, updated=NOON + timedelta(days=9)))


@pytest.mark.parametrize("files", [(), ("a.txt",), ("a.txt", "c.txt"), ("a.txt", "b.txt", "c.txt")])
def test_a_verdict_about_other_files_is_outdated(files: tuple[str, ...]) -> None:
    assert is_outdated(CHECK, replace(BUILD, files=files))


@pytest.mark.parametrize("status", [Status.PENDING, Status.SCANNING])
def test_an_unsettled_check_is_never_outdated(status: Status) -> None:
    assert not is_outdated(replace(CHECK, status=status), replace(BUILD, files=("c.txt",)))


@pytest.mark.parametrize(
    ("scan_time", "written", "outdated"),
    [
        (NOON, NOON, False),
        (NOON - SECOND, NOON, True),
        (NOON + SECOND, NOON, False),
        (None, NOON, False),
        (None, NOON - SECOND, True),
    ],
)
def test_a_verdict_without_a_digest_is_current_until_the_build_changes(
    scan_time: datetime | None, written: datetime, *, outdated: bool
) -> None:
    check = replace(CHECK, log="by hand", scan_time=scan_time, updated=written)
    assert is_outdated(check, BUILD) is outdated


@pytest.mark.parametrize(
    ("files", "age", "due"),
    [
        (("a.txt",), timedelta(), True),
        ((), timedelta(), False),
        ((), UPLOAD_TIME, False),
        ((), UPLOAD_TIME + SECOND, True),
    ],
)
def test_a_build_without_files_is_uploading_for_an_hour(
    files: tuple[str, ...], age: timedelta, *, due: bool
) -> None:
    assert is_due(replace(BUILD, files=files), NOON + age) is due


def test_a_new_build_is_one_with_files_and_no_check() -> None:
    empty = replace(BUILD, id="empty", files=())
    known = replace(BUILD, id="known")
    assert compared([BUILD, empty, known], [replace(CHECK, build="known")]) == Plan(new=(BUILD,))


def test_each_outdated_check_of_a_build_is_changed() -> None:
    good, bad = CHECK, replace(CHECK, id="bad", log="", scan_time=NOON - SECOND)
    worse = replace(bad, id="worse")
    assert compared([BUILD], [good, bad, worse]) == Plan(changed=((bad, BUILD), (worse, BUILD)))


ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=15, max_size=15)


@given(number=st.integers(1, 200), record=ids)
def test_each_id_is_in_exactly_one_range(number: int, record: str) -> None:
    holding = [
        (low, high)
        for low, high in id_ranges(number)
        if record >= low and (not high or record < high)
    ]
    assert len(list(id_ranges(number))) == number
    assert len(holding) == 1


@given(builds=st.sets(ids, max_size=20), checked=st.sets(ids, max_size=20), empty=st.sets(ids))
def test_every_build_with_files_is_new_or_has_a_check(
    builds: set[str], checked: set[str], empty: set[str]
) -> None:
    known = [replace(BUILD, id=each, files=() if each in empty else BUILD.files) for each in builds]
    plan = compared(known, [replace(CHECK, build=each) for each in checked])
    assert {build.id for build in plan.new} == builds - checked - empty


ROW = {"id": "abc", "build": "def", "status": "clean", "created": LONG_AGO, "updated": LONG_AGO}


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": 7},
        {"status": None},
        {"created": None},
        {"updated": "yesterday"},
    ],
)
def test_a_check_that_can_not_be_parsed_is_a_schema_error(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(SchemaError, match=f"{CHECKS}.{name} .*avscan init"):
        Check.parse(ROW | change)


def test_a_row_without_a_time_is_old() -> None:
    assert Check.parse(ROW | {"created": "", "updated": ""}).updated.year == 1970
    assert Build.parse(ROW | {"files": [], "updated": ""}).updated.year == 1970


def test_an_unknown_status_is_none() -> None:
    check = Check.parse(ROW | {"status": "appealed"})
    assert check.status is None
    assert not check.settled


@pytest.mark.parametrize("change", [{"files": 7}, {"id": None}, {"updated": None}])
def test_a_build_that_can_not_be_parsed_is_a_schema_error(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(SchemaError, match=f"{BUILDS}.{name} "):
        Build.parse(ROW | {"files": []} | change)


@pytest.mark.parametrize(
    ("files", "names"),
    [([], ()), (["a"], ("a",)), (["a", "b"], ("a", "b")), ("a", ("a",)), ("", ())],
)
def test_a_field_for_a_single_file_is_parsed_like_one_for_several(
    files: object, names: tuple[str, ...]
) -> None:
    assert Build.parse(ROW | {"files": files}).files == names


@given(moment=st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_time_is_formatted_as_the_server_compares_it_and_parsed_back(moment: datetime) -> None:
    text = format_time(moment)
    assert len(text) == len(LONG_AGO)
    assert parse_time(text) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_an_invalid_time_is_none() -> None:
    assert parse_time("") is None
    assert parse_time("yesterday") is None


def test_a_plan_is_filtered_by_builds() -> None:
    other = replace(BUILD, id="other")
    pairs = ((CHECK, BUILD), (replace(CHECK, build="other"), other))
    plan = Plan(
        orphans=tuple(check for check, _ in pairs),
        stuck=pairs,
        changed=pairs,
        new=(BUILD, other),
        jobs=(job_of(BUILD), job_of(other)),
    )
    assert plan.only(lambda build: build == "abc") == Plan(
        orphans=(CHECK,), stuck=pairs[:1], changed=pairs[:1], new=(BUILD,), jobs=(job_of(BUILD),)
    )


# -- real servers ---------------------------------------------------------------------------------


def signed_in(backend: Backend) -> PocketBase:
    client = backend.client()
    client.sign_in()
    return client


def plan_of(backend: Backend) -> Plan:
    """Return the only plan for a small backend."""
    (plan,) = plans(signed_in(backend), stuck_after=STUCK_AFTER, full=False)
    return plan


def recent(backend: Backend, *, later: timedelta = timedelta()) -> Plan:
    """Return the plans for recent changes as one."""
    client = signed_in(backend)
    found = list(compare_recent(client, now=client.server_time() + later, stuck_after=STUCK_AFTER))
    assert not any(plan.jobs for plan in found[1:])
    return replace(
        found[0],
        changed=tuple(pair for plan in found for pair in plan.changed),
        new=tuple(build for plan in found for build in plan.new),
    )


def ids_of(pairs: Iterable[tuple[Check, Build]]) -> set[str]:
    return {build.id for _, build in pairs}


def judged(backend: Backend, build: str, *, files: Iterable[str] | None = None) -> str:
    """Create the verdict that a pass would write about these files."""
    names = backend.file_names(build) if files is None else files
    log = f"clean: x\nfiles: 1, digest {journal.digest(names)}\n" + "more\n" * 200
    moment = format_time(Build.parse(backend.build(build)).updated)
    return backend.create_check(build, status="clean", scan_time=moment, log=log)


def test_pending_checks_are_jobs_with_their_interruptions(every_backend: Backend) -> None:
    backend = every_backend
    build = backend.upload({"a.txt": b"a game"})
    found = Build.parse(backend.build(build))
    interrupted = [Interruption(file=found.files[0], times=2, reason="signal 15")]
    backend.create_check(build, log=journal.pending("x", interruptions=interrupted, limit=5000))
    assert plan_of(backend) == Plan(jobs=(job_of(found, interrupted),))


def test_checks_of_builds_without_files_are_no_jobs_yet(every_backend: Backend) -> None:
    backend = every_backend
    build = backend.create_empty_build()
    backend.create_check(build)
    assert plan_of(backend) == Plan()
    backend.backdate(BUILDS, build, updated=LONG_AGO)
    assert [job.build for job in plan_of(backend).jobs] == [build]


def test_a_check_without_a_recent_heartbeat_is_stuck(every_backend: Backend) -> None:
    backend = every_backend
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(2)]
    checks = [backend.create_check(build, status="scanning") for build in builds]
    now = signed_in(backend)
    now.sign_in()
    past = now.server_time() - STUCK_AFTER
    backend.backdate(CHECKS, checks[0], updated=format_time(past - 9 * SECOND))
    backend.backdate(CHECKS, checks[1], updated=format_time(past + 30 * SECOND))
    assert ids_of(plan_of(backend).stuck) == {builds[0]}


def test_a_check_whose_build_is_gone_is_an_orphan(every_backend: Backend) -> None:
    backend = every_backend
    check = backend.create_check(backend.upload({"a.txt": b"a game"}))
    backend.sql("DELETE FROM app_builds")
    plan = plan_of(backend)
    assert [orphan.id for orphan in plan.orphans] == [check]
    assert plan == Plan(orphans=plan.orphans)


def a_world(backend: Backend) -> tuple[str, str]:
    """Create builds of each kind; return the new one and the changed one."""
    new = backend.upload({"a.txt": b"a game"})
    changed = backend.upload({"a.txt": b"a game"})
    judged(backend, changed, files=["another_abcdefghij.txt"])
    # The build was updated after the verdict.
    backend.sql("UPDATE av_build_checks SET scan_time = ?", LONG_AGO)
    judged(backend, backend.upload({"a.txt": b"a game"}))
    edited = backend.upload({"a.txt": b"a game"})
    judged(backend, edited)
    backend.edit(edited, entrypoint="game")
    backend.sql("UPDATE av_build_checks SET updated = ?", LONG_AGO)  # no verdict is stuck
    backend.create_empty_build()
    backend.create_check(backend.upload({"a.txt": b"a game"}))
    return new, changed


@pytest.mark.parametrize("find", [plan_of, recent])
def test_new_changed_and_waiting_builds_are_found(
    every_backend: Backend, find: Callable[[Backend], Plan]
) -> None:
    new, changed = a_world(every_backend)
    plan = find(every_backend)
    assert [build.id for build in plan.new] == [new]
    assert ids_of(plan.changed) == {changed}
    assert len(plan.jobs) == 1
    assert (plan.stuck, plan.orphans) == ((), ())


def test_builds_that_changed_long_ago_are_compared_only_on_a_small_backend(
    backend: Backend,
) -> None:
    new, _ = a_world(backend)
    backend.backdate(BUILDS, new, updated=LONG_AGO)
    assert [build.id for build in plan_of(backend).new] == [new]
    assert recent(backend).new == ()
    later = recent(backend, later=LATELY + timedelta(minutes=1))
    assert later == Plan(jobs=later.jobs)
    assert len(later.jobs) == 1


def test_more_builds_than_fit_into_a_filter_are_requested_in_parts(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_IDS_PER_FILTER", 1)
    new, changed = a_world(backend)
    plan = recent(backend)
    assert [build.id for build in plan.new] == [new]
    assert ids_of(plan.changed) == {changed}


def test_pocketbase_accepts_the_longest_filter(every_backend: Backend) -> None:
    ids = [f"{number:015}" for number in range(discovery._IDS_PER_FILTER)]  # noqa: SLF001 - what is sent
    where = pocketbase.any_of("build", ids)
    assert signed_in(every_backend).page(CHECKS, where=where) == []


@pytest.mark.parametrize(("full", "parts", "requests"), [(False, 1, 3), (True, 2, 7)])
def test_a_backend_with_a_full_page_is_not_small(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, *, full: bool, parts: int, requests: int
) -> None:
    backend.init()
    new, _ = a_world(backend)
    monkeypatch.setattr(discovery, "PAGE", 2)
    client = signed_in(backend)
    before = client.requests_made
    found = list(plans(client, stuck_after=STUCK_AFTER, full=full))
    assert [build.id for build in found[0].new] == [new]
    assert (len(found), client.requests_made - before) == (parts, requests)


def test_without_the_index_many_builds_are_not_compared_but_the_recent_ones_are_found(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, _ = a_world(backend)
    monkeypatch.setattr(discovery, "PAGE", 2)
    found = plans(signed_in(backend), stuck_after=STUCK_AFTER, full=True)
    assert [build.id for build in next(found).new] == [new]
    with pytest.raises(SchemaError, match=r"no unique index on build.*init --fix"):
        next(found)


def test_a_verdict_by_hand_without_a_time_is_about_the_files_at_its_update(
    every_backend: Backend,
) -> None:
    backend = every_backend
    backend.init()
    stands, replaced = (backend.upload({"a.txt": b"a game"}) for _ in range(2))
    for build in (stands, replaced):
        backend.create_check(build, status="clean", log="by hand")
    backend.replace_files(replaced, {"b.txt": b"another game"})
    found = list(compare_large(signed_in(backend)))
    assert set().union(*(ids_of(plan.changed) for plan in found)) == {replaced}


def test_a_large_backend_is_compared_in_parts(
    every_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = every_backend
    monkeypatch.setattr(discovery, "PART", 2)
    backend.init()
    new, changed = a_world(backend)
    plans = list(compare_large(signed_in(backend)))
    assert len(plans) == 4
    assert [build.id for plan in plans for build in plan.new] == [new]
    assert set().union(*(ids_of(plan.changed) for plan in plans)) == {changed}


def test_verdicts_before_a_moment_are_listed_oldest_first(every_backend: Backend) -> None:
    backend = every_backend
    days = {"clean": 3, "infected": 1, "error": 2}
    checks = {}
    for status, day in days.items():
        build = backend.upload({"a.txt": b"a game"})
        moment = f"2025-05-{day:02} 12:00:00.000Z"
        checks[status] = backend.create_check(
            build, status=status, scan_time=moment, log=f"{status}: why"
        )
    backend.create_check(backend.upload({"a.txt": b"a game"}))
    client = signed_in(backend)

    def listed(status: Status | None, day: int) -> list[str]:
        wanted = Verdicts(status=status, before=datetime(2025, 5, day, tzinfo=UTC))
        pages = [[*discovery.verdicts(client, wanted, page=size)] for size in (1, 2, 9)]
        assert pages[0] == pages[1] == pages[2]
        return [check.id for check in pages[0]]

    assert listed(None, 9) == [checks["infected"], checks["error"], checks["clean"]]
    assert listed(None, 3) == [checks["infected"], checks["error"]]
    assert listed(Status.CLEAN, 9) == [checks["clean"]]


AV_SERVICES = [
    ("clean", "File: game.tar.gz\n----------- SCAN SUMMARY -----------\nInfected files: 0"),
    ("clean", "No files to scan"),
    ("infected", "File: game.tar.gz\n/tmp/x_game.tar.gz: Worm FOUND\n\nInfected files: 1"),
    ("error", "File scan failed: Error: Download failed\n\nFile: game.tar.gz\nERROR: Error"),
    ("error", "Failed to fetch records: ClientResponseError 404"),
]


@pytest.mark.parametrize(("status", "log_of_av_service"), AV_SERVICES)
def test_verdicts_of_av_service_are_listed_with_avscans_or_alone(
    every_backend: Backend, status: str, log_of_av_service: str
) -> None:
    backend = every_backend
    moment = "2025-05-01 12:00:00.000Z"
    assert journal.is_by_av_service(log_of_av_service, Status(status))
    found = []
    for log in (f"{status}: why", log_of_av_service):
        build = backend.upload({"a.txt": b"a game"})
        found.append(backend.create_check(build, status=status, scan_time=moment, log=log))
    client = signed_in(backend)
    listed = {check.id for check in discovery.verdicts(client, Verdicts(before=NOON + SECOND))}
    alone = Verdicts(before=NOON + SECOND, by_av_service=True)
    assert listed == {*found}
    assert [check.id for check in discovery.verdicts(client, alone)] == [found[1]]


@pytest.mark.parametrize(
    "log",
    [
        *("infected: EICAR in a.com", "error: clean: no", "by hand", ""),
        *(log for status, log in AV_SERVICES if status != "clean"),
    ],
)
def test_a_verdict_that_was_corrected_by_hand_is_not_listed(
    every_backend: Backend, log: str
) -> None:
    backend = every_backend
    build = backend.upload({"a.txt": b"a game"})
    moment = "2025-05-01 12:00:00.000Z"
    backend.create_check(build, status="clean", scan_time=moment, log=log)
    assert not journal.is_by_av_service(log, Status.CLEAN)
    assert not [*discovery.verdicts(signed_in(backend), Verdicts(before=NOON + SECOND))]


def test_a_job_has_the_upload_time_the_files_and_the_interruptions() -> None:
    interrupted = [Interruption(file="a", times=2), Interruption(file="b", times=1)]
    assert job_of(BUILD, interrupted) == Job(
        build="abc", uploaded=NOON, files=BUILD.files, interruptions=3
    )
