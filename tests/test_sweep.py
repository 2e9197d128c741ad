"""A pass in the test's process, over a real PocketBase, with a scripted engine."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from chaos.gate import eventually
from support.backend import Backend
from support.proxy import Answer, Proxy, Request, request_to
from support.scanner import ScriptedInspector, ScriptedScanner
from support.sweeps import GIB, Pass, a_pass_over

from avscan import scans
from avscan import sweep as sweeps
from avscan.backend import deadline, discovery, fetch
from avscan.backend.claims import INTERRUPTIONS, Claim
from avscan.backend.fetch import SCAN_ROOM, Fetched, Fetcher, StorageError
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.errors import BackendError, EngineError, Interrupted, SchemaError, WorkspaceError
from avscan.events import (
    Downloading,
    Event,
    Scanned,
    Scanning,
    Settled,
    Unsettled,
)
from avscan.findings import Examination, Sighting
from avscan.inspector.process import Broken
from avscan.records import CHECKS, Build
from avscan.scans import MAX_QUEUED

LONG_AGO = "2020-01-01 00:00:00.000Z"


@pytest.fixture
def one(backend: Backend, tmp_path: Path) -> Iterator[Pass]:
    with a_pass_over(backend, tmp_path / "work") as one:
        yield one


def log_of(backend: Backend, build: str) -> str:
    check = backend.check_of(build)
    assert check is not None
    return str(check["log"])


# -- discovery during a pass -----------------------------------------------------------------------


def test_new_builds_are_discovered_after_a_long_comparison_without_results(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PAGE", 1)
    one.backend.init()
    one.backend.create_check(one.backend.upload({"a.txt": b"old"}), status="clean")

    def a_minute_later(_client: PocketBase) -> None:
        one.backend.create_check(one.backend.upload({"a.txt": b"new"}))
        one.clock.now += sweeps.REDISCOVER

    monkeypatch.setattr(discovery, "require_one_check", a_minute_later)
    assert one.run().clean == 1
    assert one.script.seen == [b"new"]


def test_a_long_pass_compares_all_builds_on_a_full_turn(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old build without a check does not wait for the end of the pass."""
    monkeypatch.setattr(discovery, "PAGE", 1)
    monkeypatch.setattr(fetch, "QUEUED", 0)
    one.backend.init()
    for _ in range(8):
        one.backend.upload({"a.txt": b"new"})
    forgotten = one.backend.upload({"a.txt": b"forgotten"})
    one.backend.backdate("app_builds", forgotten, updated="2020-01-01 00:00:00.000Z")

    def a_minute_later(event: Event) -> None:
        if isinstance(event, Settled):
            one.clock.now += sweeps.REDISCOVER

    one.listen = a_minute_later
    one.full = False
    one.full_turn = lambda: True
    assert one.run().clean == 9
    assert one.script.seen[-1] == b"new"


def test_a_pass_that_cannot_compare_all_builds_scans_new_ones_and_fails(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PAGE", 1)
    new = one.backend.upload({"a.txt": b"new"})
    with pytest.raises(SchemaError, match="init --fix"):
        one.run()
    assert one.backend.status_of(new) == "clean"


def test_a_long_pass_continues_if_it_cannot_compare_all_builds(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PAGE", 1)
    for _ in range(3):
        one.backend.upload({"a.txt": b"new"})

    def a_minute_later(event: Event) -> None:
        if isinstance(event, Settled):
            one.clock.now += sweeps.REDISCOVER

    one.listen = a_minute_later
    one.full = False
    turns = iter([False])
    one.full_turn = lambda: next(turns, True)
    assert one.run().clean == 3


def test_a_long_comparison_is_interleaved_with_scans(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two scans, one part of it is opened."""
    monkeypatch.setattr(discovery, "PAGE", 1)
    monkeypatch.setattr(discovery, "PART", 1)
    one.backend.init()
    for number in range(12):
        old = one.backend.upload({"a.txt": b"%d" % number})
        one.backend.backdate("app_builds", old, updated="2020-01-01 00:00:00.000Z")
    for _ in range(4):
        one.backend.upload({"a.txt": b"new"})
    opened: list[int] = []

    def a_minute_later(event: Event) -> None:
        if isinstance(event, Settled):
            one.clock.now += sweeps.REDISCOVER
            opened.append(len(one.backend.checks()))

    one.listen = a_minute_later
    one.full = False
    one.full_turn = lambda: True
    assert one.run().clean == 16
    assert opened[2] < 16


def test_the_signatures_load_while_checks_are_written(one: Pass) -> None:
    one.backend.upload({"a.txt": b"a game"})
    written: list[int] = []
    one.script.loading = lambda: written.append(len(one.backend.checks()))
    assert one.run().clean == 1
    assert written[0] == 0


def test_checks_are_written_even_if_the_engine_does_not_start(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise EngineError("clamscan is missing")

    monkeypatch.setattr(one.scanner, "version", fail)
    builds = [one.backend.upload({"a.txt": b"a game"}) for _ in range(2)]
    with pytest.raises(EngineError, match="missing"):
        one.run()
    assert [one.backend.status_of(build) for build in builds] == ["pending", "pending"]


# -- scans that end an inspector or the pass -------------------------------------------------------


def breaks_at(content: bytes) -> Callable[[bytes], Examination | Broken]:
    def examine(found: bytes) -> Examination | Broken:
        return Broken(reason="the inspector died") if found == content else Examination()

    return examine


def test_a_file_that_ends_every_inspector_becomes_an_error_and_others_are_scanned(
    one: Pass,
) -> None:
    poison = one.backend.upload({"a.txt": b"poison"})
    other = one.backend.upload({"a.txt": b"a game"})
    one.script.examine = breaks_at(b"poison")
    while one.backend.status_of(poison) == "pending" or not one.script.seen:
        one.run()
    assert one.script.seen == [b"poison", b"a game", b"poison", b"poison"]
    assert one.backend.status_of(other) == "clean"
    assert log_of(one.backend, poison).startswith("error: ")
    assert "begun 3 times and never ended (last: the inspector died)" in log_of(one.backend, poison)


def test_the_other_files_of_its_build_are_scanned(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"poison", "b.txt": b"virus"})
    one.script.examine = lambda content: (
        Broken(reason="the inspector died")
        if content == b"poison"
        else Examination(sightings=(Sighting(signature="Worm"),))
    )
    while one.backend.status_of(build) == "pending" or not one.script.seen:
        one.run()
    assert one.backend.status_of(build) == "infected"
    assert one.script.seen.count(b"poison") <= INTERRUPTIONS


def test_findings_before_the_death_of_an_inspector_count(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})

    class Dying(ScriptedInspector):
        @property
        def examination(self) -> Examination:
            return Examination(sightings=(Sighting(signature="Worm"),))

    one.scanner = ScriptedScanner(one.script, one.disk, kind=Dying)
    one.script.examine = breaks_at(b"a game")
    assert one.run().infected == 1
    assert "the inspector died" in log_of(one.backend, build)


def test_a_bug_that_ends_the_pass_is_an_interruption_of_the_current_file(one: Pass) -> None:
    poison = one.backend.upload({"a.txt": b"poison"})
    other = one.backend.upload({"a.txt": b"a game"})

    def fail(content: bytes) -> Examination:
        if content == b"poison":
            raise ZeroDivisionError
        return Examination()

    one.script.examine = fail
    for _ in range(INTERRUPTIONS):
        with pytest.raises(ZeroDivisionError):
            one.run()
        one.scanner = ScriptedScanner(one.script, one.disk)
    one.run()
    assert one.backend.status_of(other) == "clean"
    assert one.backend.status_of(poison) == "error"
    assert "interrupted" not in log_of(one.backend, other)


@pytest.mark.parametrize("kind", [EngineError("no canary"), BackendError("no network")])
def test_an_error_of_the_installation_is_not_an_interruption(one: Pass, kind: Exception) -> None:
    build = one.backend.upload({"a.txt": b"a game"})

    def fail(_: bytes) -> Examination:
        raise kind

    one.script.examine = fail
    with suppress(EngineError):
        one.run()
    assert one.backend.status_of(build) == "pending"
    assert "interrupted" not in log_of(one.backend, build)


def test_an_engine_that_never_works_fails_the_pass_and_no_build(
    one: Pass,
) -> None:
    build = one.backend.upload({"a.txt": b"a game"})

    def examine(_: bytes) -> Broken:
        one.script.works = False
        return Broken(reason="the inspector died")

    one.script.examine = examine
    for _ in range(INTERRUPTIONS + 1):
        one.script.works = True
        with pytest.raises(EngineError):
            one.run()
        assert one.backend.status_of(build) == "pending"
        assert "interrupted" not in log_of(one.backend, build)


def test_nothing_is_claimed_before_an_inspector_is_ready(one: Pass) -> None:
    """A pass killed while it loads the signatures is not an interruption of a build."""
    build = one.backend.upload({"a.txt": b"a game"})
    one.script.loading = lambda: statuses.append(one.backend.status_of(build))
    one.script.works = False
    statuses: list[str | None] = []
    with pytest.raises(EngineError):
        one.run()
    assert "scanning" not in statuses
    assert one.backend.status_of(build) == "pending"


def test_a_full_disk_fails_the_pass_and_no_build(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})

    def fill(_: bytes) -> Broken:
        one.disk.room = 0
        return Broken(reason="the disk is full")

    one.script.examine = fill
    with pytest.raises(WorkspaceError):
        one.run()
    assert one.backend.status_of(build) == "pending"
    assert "interrupted" not in log_of(one.backend, build)


def test_a_file_that_takes_too_long_is_an_error_at_once(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"slow"})
    one.timeout = 600.0
    one.script.takes = lambda _: 1e9
    assert one.run().errors == 1
    assert "not scanned within 600 s" in log_of(one.backend, build)


# -- slow artifacts -------------------------------------------------------------------------------


def test_a_slow_artifact_delays_others_by_at_most_a_turn(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes ten minutes, and a small build is uploaded every 30 s.

    Downloads take no time by the pass's clock, so the clock waits for them.
    """
    backend, clock = one.backend, one.clock
    slow = backend.upload({"a.txt": b"slow"})
    uploaded: dict[str, float] = {}
    delays: list[float] = []
    downloads: list[Future[None]] = []

    def start(work: Callable[[], None]) -> Future[None]:
        downloads.append(deadline.start(work))
        return downloads[-1]

    def takes(content: bytes) -> float:
        if content == b"slow" and clock.now // 30 > len(uploaded):
            uploaded[backend.upload({"a.txt": b"small"})] = clock.now
        eventually(lambda: all(each.done() for each in downloads))
        return 600.0 if content == b"slow" else 1.0

    def settled(event: Event) -> None:
        if isinstance(event, Settled) and event.build.id in uploaded:
            delays.append(clock.now - uploaded[event.build.id])

    monkeypatch.setattr(fetch, "start", start)
    one.script.takes = takes
    one.listen = settled
    assert one.run().clean == len(delays) + 1
    assert backend.status_of(slow) == "clean"
    assert len(delays) >= len(uploaded) - 1  # the last one may miss the last discovery
    assert max(delays) <= 2 * 60 + 2  # one second is the small scan itself
    assert one.script.most == 2
    assert one.script.seen.count(b"slow") == 1  # it was resumed, not repeated


def test_no_other_build_is_claimed_while_a_slow_artifact_runs(one: Pass) -> None:
    """It may be what ends the pass, which would count against the other build too."""
    slow = one.backend.upload({"a.txt": b"slow"})
    for _ in range(9):
        one.backend.upload({"a.txt": b"small"})
    running: list[set[str]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Scanning) and event.build == slow:
            checks = one.backend.checks()
            running.append({each["build"] for each in checks if each["status"] == "scanning"})

    one.script.takes = lambda content: 600.0 if content == b"slow" else 50.0
    one.listen = listen
    assert one.run().clean == 10
    assert len(running) > 1
    assert running == [{slow}] * len(running)


def test_there_are_never_more_than_two_inspectors(one: Pass) -> None:
    backend = one.backend
    for number in range(3):
        backend.upload({"a.txt": b"slow %d" % number})
    small: list[str] = []

    def takes(content: bytes) -> float:
        if not small and one.clock.now > 100:
            small.append(backend.upload({"a.txt": b"small"}))
        return 300.0 if content.startswith(b"slow") else 1.0

    one.script.takes = takes
    assert one.run().clean == 4
    assert one.script.most == 2
    assert one.script.seen[0] == b"small"


def test_an_interrupted_build_is_scanned_last_and_alone(one: Pass) -> None:
    """It is scanned after all other builds, while none is paused."""
    backend = one.backend
    poison = backend.upload({"a.txt": b"poison"})
    backend.upload({"a.txt": b"slow"})
    running: list[int] = []

    def examine(content: bytes) -> Examination | Broken:
        if content == b"poison":
            running.append(one.script.running)
            return Broken(reason="the inspector died")
        return Examination()

    one.script.takes = lambda content: 200.0 if content == b"slow" else 0.0
    one.script.examine = examine
    one.run()
    assert one.script.seen[:2] == [b"poison", b"slow"]
    assert running == [1, 1, 1]
    assert backend.status_of(poison) == "error"


def test_a_failed_pause_leaves_no_result_for_the_next_file(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next build would get the findings of the slow one."""
    backend = one.backend
    slow = backend.upload({"a.txt": b"slow"})
    other = backend.upload({"a.txt": b"virus"})
    record = Ledger.inspect

    def inspect(ledger: Ledger, claim: Claim, file: str | None) -> bool:
        if file is None and claim.build.id == slow:
            raise BackendError("not now")
        return record(ledger, claim, file)

    monkeypatch.setattr(Ledger, "inspect", inspect)
    one.script.takes = lambda content: 600.0 if content == b"slow" else 0.0
    one.script.examine = lambda content: (
        Examination(sightings=(Sighting(signature="Worm"),))
        if content == b"virus"
        else Examination()
    )
    summary = one.run()
    assert (summary.infected, summary.failed) == (1, 1)
    assert backend.status_of(other) == "infected"
    assert backend.status_of(slow) == "pending"


def test_the_end_of_the_pass_is_not_an_interruption_of_a_paused_build(one: Pass) -> None:
    backend = one.backend
    slow = backend.upload({"a.txt": b"slow"})

    def takes(content: bytes) -> float:
        if content == b"slow" and one.clock.now > 50 and len(backend.checks()) < 2:
            backend.upload({"a.txt": b"poison"})
        return 600.0 if content == b"slow" else 0.0

    def fail(content: bytes) -> Examination:
        if content == b"poison":
            raise ZeroDivisionError
        return Examination()

    one.script.takes, one.script.examine = takes, fail
    with pytest.raises(ZeroDivisionError):
        one.run()
    assert "interrupted" not in log_of(backend, slow)
    assert backend.status_of(slow) == "pending"


# -- disk space and downloads ----------------------------------------------------------------------


def downloaded(one: Pass) -> int:
    return len([file for file in one.disk.downloads.iterdir() if file.stat().st_size])


@pytest.mark.parametrize(
    ("room", "together"),
    [(SCAN_ROOM + GIB, True), (SCAN_ROOM - GIB, False)],
    ids=["much", "little"],
)
def test_a_file_is_downloaded_during_a_scan_only_if_the_scan_keeps_its_space(
    one: Pass, room: int, *, together: bool
) -> None:
    one.disk.room = room
    for _ in range(2):
        one.backend.upload({"a.txt": b"a game"})
    beside: list[int] = []

    def look(_: bytes) -> Examination:
        with suppress(AssertionError):
            eventually(lambda: downloaded(one), within=2 if together else 0.5)
        beside.append(downloaded(one))
        return Examination()

    one.script.examine = look
    assert one.run().clean == 2
    assert beside == [1 if together else 0, 0]


def test_downloads_run_several_files_ahead_and_claim_nothing(one: Pass) -> None:
    builds = [one.backend.upload({"a.txt": b"a game"}) for _ in range(5)]
    seen: list[tuple[int, list[str]]] = []

    def look(_: bytes) -> Examination:
        if not seen:
            eventually(lambda: downloaded(one) == 4)
            seen.append((4, sorted(str(one.backend.status_of(build)) for build in builds)))
        return Examination()

    one.script.examine = look
    assert one.run().clean == 5
    assert seen[0][1] == ["pending"] * 4 + ["scanning"]


def test_files_of_many_builds_are_downloaded_while_signatures_load(
    one: Pass,
) -> None:
    """Otherwise the network would be idle during that time."""

    class Loading(ScriptedInspector):
        def prove(self, tick: Callable[[], object]) -> None:
            def ten() -> bool:
                tick()
                return downloaded(one) >= 10

            if not one.script.seen:
                eventually(ten)
            super().prove(tick)

    for _ in range(12):
        one.backend.upload({"a.txt": b"a game"})
    one.scanner = ScriptedScanner(one.script, one.disk, kind=Loading)
    assert one.run().clean == 12


@pytest.mark.parametrize(("limit", "least"), [("AHEAD", 3), ("BYTES_AHEAD", 7)])
def test_downloads_ahead_are_limited(
    one: Pass, monkeypatch: pytest.MonkeyPatch, limit: str, least: int
) -> None:
    monkeypatch.setattr(fetch, limit, least)
    most: list[int] = []

    def look(_: bytes) -> Examination:
        time.sleep(0.1)
        most.append(downloaded(one))
        return Examination()

    for _ in range(24):
        one.backend.upload({"a.txt": b"a game"})
    one.script.examine = look
    assert one.run().clean == 24
    assert max(most) <= MAX_QUEUED + fetch.QUEUED


# -- the storage ----------------------------------------------------------------------------------


def test_a_storage_without_files_fails_the_pass_and_no_build(one: Pass) -> None:
    backend = one.backend
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(3)]
    storage = backend.server.data / "storage"
    storage.rename(backend.server.data / "unmounted")
    with pytest.raises(StorageError, match="nor of 2 others: is its storage there"):
        one.run()
    assert {backend.status_of(build) for build in builds} == {"pending"}
    shutil.rmtree(storage, ignore_errors=True)
    (backend.server.data / "unmounted").rename(storage)
    assert one.run().clean == 3


def test_a_missing_file_is_an_error_if_other_files_can_be_downloaded(one: Pass) -> None:
    backend = one.backend
    old = backend.upload({"a.txt": b"a game"})
    assert one.run().clean == 1
    build = backend.upload({"a.txt": b"a game"})
    backend.stored(build, *backend.file_names(build)).unlink()
    assert one.run().errors == 1
    assert "missing from the storage" in log_of(backend, build)
    assert backend.status_of(old) == "clean"


# -- turns ----------------------------------------------------------------------------------------


def test_a_build_with_many_files_gives_others_a_turn(one: Pass) -> None:
    """A new upload waits for one turn of another build, not for its whole scan."""
    backend = one.backend
    many = backend.upload({f"{number}.txt": b"many" for number in range(6)})
    few: list[str] = []

    def work(_: bytes) -> Examination:
        one.clock.now += scans.TURN / 2 + 1
        if not few:
            few.append(backend.upload({"a.txt": b"few"}))
        # The clock of the pass does not wait for real downloads.
        found = bool(backend.checks_of(few[0])) and b"few" not in one.script.seen
        coming = 6 - one.script.seen.count(b"many") + found
        eventually(lambda: downloaded(one) >= coming)
        return Examination()

    one.script.examine = work
    assert one.run().clean == 2
    assert one.script.seen.index(b"few") < 5
    assert [backend.status_of(build) for build in (many, *few)] == ["clean", "clean"]


def test_a_postponed_build_is_scanned_later_in_the_same_pass(one: Pass) -> None:
    backend = one.backend
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(4)]
    failing = [BackendError("not now")]

    class Failing(Fetcher):
        def take(self, build: Build, name: str) -> Fetched:
            if failing:
                raise failing.pop()
            return super().take(build, name)

    one.fetcher = Failing

    def work(_: bytes) -> Examination:
        one.clock.now += sweeps.REDISCOVER + 1
        return Examination()

    one.script.examine = work
    summary = one.run()
    assert (summary.failed, summary.clean) == (1, 4)
    assert {backend.status_of(build) for build in builds} == {"clean"}


# -- refused writes --------------------------------------------------------------------------------


def writes_of(build: str) -> Callable[[Request], bool]:
    return request_to("PATCH", f"{CHECKS}/records/{build}")


REFUSAL = json.dumps({"status": 400, "data": {"log": {"code": "validation_strange"}}}).encode()


def test_a_refused_write_postpones_only_its_build(backend: Backend, tmp_path: Path) -> None:
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(3)]
    refused = builds[0]
    with Proxy(backend.url) as proxy:
        proxy.plan(writes_of(refused), Answer(400, (), REFUSAL), times=None)
        with a_pass_over(backend, tmp_path / "work", url=proxy.url) as one:
            summary = one.run()
    assert (summary.failed, summary.clean) == (1, 2)
    assert backend.status_of(refused) == "pending"


def test_a_refused_write_ends_the_pass_if_the_collection_is_the_cause(
    backend: Backend, tmp_path: Path
) -> None:
    build = backend.upload({"a.txt": b"a game"})
    definition = backend.json("GET", "/api/collections/av_build_checks")
    for field in definition["fields"]:
        if field["name"] == "status":
            field["values"].remove("scanning")
    backend.json("PATCH", "/api/collections/av_build_checks", json={"fields": definition["fields"]})
    with (
        a_pass_over(backend, tmp_path / "work") as one,
        pytest.raises(SchemaError, match="avscan init"),
    ):
        one.run()
    assert backend.status_of(build) == "pending"


# -- renewals -------------------------------------------------------------------------------------


def old_verdict(backend: Backend, build: str) -> None:
    check = backend.check_of(build)
    assert check is not None
    backend.set_check(check["id"], scan_time=LONG_AGO)


def test_no_renewal_begins_before_the_engine_works(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})
    one.run()
    old_verdict(one.backend, build)
    before = one.backend.check_of(build)
    one.rescan_after = timedelta(days=30)
    one.script.works = False
    with pytest.raises(EngineError):
        one.run()
    assert one.backend.check_of(build) == before


def test_old_verdicts_stay_until_the_new_ones(one: Pass) -> None:
    backend = one.backend
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(3)]
    one.run()
    for build in builds:
        old_verdict(backend, build)
    one.rescan_after = timedelta(days=30)
    unclean: list[int] = []

    def look(_: bytes) -> Examination:
        unclean.append(sum(backend.status_of(build) != "clean" for build in builds))
        return Examination()

    one.script.examine = look
    assert one.run().renewed == 3
    assert unclean == [0, 0, 0]


# -- listeners ------------------------------------------------------------------------------------


def test_a_listener_receives_each_step_and_the_verdict(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})
    events: list[Event] = []
    one.listen = events.append
    one.run()
    (settled,) = [event for event in events if isinstance(event, Settled)]
    assert (settled.build.id, settled.verdict.status) == (build, "clean")
    assert [type(event) for event in events] == [Downloading, Scanning, Scanned, Settled]


def test_a_pass_that_is_stopped_says_what_became_of_the_build(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})
    seen: list[Event] = []
    one.listen = seen.append

    def stop(_: bytes) -> Examination:
        raise Interrupted(2)

    one.script.examine = stop
    with pytest.raises(Interrupted):
        one.run()
    assert [each for each in seen if isinstance(each, Unsettled)] == [
        Unsettled(build=build, reason="back to pending: the pass was stopped: signal 2")
    ]
    assert one.backend.status_of(build) == "pending"
