"""The order of scans: each build is taken once, and neither kind of build starves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avscan.backend.backlog import MAX_TAKES, PROMISE, Backlog
from avscan.backend.discovery import Job

NOW = datetime(2025, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def fresh(build: str, age: int = 0) -> Job:
    return Job(build=build, uploaded=NOW - age * SECOND)


def late(build: str, age: int = 0) -> Job:
    return Job(build=build, uploaded=NOW - PROMISE - age * SECOND)


def interrupted(build: str, times: int, age: int = 0) -> Job:
    return Job(build=build, uploaded=NOW - age * SECOND, interruptions=times)


def order(*jobs: Job) -> str:
    backlog = Backlog()
    backlog.add(jobs)
    return "".join(job.build for job in drained(backlog))


def drained(backlog: Backlog) -> list[Job]:
    taken = []
    while (job := backlog.take(NOW)) is not None:
        taken.append(job)
    return taken


jobs = st.lists(
    st.builds(
        Job,
        build=st.text("abc", min_size=1, max_size=3),
        uploaded=st.integers(0, 1200).map(lambda age: NOW - age * SECOND),
        interruptions=st.integers(0, 3),
    ),
    max_size=30,
)


def test_an_empty_backlog_returns_none() -> None:
    backlog = Backlog()
    assert backlog.take(NOW) is None
    assert not backlog


@pytest.mark.parametrize(
    ("waiting", "taken"),
    [
        ([fresh("c", 1), fresh("a", 3), fresh("b", 2)], "abc"),
        ([late("c", 1), late("a", 3), late("b", 2)], "abc"),
        ([*map(fresh, "abc"), *map(late, "xyz")], "axbycz"),
        ([fresh("a"), *map(late, "xyz")], "axyz"),
        ([*map(fresh, "abc"), late("x")], "axbc"),
        ([late("x"), late("a", -1)], "ax"),
        (
            [interrupted("z", 2, 9999), interrupted("y", 1), *map(late, "wx"), *map(fresh, "ab")],
            "awbxyz",
        ),
        ([interrupted("b", 1, 1), interrupted("a", 1), interrupted("c", 1, 2)], "cba"),
    ],
    ids=[
        "oldest-first",
        "oldest-first-if-late",
        "fresh-and-late-alternate",
        "late-continue",
        "fresh-continue",
        "fresh-until-the-promised-time-is-over",
        "interrupted-last-fewest-interruptions-first",
        "equally-interrupted-oldest-first",
    ],
)
def test_the_order_of_scans(waiting: list[Job], taken: str) -> None:
    assert order(*waiting) == taken


def test_a_fresh_build_waits_for_at_most_one_late_build() -> None:
    backlog = Backlog()
    backlog.add(map(late, "uvwxyz"))
    backlog.add([fresh("a")])
    backlog.take(NOW)
    backlog.take(NOW)
    backlog.add([fresh("b")])
    following = [backlog.take(NOW), backlog.take(NOW)]
    assert fresh("b") in following


def test_a_build_that_waits_becomes_late() -> None:
    backlog = Backlog()
    backlog.add([fresh("a"), fresh("b", -600)])
    assert backlog.take(NOW + PROMISE) == fresh("b", -600)
    assert backlog.take(NOW + PROMISE) == fresh("a")


def test_a_build_that_waits_again_goes_after_all_others() -> None:
    backlog = Backlog()
    backlog.add([fresh("a")])
    assert backlog.take(NOW) == fresh("a")
    backlog.add([fresh("a"), late("x"), late("y")])
    assert "".join(job.build for job in drained(backlog)) == "xya"


def test_a_build_that_keeps_waiting_does_not_prolong_a_pass_forever() -> None:
    backlog = Backlog()
    for _ in range(MAX_TAKES):
        backlog.add([fresh("a")])
        assert len(drained(backlog)) == 1
    backlog.add([fresh("a")])
    assert not backlog
    backlog.add([fresh("a", -5)])
    assert backlog.take(NOW) == fresh("a", -5)


def test_a_build_that_was_put_aside_goes_after_all_others_but_the_interrupted_ones() -> None:
    backlog = Backlog()
    backlog.add([interrupted("z", 1), late("a", 9), late("x"), fresh("b")])
    assert backlog.take(NOW) == fresh("b")
    heavy = backlog.take(NOW)
    assert heavy == late("a", 9)
    backlog.put_aside(heavy)
    backlog.add([fresh("c")])
    assert "".join(job.build for job in drained(backlog)) == "cxaz"


def test_a_build_may_be_put_aside_any_number_of_times() -> None:
    backlog = Backlog()
    backlog.add([fresh("a")])
    for _ in range(MAX_TAKES + 1):
        heavy = backlog.take(NOW)
        assert heavy == fresh("a")
        backlog.put_aside(heavy)
    assert len(backlog) == 1


@given(jobs=jobs)
def test_every_build_is_taken_once_however_often_it_is_added(jobs: list[Job]) -> None:
    backlog = Backlog()
    backlog.add(jobs)
    backlog.add(jobs)
    builds = {job.build for job in jobs}
    assert len(backlog) == len(builds)
    taken = [job.build for job in drained(backlog)]
    assert len(taken) == len(builds)
    assert set(taken) == builds


@given(jobs=jobs)
def test_the_two_kinds_alternate_while_both_wait(jobs: list[Job]) -> None:
    backlog = Backlog()
    backlog.add(jobs)
    kinds = [is_late(job) for job in drained(backlog) if not job.interruptions]
    for position, (one, next_one) in enumerate(pairwise(kinds)):
        assert one is not next_one or (not one) not in kinds[position + 1 :]


@given(jobs=jobs)
def test_each_kind_goes_oldest_first_and_the_interrupted_ones_last_of_all(jobs: list[Job]) -> None:
    backlog = Backlog()
    backlog.add(jobs)
    taken = drained(backlog)
    assert [bool(job.interruptions) for job in taken] == sorted(
        bool(job.interruptions) for job in taken
    )
    for kind in (False, True):
        same = [job.uploaded for job in taken if is_late(job) is kind and not job.interruptions]
        assert same == sorted(same)
    last = [(job.interruptions, job.uploaded) for job in taken if job.interruptions]
    assert last == sorted(last)


def is_late(job: Job) -> bool:
    return job.uploaded <= NOW - PROMISE
