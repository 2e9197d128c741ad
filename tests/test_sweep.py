"""One pass in this process, over a real PocketBase, with an engine that does as it is told."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from support.backend import Backend
from support.proxy import Answer, Proxy, Request, request_to

from avscan import sweep as sweeps
from avscan.backend import discovery
from avscan.backend.download import Download
from avscan.backend.fetch import SCAN_ROOM, Fetch, Fetched, Fetcher, StorageError
from avscan.backend.ledger import INTERRUPTIONS, Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.errors import BackendError, EngineError, SchemaError, WorkspaceError
from avscan.events import (
    Downloading,
    Event,
    Listener,
    Scanned,
    Scanning,
    Settled,
    ignore,
)
from avscan.findings import Examination
from avscan.records import CHECKS
from avscan.sweep import Summary, Sweep
from avscan.verdict import Policies
from avscan.workspace import Workspace

STUCK_AFTER = timedelta(seconds=90)
GIB = 1 << 30
LONG_AGO = "2020-01-01 00:00:00.000Z"


class Engine:
    """An engine that does what a test says; `works` is whether its canary is found."""

    def __init__(self) -> None:
        self.works = True
        self.seen: list[bytes] = []
        self.meanwhile: Callable[[Path], object] = lambda _: None

    def version(self) -> str:
        return "ClamAV"

    def warm_up(self) -> None:
        pass

    def prove(self) -> None:
        if not self.works:
            raise EngineError("clamscan does not find its canary")

    def examine(self, path: Path) -> Examination:
        self.prove()
        self.seen.append(path.read_bytes())
        self.meanwhile(path)
        return Examination()

    def close(self) -> None:
        pass


class Disk(Workspace):
    """A work folder on a disk that has so much room."""

    room = 100 * GIB

    def free(self) -> int:
        return self.room

    def capacity(self) -> int:
        return 200 * GIB


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Pass:
    """What a pass is made of."""

    def __init__(self, backend: Backend, client: PocketBase, disk: Disk) -> None:
        self.backend = backend
        self.engine = Engine()
        self.disk = disk
        self.clock = Clock()
        self.client = client
        self.rescan_after = timedelta(0)
        self.listen: Listener = ignore
        self.fetcher: type[Fetcher] = Fetcher
        self.indexed: Callable[[], bool] = lambda: False
        self.full = True
        self.full_turn: Callable[[], bool] = lambda: False

    def run(self) -> Summary:
        sweep = Sweep(
            client=self.client,
            ledger=Ledger(self.client, host="here", stuck_after=STUCK_AFTER),
            fetcher=self.fetcher(self.client, self.disk, listen=self.listen),
            scanner=self.engine,
            workspace=self.disk,
            policies=Policies(),
            stuck_after=STUCK_AFTER,
            rescan_after=self.rescan_after,
            full_turn=self.full_turn,
            indexed=self.indexed,
            listen=self.listen,
            clock=self.clock,
        )
        return sweep.run(full=self.full)


@contextmanager
def a_pass_over(backend: Backend, folder: Path, *, url: str | None = None) -> Iterator[Pass]:
    client = backend.client(url=url)
    client.sign_in()
    with Disk(folder) as disk:
        yield Pass(backend, client, disk)
        assert not [left for left in disk.folder.iterdir() if left.is_file()]


@pytest.fixture
def one(backend: Backend, tmp_path: Path) -> Iterator[Pass]:
    with a_pass_over(backend, tmp_path / "work") as one:
        yield one


def log_of(backend: Backend, build: str) -> str:
    check = backend.check_of(build)
    assert check is not None
    return str(check["log"])


# -- what comes meanwhile -------------------------------------------------------------------------


def test_a_long_comparison_that_finds_nothing_still_looks_for_what_is_new(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PAGE", 1)
    one.backend.create_check(one.backend.upload({"a.txt": b"old"}), status="clean")

    def a_minute_later() -> bool:
        one.backend.create_check(one.backend.upload({"a.txt": b"new"}))
        one.clock.now += sweeps.REDISCOVER
        return False

    one.indexed = a_minute_later
    assert one.run().clean == 1
    assert one.engine.seen == [b"new"]


def test_a_long_pass_compares_all_when_it_is_the_turn_for_that(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build from long ago whose check an operator deleted does not wait for the pass's end."""
    monkeypatch.setattr(discovery, "PAGE", 1)
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
    assert one.engine.seen[-1] == b"new"


def test_what_a_long_comparison_opens_does_not_keep_a_scan_waiting(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of it is opened between two scans."""
    monkeypatch.setattr(discovery, "PAGE", 1)
    monkeypatch.setattr(discovery, "PART", 1)
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


def test_the_signatures_load_while_checks_are_written(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.backend.upload({"a.txt": b"a game"})
    written: list[int] = []
    monkeypatch.setattr(one.engine, "warm_up", lambda: written.append(len(one.backend.checks())))
    assert one.run().clean == 1
    assert written[0] == 0


def test_checks_are_written_though_the_engine_does_not_even_start(
    one: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise EngineError("clamscan is missing")

    monkeypatch.setattr(one.engine, "version", fail)
    builds = [one.backend.upload({"a.txt": b"a game"}) for _ in range(2)]
    with pytest.raises(EngineError, match="missing"):
        one.run()
    assert [one.backend.status_of(build) for build in builds] == ["pending", "pending"]


# -- scans that break the pass --------------------------------------------------------------------


def breaks_at(content: bytes, error: Exception) -> Callable[[Path], None]:
    def meanwhile(path: Path) -> None:
        if path.read_bytes() == content:
            raise error

    return meanwhile


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RecursionError("deep"), EngineError("no canary"), WorkspaceError("full")],
    ids=lambda error: type(error).__name__,
)
def test_a_build_that_breaks_every_pass_is_an_error_in_the_end_and_the_others_get_on(
    one: Pass, error: Exception
) -> None:
    backend = one.backend
    poison = backend.upload({"a.txt": b"poison"})
    other = backend.upload({"a.txt": b"a game"})
    one.engine.meanwhile = breaks_at(b"poison", error)
    for number in range(1, INTERRUPTIONS + 1):
        with pytest.raises(type(error)):
            one.run()
        assert f"broke the pass: {type(error).__name__}" in log_of(backend, poison)
        (name,) = backend.file_names(poison)
        assert f"\ninterrupted: {name} {number}; last: " in log_of(backend, poison)
        assert "interrupted" not in log_of(backend, other)
    one.run()
    assert backend.status_of(other) == "clean"
    assert log_of(backend, poison).startswith("error: ")
    assert f"(last: its scan broke the pass: {type(error).__name__})" in log_of(backend, poison)


def test_a_download_that_breaks_every_pass_counts_too(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})

    class Broken(Fetcher):
        def _download(self, fetch: Fetch, *, leave: int) -> Download:
            raise ZeroDivisionError

    one.fetcher = Broken
    with pytest.raises(ZeroDivisionError):
        one.run()
    (name,) = one.backend.file_names(build)
    assert f"ZeroDivisionError\ninterrupted: {name} 1; " in log_of(one.backend, build)


def test_an_engine_that_does_not_work_either_without_the_file_is_no_builds_fault(
    one: Pass,
) -> None:
    build = one.backend.upload({"a.txt": b"a game"})
    one.engine.works = False
    for _ in range(INTERRUPTIONS + 1):
        with pytest.raises(EngineError):
            one.run()
        assert one.backend.status_of(build) == "pending"
        assert "interrupted" not in log_of(one.backend, build)
        assert "EngineError" in log_of(one.backend, build)


def test_a_disk_that_is_full_without_the_file_too_is_no_builds_fault(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})

    def fill(_: Path) -> None:
        one.disk.room = 0
        raise WorkspaceError("full")

    one.engine.meanwhile = fill
    with pytest.raises(WorkspaceError):
        one.run()
    assert one.backend.status_of(build) == "pending"
    assert "interrupted" not in log_of(one.backend, build)


# -- room -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "together"),
    [(SCAN_ROOM + GIB, True), (SCAN_ROOM - GIB, False)],
    ids=["much", "little"],
)
def test_a_file_is_fetched_beside_a_scan_only_where_the_scan_keeps_its_room(
    one: Pass, room: int, *, together: bool
) -> None:
    one.disk.room = room
    for _ in range(2):
        one.backend.upload({"a.txt": b"a game"})
    fetched = threading.Event()
    beside: list[int] = []

    class Watched(Fetcher):
        def _download(self, fetch: Fetch, *, leave: int) -> Download:
            try:
                return super()._download(fetch, leave=leave)
            finally:
                if fetch.target.name.endswith("2"):
                    fetched.set()

    def look(path: Path) -> None:
        fetched.wait(10)
        files = [file for file in path.parent.iterdir() if file.stat().st_size]
        beside.append(len(files))

    one.fetcher = Watched
    one.engine.meanwhile = look
    assert one.run().clean == 2
    assert beside == [2 if together else 1, 1]


# -- the storage ----------------------------------------------------------------------------------


def test_a_storage_that_has_no_file_at_all_is_no_builds_fault(one: Pass) -> None:
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


def test_a_lost_file_is_an_error_at_once_where_another_builds_can_be_had(one: Pass) -> None:
    backend = one.backend
    old = backend.upload({"a.txt": b"a game"})
    assert one.run().clean == 1
    build = backend.upload({"a.txt": b"a game"})
    backend.stored(build, *backend.file_names(build)).unlink()
    assert one.run().errors == 1
    assert "missing from the storage" in log_of(backend, build)
    assert backend.status_of(old) == "clean"


# -- turns ----------------------------------------------------------------------------------------


def test_a_build_of_many_files_lets_others_go_first(one: Pass) -> None:
    """An upload that comes meanwhile waits for one minute of another build, not for its hours."""
    backend = one.backend
    many = backend.upload({f"{number}.txt": b"many" for number in range(6)})
    few: list[str] = []

    def work(_: Path) -> None:
        one.clock.now += sweeps.TURN / 2 + 1
        if not few:
            few.append(backend.upload({"a.txt": b"few"}))

    one.engine.meanwhile = work
    assert one.run().clean == 2
    assert one.engine.seen.index(b"few") < 5
    assert [backend.status_of(build) for build in (many, *few)] == ["clean", "clean"]


def test_a_build_that_was_postponed_comes_back_within_the_same_pass(one: Pass) -> None:
    backend = one.backend
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(4)]
    failing = [BackendError("not now")]

    class Failing(Fetcher):
        def result(self, fetch: Fetch) -> Fetched:
            if failing:
                raise failing.pop()
            return super().result(fetch)

    one.fetcher = Failing

    def work(_: Path) -> None:
        one.clock.now += sweeps.REDISCOVER + 1

    one.engine.meanwhile = work
    summary = one.run()
    assert (summary.failed, summary.clean) == (1, 4)
    assert {backend.status_of(build) for build in builds} == {"clean"}


# -- refusals -------------------------------------------------------------------------------------


def writes_of(build: str) -> Callable[[Request], bool]:
    return request_to("PATCH", f"{CHECKS}/records/{build}")


REFUSAL = json.dumps({"status": 400, "data": {"log": {"code": "validation_strange"}}}).encode()


def test_a_refused_write_costs_its_build_the_turn_and_no_other(
    backend: Backend, tmp_path: Path
) -> None:
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(3)]
    refused = builds[0]
    with Proxy(backend.url) as proxy:
        proxy.plan(writes_of(refused), Answer(400, (), REFUSAL), times=None)
        with a_pass_over(backend, tmp_path / "work", url=proxy.url) as one:
            summary = one.run()
    assert (summary.failed, summary.clean) == (1, 2)
    assert backend.status_of(refused) == "pending"


def test_a_refused_write_ends_the_pass_where_the_collection_is_unfit(
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


def test_no_verdict_is_renewed_before_the_engine_is_known_to_work(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})
    one.run()
    old_verdict(one.backend, build)
    before = one.backend.check_of(build)
    one.rescan_after = timedelta(days=30)
    one.engine.works = False
    with pytest.raises(EngineError):
        one.run()
    assert one.backend.check_of(build) == before


def test_verdicts_are_renewed_one_by_one(one: Pass) -> None:
    """What waits for another's scan is still clean meanwhile."""
    backend = one.backend
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(3)]
    one.run()
    for build in builds:
        old_verdict(backend, build)
    one.rescan_after = timedelta(days=30)
    unclean: list[int] = []
    one.engine.meanwhile = lambda _: unclean.append(
        sum(backend.status_of(build) != "clean" for build in builds)
    )
    assert one.run().renewed == 3
    assert unclean == [1, 1, 1]


# -- listeners ------------------------------------------------------------------------------------


def test_a_listener_is_told_of_each_step_and_of_the_verdict(one: Pass) -> None:
    build = one.backend.upload({"a.txt": b"a game"})
    told: list[Event] = []
    one.listen = told.append
    one.run()
    (settled,) = [event for event in told if isinstance(event, Settled)]
    assert (settled.build.id, settled.verdict.status) == (build, "clean")
    assert [type(event) for event in told] == [Downloading, Scanning, Scanned, Settled]
