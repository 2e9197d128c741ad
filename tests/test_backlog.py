"""The order of the scans: nobody starves, nobody comes twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from avscan.backend.backlog import PROMISE, TURNS, Backlog
from avscan.backend.discovery import Job

NOW = datetime(2025, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def fresh(build: str, age: int = 0) -> Job:
    return Job(build=build, uploaded=NOW - age * SECOND)


def late(build: str, age: int = 0) -> Job:
    return Job(build=build, uploaded=NOW - PROMISE - age * SECOND)


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


def test_an_empty_backlog_has_nothing() -> None:
    backlog = Backlog()
    assert backlog.take(NOW) is None
    assert not backlog


def test_the_oldest_goes_first() -> None:
    assert order(fresh("c", 1), fresh("a", 3), fresh("b", 2)) == "abc"
    assert order(late("c", 1), late("a", 3), late("b", 2)) == "abc"


def test_fresh_and_late_builds_take_turns() -> None:
    assert order(*map(fresh, "abc"), *map(late, "xyz")) == "axbycz"


def test_one_kind_goes_on_when_the_other_is_done() -> None:
    assert order(fresh("a"), *map(late, "xyz")) == "axyz"
    assert order(*map(fresh, "abc"), late("x")) == "axbc"


def test_a_build_is_late_from_the_promise_on() -> None:
    on_time = Job(build="a", uploaded=NOW - PROMISE + SECOND)
    assert order(late("x"), on_time) == "ax"


def test_a_fresh_build_waits_for_one_late_build_at_the_most() -> None:
    backlog = Backlog()
    backlog.add(map(late, "uvwxyz"))
    backlog.add([fresh("a")])
    backlog.take(NOW)
    backlog.take(NOW)
    backlog.add([fresh("b")])
    following = [backlog.take(NOW), backlog.take(NOW)]
    assert fresh("b") in following


def test_a_late_build_waits_for_one_fresh_build_at_the_most() -> None:
    backlog = Backlog()
    backlog.add([late("x")])
    backlog.add(map(fresh, "abc"))
    assert late("x") in [backlog.take(NOW), backlog.take(NOW)]


def test_a_build_that_waits_becomes_late() -> None:
    backlog = Backlog()
    backlog.add([fresh("a"), fresh("b", -600)])
    assert backlog.take(NOW + PROMISE) == fresh("b", -600)
    assert backlog.take(NOW + PROMISE) == fresh("a")


def test_interrupted_builds_go_last_the_most_often_interrupted_at_the_very_end() -> None:
    twice = Job(build="z", uploaded=NOW - 9 * PROMISE, interruptions=2)
    once = Job(build="y", uploaded=NOW - 9 * PROMISE, interruptions=1)
    assert order(twice, once, late("x"), late("w", 1)) == "wxyz"


def test_an_interrupted_build_does_not_starve_among_fresh_ones() -> None:
    poison = Job(build="z", uploaded=NOW, interruptions=2)
    assert order(poison, *map(fresh, "abcd")) == "azbcd"


def test_a_build_that_waits_again_takes_turns_with_the_late_ones() -> None:
    backlog = Backlog()
    backlog.add([fresh("a")])
    assert backlog.take(NOW) == fresh("a")
    backlog.add([fresh("a"), late("x"), late("y")])
    assert "".join(job.build for job in drained(backlog)) == "xay"


def test_a_build_that_waits_again_and_again_does_not_keep_a_pass_from_its_end() -> None:
    backlog = Backlog()
    for _ in range(TURNS):
        backlog.add([fresh("a")])
        assert len(drained(backlog)) == 1
    backlog.add([fresh("a")])
    assert not backlog
    backlog.add([fresh("a", -5)])
    assert backlog.take(NOW) == fresh("a", -5)


def test_a_build_in_the_middle_of_its_scan_lets_all_others_go_first() -> None:
    backlog = Backlog()
    backlog.add([late("a", 9), late("x"), fresh("b")])
    assert backlog.take(NOW) == fresh("b")
    long = backlog.take(NOW)
    assert long == late("a", 9)
    backlog.resume(long)
    backlog.add([fresh("c")])
    assert "".join(job.build for job in drained(backlog)) == "cxa"


def test_an_upload_that_comes_meanwhile_goes_before_the_rest_of_a_long_scan() -> None:
    backlog = Backlog()
    backlog.add([fresh("a")])
    long = backlog.take(NOW)
    assert long is not None
    backlog.resume(long)
    backlog.add([fresh("b")])
    assert backlog.take(NOW) == fresh("b")


def test_a_build_in_the_middle_of_its_scan_waits_for_one_of_each_kind_at_the_most() -> None:
    backlog = Backlog()
    backlog.add([fresh("a")])
    long = backlog.take(NOW)
    assert long is not None
    backlog.resume(long)
    backlog.add(map(fresh, "bcd"))
    backlog.add(map(late, "uvwxyz"))
    taken = [job.build for job in drained(backlog)]
    assert taken.index("a") <= 3


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
def test_no_two_of_one_kind_in_a_row_while_the_other_kind_waits(jobs: list[Job]) -> None:
    backlog = Backlog()
    backlog.add(jobs)
    taken = drained(backlog)
    kinds = [bool(job.interruptions) or job.uploaded <= NOW - PROMISE for job in taken]
    for position, (one, next_one) in enumerate(pairwise(kinds)):
        assert one is not next_one or (not one) not in kinds[position + 1 :]


@given(jobs=jobs)
def test_each_kind_goes_by_interruptions_then_age(jobs: list[Job]) -> None:
    backlog = Backlog()
    backlog.add(jobs)
    taken = drained(backlog)
    is_late = {job: bool(job.interruptions) or job.uploaded <= NOW - PROMISE for job in taken}
    for kind in (False, True):
        same = [(job.interruptions, job.uploaded) for job in taken if is_late[job] is kind]
        assert same == sorted(same)
