"""A state machine test of the life of a check: several passes, request by request.

The passes are real (plan, claims, verdicts), over a PocketBase in memory, without network, disk and
clamscan. Each pass runs in a thread that stops before each request, until the machine continues it,
fails the request, or kills the pass. So every interleaving of requests is possible, and a pass can
be killed at any request. An update takes two turns, since PocketBase reads a whole row and writes it
back.

The world records which file was under inspection when a pass was killed. An interruption must be
counted for this file only.
"""

from __future__ import annotations

import itertools
import operator
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from avscan.backend import discovery, journal
from avscan.backend.answers import Rejected
from avscan.backend.claims import INTERRUPTIONS, Claim
from avscan.backend.download import Artifact
from avscan.backend.fetch import Fetcher
from avscan.backend.fetch import _Fetch as Fetching
from avscan.backend.intake import Intake
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.backend.sections import sections
from avscan.backend.transport import RetryPolicy
from avscan.errors import AvscanError, BackendError, Interrupted
from avscan.findings import Examination, Sighting
from avscan.inspector.process import Ended, Examined, Inspector
from avscan.records import BUILDS, CHECKS, Build, Check, format_time
from avscan.scanner import Scanner
from avscan.settings import Policy
from avscan.sweep import Sweep
from avscan.verdict import Policies
from avscan.workspace import Workspace

Row = dict[str, Any]
T = TypeVar("T")

STUCK_AFTER = timedelta(seconds=90)
TURN = timedelta(milliseconds=7)  # the duration of a request
FINAL_PASSES = 4  # passes without faults, after which every verdict must be right


# -- a PocketBase in memory -----------------------------------------------------------------------

_TERM = re.compile(r'("[^"]*"|[\w.:]+) (!?=|[<>]=?) ("[^"]*"|[@\w.]+)')
_OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
}
Holds = Callable[[Row], bool]


def held_by(where: str, world: World) -> Holds:
    """Parse a filter of PocketBase, as far as discovery and ledger use them."""
    if not where:
        return lambda _row: True
    words = re.findall(r"[()]|&&|\|\||[^()&|]+", where)
    words = [word.strip() for word in words if word.strip()]

    def either() -> Holds:
        parts = [both()]
        while words and words[0] == "||":
            words.pop(0)
            parts.append(both())
        return lambda row: any(part(row) for part in parts)

    def both() -> Holds:
        parts = [one()]
        while words and words[0] == "&&":
            words.pop(0)
            parts.append(one())
        return lambda row: all(part(row) for part in parts)

    def one() -> Holds:
        if (word := words.pop(0)) != "(":
            return _term(word, world)
        inner = either()
        assert words.pop(0) == ")"
        return inner

    return either()


def _term(text: str, world: World) -> Holds:
    if text == f"{CHECKS}_via_build.id ?= null":
        return lambda row: not world.checks_of(row["id"])
    term = _TERM.fullmatch(text)
    assert term, f"the PocketBase in memory does not know this filter: {text}"
    name, sign, other = term.groups()

    def value(operand: str, row: Row) -> Any:
        if operand.startswith('"'):
            return operand.strip('"')
        if operand == "@now":
            return world.stamp()
        if operand.isdigit():
            return int(operand)
        if operand.startswith("build."):
            return (
                world.tables[BUILDS].get(row["build"], {}).get(operand.removeprefix("build."), "")
            )
        if operand.endswith(":length"):
            return len(row[operand.removesuffix(":length")])
        return row[operand]

    return lambda row: bool(_OPERATORS[sign](value(name, row), value(other, row)))


class World:
    """The server: its rows, its clock, and a record of the scans and deaths."""

    def __init__(self, *, unique: bool) -> None:
        self.unique = unique
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.tables: dict[str, dict[str, Row]] = {BUILDS: {}, CHECKS: {}}
        self.scanned: set[tuple[str, str]] = set()  # file names, and the results of their scans
        self.deaths: Counter[str] = Counter()  # by the file that was under inspection
        self._ids = itertools.count()

    def new_id(self) -> str:
        return f"{next(self._ids):015d}"

    def builds(self) -> list[Row]:
        return list(self.tables[BUILDS].values())

    def checks(self) -> list[Row]:
        return list(self.tables[CHECKS].values())

    def checks_of(self, build: str) -> list[Row]:
        return [check for check in self.checks() if check["build"] == build]

    def insert(self, collection: str, values: Row) -> Row:
        row: Row = {"id": self.new_id(), "created": self.stamp()} | values
        if row["id"] in self.tables[collection]:
            raise rejected("id", "validation_not_unique")
        if collection == CHECKS:
            if row["build"] not in self.tables[BUILDS]:
                raise rejected("build", "validation_missing_rel_records")
            if self.unique and self.checks_of(row["build"]):
                raise rejected("build", "validation_not_unique")
            row = {"virus_name": "", "scan_time": "", "log": ""} | row
        row["updated"] = self.stamp()
        self.tables[collection][row["id"]] = row
        return row

    def save(self, collection: str, row: Row) -> Row:
        if collection == CHECKS and row["build"] not in self.tables[BUILDS]:
            raise rejected("build", "validation_missing_rel_records")
        saved = row | {"updated": self.stamp()}
        self.tables[collection][row["id"]] = saved
        return saved

    def delete_build(self, build: str) -> None:
        del self.tables[BUILDS][build]
        for check in self.checks_of(build):
            del self.tables[CHECKS][check["id"]]

    def stamp(self) -> str:
        return format_time(self.now)


def rejected(field: str, code: str) -> Rejected:
    return Rejected("Failed to save record.", {field: {"code": code}})


class Killed(BaseException):
    """A pass was killed: its further requests have no effect."""


class Client:
    """The session of one pass; `turn` is called before each request.

    `lag` is the error of its estimate of the server's time. A negative one comes from the `Date` of
    a proxy, until a write returns the time of PocketBase.
    """

    failing = False

    def __init__(self, world: World, turn: Callable[[], None], *, lag: timedelta) -> None:
        self._world = world
        self._turn = turn
        self._lag = lag

    def server_time(self) -> datetime:
        return self._world.now - self._lag

    def page(
        self,
        collection: str,
        *,
        where: str = "",
        sort: str = "",
        fields: Sequence[str] = (),
        expand: str = "",
        limit: int = 1000,
        policy: RetryPolicy | None = None,
    ) -> list[Row]:
        self._turn()
        assert expand in {"", "build"}
        holds = held_by(where, self._world)
        found = [row for row in self._world.tables[collection].values() if holds(row)]
        for key in reversed(sort.split(",") if sort else ["id"]):
            found.sort(key=lambda row, key=key: row[key])  # type: ignore[misc]
        return [self._shown(row, fields, expand) for row in found[:limit]]

    def rows(
        self, collection: str, *, where: str = "", fields: Sequence[str] = (), expand: str = ""
    ) -> Iterator[Row]:
        yield from self.page(collection, where=where, fields=fields, expand=expand)

    def list_unordered(
        self, collection: str, *, where: str, fields: Sequence[str] = (), expand: str = ""
    ) -> Iterator[Row]:
        yield from self.rows(collection, where=where, fields=fields, expand=expand)

    def count(self, collection: str, *, where: str = "") -> int:
        return len(self.page(collection, where=where))

    def create(self, collection: str, values: Row) -> Row:
        self._turn()
        return self._answered(self._world.insert(collection, values))

    def update(
        self,
        collection: str,
        record: str,
        values: Row,
        *,
        confirm: Callable[[RetryPolicy], bool] | None = None,
        policy: RetryPolicy | None = None,
    ) -> Row | None:
        self._turn()
        row = self._world.tables[collection].get(record)
        if row is None:
            return None
        changed = row | values
        self._turn()
        if record not in self._world.tables[collection]:
            return None
        return self._answered(self._world.save(collection, changed))

    def delete(self, collection: str, record: str) -> None:
        self._turn()
        self._world.tables[collection].pop(record, None)

    def _answered(self, row: Row) -> Row:
        self._lag = max(self._lag, timedelta(0))
        return dict(row)

    def _shown(self, row: Row, fields: Sequence[str], expand: str) -> Row:
        shown: Row = {}
        for field in fields or tuple(row):
            if field.startswith("log:excerpt"):
                shown["log"] = " ".join(row["log"].split())[: journal.EXCERPT]
            elif not field.startswith("expand."):
                shown[field] = row.get(field, "")
        build = self._world.tables[BUILDS].get(row.get("build", ""))
        if expand and build is not None:
            shown["expand"] = {"build": dict(build)}
        return shown


# -- a pass, turn by turn -------------------------------------------------------------------------


class FakeFetcher(Fetcher):
    """Downloads only names, at once. A name decides whether the file is infected."""

    names: dict[Path, str]

    def _start(self, key: tuple[str, str], *, leave: int) -> None:
        fetch = self._fetches[key] = Fetching(target=Path("/nonexistent"), leave=leave, started=0.0)
        target = Path(f"/nonexistent/{key[1]}")
        self.names[target] = key[1]
        fetch.outcome = Artifact(path=target, size=1, sha256="0" * 64)
        self._pump()


class FakeInspector(Inspector):
    """Examines names by a function."""

    def __init__(self, examine: Callable[[Path], Examination]) -> None:
        self.started = 0.0
        self._examine = examine
        self._found = Examination()

    ran = 0.0
    works = True

    @property
    def examination(self) -> Examination:
        return self._found

    def prove(self, tick: Callable[[], object]) -> None:
        tick()

    def begin(self, artifact: Path) -> None:
        self._found = self._examine(artifact)

    def wait(self, seconds: float) -> Ended:
        return Examined()

    def close(self) -> None:
        pass


class FakeScanner(Scanner):
    """The real scanner, with inspectors that examine names."""

    def __init__(self, examine: Callable[[Path], Examination], clock: Callable[[], float]) -> None:
        super().__init__(
            clamscan="clamscan",
            database=Path("/nonexistent"),
            canary=None,
            most=timedelta(0),
            folder=lambda: Path("/nonexistent"),
            server_time=lambda: datetime.now(UTC),
            start=lambda _engine, _folder: FakeInspector(examine),
            clock=clock,
        )

    def version(self) -> str:
        return "ClamAV"


def at_once(work: Callable[[], T]) -> Future[T]:
    """Do the work before the next request, so that each pass sends one request at a time."""
    outcome: Future[T] = Future()
    try:
        outcome.set_result(work())
    except BackendError as error:
        outcome.set_exception(error)
    return outcome


class TrackingLedger(Ledger):
    """A ledger that tracks the files it has, or may have, recorded for each claim."""

    def __init__(
        self, client: PocketBase, deaths: Counter[str], clock: Callable[[], float]
    ) -> None:
        super().__init__(
            client,
            host="test",
            stuck_after=STUCK_AFTER,
            clock=clock,
            sleep=lambda _: None,
            start=at_once,
        )
        self.deaths = deaths
        self.recorded: dict[str, set[str | None]] = {}

    def files(self) -> set[str]:
        return {file for files in self.recorded.values() for file in files if file is not None}

    def _mark(self, check: Check, claim: Claim, file: str | None, *, mark: str = "") -> bool:
        self.recorded.setdefault(claim.mark, set()).add(file)
        ours = super()._mark(check, claim, file, mark=mark)
        if check == claim.checks[-1] or mark:
            self.recorded[claim.mark] = {file}
        return ours

    def release(self, claim: Claim, reason: str, **options: Any) -> None:
        try:
            super().release(claim, reason, **options)
        except BackendError:
            # The recorded file will be counted as interrupted.
            self.deaths.update(file for file in self.recorded.get(claim.mark, ()) if file)
            raise

    def _forget(self, claim: Claim) -> None:
        super()._forget(claim)
        self.recorded.pop(claim.mark, None)


class Pass:
    """A pass in a thread, which runs only while the machine waits for it."""

    def __init__(self, world: World, *, lag: timedelta, full: bool) -> None:
        self.ended = False
        self.scans = 0
        self.failure: BaseException | None = None
        self._world = world
        self._fate: str = ""
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        client = cast("PocketBase", Client(world, self._turn, lag=lag))
        self.ledger = TrackingLedger(client, world.deaths, self._clock)
        self.examined = ""
        workspace = Workspace(Path("/nonexistent"))
        self._fetcher = FakeFetcher(client, workspace)
        self._fetcher.names = {}
        self._sweep = Sweep(
            client=client,
            ledger=self.ledger,
            fetcher=self._fetcher,
            scanner=FakeScanner(self.examine, self._clock),
            workspace=workspace,
            policies=Policies(opaque=Policy.NOTE, oversize=Policy.ERROR),
            timeout=3600.0,
            stuck_after=STUCK_AFTER,
            full_turn=lambda: False,
            clock=self._clock,
        )
        self._full = full
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def step(self, fate: str = "") -> None:
        """Continue to the next request; `fate` is "", "fails", "stopped" or "killed"."""
        self._fate = fate
        self._go.release()
        self._wait()

    def _wait(self) -> None:
        self._stopped.acquire()
        if self.failure is not None:
            raise self.failure

    def finish(self) -> None:
        for _ in range(2000):
            if self.ended:
                return
            self.step()
        raise AssertionError("a pass does not come to its end")

    def kill(self) -> None:
        self.count_deaths()
        while not self.ended:
            self.step("killed")

    def count_deaths(self) -> None:
        """Record the file for which a death at this time may be counted.

        Between two inspections, it is the recorded file: the last or the next one.
        """
        if not self.ended:
            self._world.deaths.update({self.examined} if self.examined else self.ledger.files())

    # -- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._sweep.run(full=self._full)
        except (AvscanError, Killed, Interrupted):
            # The files of claims that it could not release will be counted as interrupted.
            self._world.deaths.update(self.ledger.files())
        except BaseException as error:  # noqa: BLE001 - the machine's thread raises it
            self.failure = error
        finally:
            self.ended = True
            self._stopped.release()

    def _clock(self) -> float:
        return self._world.now.timestamp()

    def _turn(self) -> None:
        if self._fate != "killed":
            self._stopped.release()
            self._go.acquire()
        if self._fate == "killed":
            raise Killed
        self._world.now += TURN
        if self._fate == "fails":
            raise BackendError("the network is down")
        if self._fate == "stopped":
            raise Interrupted(15)

    def examine(self, path: Path) -> Examination:
        self.scans += 1
        name = self._fetcher.names[path]
        assert {name} in self.ledger.recorded.values(), "it is inspected before it is recorded"
        self.examined = name
        self.ledger.beat()
        self.examined = ""
        sightings = (Sighting(signature="Virus", member=""),) if "virus" in name else ()
        self._world.scanned.add((name, "infected" if sightings else "clean"))
        return Examination(sightings=sightings)


# -- the state machine -----------------------------------------------------------------------------


_INSPECTED = re.compile(r'"inspecting": "(\S+?)"')
_COUNTED = re.compile(r'"((?:game|virus)_\d+)": (\d+)')
_GIVEN_UP = re.compile(r"^error +(\S+) .*\n    error: its inspection was begun", re.MULTILINE)


def right_verdict(build: Row) -> str:
    return "infected" if any("virus" in name for name in build["files"]) else "clean"


NUMBERS = st.integers(0, 5)  # the index of a build, check or pass
KINDS = st.lists(st.booleans(), max_size=2)  # a build's files: whether each is infected
# The error of each pass's estimate of the server's time; the last one's proxy is ahead.
LAGS = (timedelta(milliseconds=900), timedelta(seconds=20), timedelta(minutes=-5))
MOST_PASSES = len(LAGS)


class Life(RuleBasedStateMachine):
    """After any sequence of events, a few passes without faults give the right verdicts."""

    world: World
    passes: list[Pass]

    @initialize(unique=st.booleans())
    def begin(self, *, unique: bool) -> None:
        self.world = World(unique=unique)
        self.passes = [Pass(self.world, lag=lag, full=False) for lag in LAGS]
        self.by_hand: set[str] = set()
        self._names = itertools.count()
        for kinds in ([False], [False, True]):
            self.world.insert(BUILDS, {"files": self.files(kinds)})

    def files(self, kinds: list[bool]) -> list[str]:
        return [f"{'virus' if bad else 'game'}_{next(self._names)}" for bad in kinds]

    # -- publishers -------------------------------------------------------------------------

    @rule(
        number=NUMBERS,
        kinds=KINDS,
        what=st.sampled_from(["upload", "replace", "replace", "edit", "vanish"]),
    )
    def publish(self, number: int, kinds: list[bool], what: str) -> None:
        self.world.now += TURN
        builds = self.world.builds()
        if what == "upload" or not builds:
            self.world.insert(BUILDS, {"files": self.files(kinds)})
            return
        build = builds[number % len(builds)]
        match what:
            case "replace":
                self.world.save(BUILDS, build | {"files": self.files(kinds)})
            case "edit":
                self.world.save(BUILDS, build)
            case "vanish":
                self.world.delete_build(build["id"])

    # -- operators and the backend's hooks --------------------------------------------------

    @rule(
        number=NUMBERS,
        what=st.sampled_from(["pending", "scanning", "clean", "delete", "create", "orphan"]),
    )
    def act_by_hand(self, number: int, what: str) -> None:
        self.world.now += TURN
        checks = [row for row in self.world.checks() if row["build"] in self.world.tables[BUILDS]]
        if what == "orphan":
            self.add_orphan()
        elif what == "create" and (builds := self.world.builds()):
            build = builds[number % len(builds)]["id"]
            if not (self.world.unique and self.world.checks_of(build)):
                self.world.insert(CHECKS, {"build": build, "status": "pending"})
        elif checks:
            self.edit_check(checks[number % len(checks)], what)

    def add_orphan(self) -> None:
        gone = f"gone{next(self._names)}"
        moments = {name: self.world.stamp() for name in ("created", "updated")}
        row = {"id": self.world.new_id(), "build": gone, "status": "pending", "log": ""} | moments
        self.world.tables[CHECKS][row["id"]] = row | {"virus_name": "", "scan_time": ""}

    def edit_check(self, check: Row, what: str) -> None:
        match what:
            case "delete":
                del self.world.tables[CHECKS][check["id"]]
            case "clean" if check["status"] == "infected":
                # A false positive: the correction is valid while the files are the same.
                self.by_hand.add(journal.digest_of(check["log"]) or "")
                self.world.save(CHECKS, check | {"status": "clean", "virus_name": ""})
            case "pending" | "scanning":
                if what == "scanning" and (found := _INSPECTED.search(check["log"])):
                    self.world.deaths[found[1]] += 1  # as if its pass had died
                self.world.save(CHECKS, check | {"status": what})

    # -- passes -----------------------------------------------------------------------------

    @rule(number=NUMBERS, turns=st.integers(1, 3))
    def take_a_few_steps(self, number: int, turns: int) -> None:
        self.advance(number, turns)

    @rule(number=NUMBERS, turns=st.integers(4, 12))
    def take_some_steps(self, number: int, turns: int) -> None:
        self.advance(number, turns)

    @rule(number=NUMBERS, turns=st.integers(13, 60))
    def take_many_steps(self, number: int, turns: int) -> None:
        self.advance(number, turns)

    @rule(number=NUMBERS)
    def reach_a_scan(self, number: int) -> None:
        """Continue a pass until it scans a file."""
        chosen = self.passes[number % MOST_PASSES]
        scans = chosen.scans
        while chosen.scans == scans and not chosen.ended:
            chosen.step()
            self.verdicts_are_for_scanned_files()

    def advance(self, number: int, turns: int) -> None:
        """Continue a pass for some requests. Start a new one if it has ended."""
        slot = number % MOST_PASSES
        if self.passes[slot].ended:
            self.passes[slot] = Pass(self.world, lag=LAGS[slot], full=number < MOST_PASSES)
        for _ in range(turns):
            if not self.passes[slot].ended:
                self.passes[slot].step()
                self.verdicts_are_for_scanned_files()

    @rule(number=NUMBERS, fate=st.sampled_from(["fails", "stopped", "killed"]))
    def disaster(self, number: int, fate: str) -> None:
        chosen = self.passes[number % MOST_PASSES]
        if chosen.ended:
            return
        if fate == "killed":
            chosen.kill()
        else:
            if fate == "stopped":
                chosen.count_deaths()
            chosen.step(fate)

    @rule(number=NUMBERS, again=st.integers(1, 4))
    def die_at_each_scan(self, number: int, again: int) -> None:
        slot = number % MOST_PASSES
        for _ in range(again):
            self.advance(slot, 0)
            self.reach_a_scan(slot)
            self.passes[slot].kill()
            self.time_passes(100)

    @rule(seconds=st.sampled_from([1, 40, 100, 4000]))
    def time_passes(self, seconds: int) -> None:
        for each in self.passes:
            each.count_deaths()  # without a heartbeat it will be reclaimed
        self.world.now += timedelta(seconds=seconds)

    # -- invariants -------------------------------------------------------------------------

    @invariant()
    def verdicts_are_for_scanned_files(self) -> None:
        for check in self.world.checks():
            if check["status"] not in {"clean", "infected"}:
                continue
            names = [
                line.split()[1]
                for line in sections(check["log"])[0].splitlines()
                if re.match(r"(clean|infected|error) +\S+ +(1 bytes|not downloaded)", line)
            ]
            digest = journal.digest_of(check["log"])
            assert digest == journal.digest(names)
            if check["status"] == "clean":
                seen_clean = all((name, "clean") in self.world.scanned for name in names)
                assert seen_clean or digest in self.by_hand
            else:
                assert any((name, "infected") in self.world.scanned for name in names)

    @invariant()
    def interruptions_are_counted_for_inspected_files(self) -> None:
        for check in self.world.checks():
            newest = sections(check["log"])[0]
            for file, times in _COUNTED.findall(newest):
                assert int(times) <= self.world.deaths[file], check
            for file in _GIVEN_UP.findall(newest):
                assert self.world.deaths[file] >= INTERRUPTIONS, check

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for each in self.passes:
            each.kill()
        self.check_final_state()

    def check_final_state(self) -> None:
        for _ in range(FINAL_PASSES):
            self.world.now += 2 * STUCK_AFTER
            Pass(self.world, lag=timedelta(seconds=1), full=True).finish()
            self.verdicts_are_for_scanned_files()
            self.interruptions_are_counted_for_inspected_files()
        for build in self.world.builds():
            if build["files"]:
                self.check_build(build)
        left = [row for row in self.world.checks() if row["build"] not in self.world.tables[BUILDS]]
        assert left == []

    def check_build(self, build: Row) -> None:
        checks = self.world.checks_of(build["id"])
        assert checks, f"{build} was lost"
        assert len(checks) == 1 or not self.world.unique
        for check in checks:
            digest = journal.digest(build["files"])
            assert journal.digest_of(check["log"]) == digest, check
            given_up = check["status"] == "error" and _GIVEN_UP.search(check["log"])
            corrected = check["status"] == "clean" and digest in self.by_hand
            assert check["status"] == right_verdict(build) or corrected or given_up, check


def explore(examples: int, *phases: Phase, derandomize: bool = False) -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=examples,
            derandomize=derandomize,
            stateful_step_count=50,
            deadline=None,
            phases=phases or tuple(Phase),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("many", [1000, 1], ids=["few builds", "many builds"])
def test_every_sequence_of_events_ends_with_the_right_verdicts(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PAGE", many)
    # Without the index a comparison is slow, but right: worlds without it are explored as well.
    monkeypatch.setattr(discovery, "require_one_check", lambda _client: None)
    explore(120)


def is_never_outdated(_check: Check, _build: Build) -> bool:
    return False


def reclaim_nothing(_intake: Intake, _check: Check) -> None:
    return None


def is_always_abandoned(_intake: Intake, _check: Check) -> bool:
    return True


def record_nothing(_ledger: Ledger, _claim: Claim, _file: str | None) -> bool:
    return True


def have_the_same_digest(_files: Iterable[str]) -> str:
    return "0" * 32


@pytest.mark.parametrize(
    ("where", "without"),
    [
        ("avscan.backend.discovery.is_outdated", is_never_outdated),
        ("avscan.backend.intake.is_outdated", is_never_outdated),
        ("avscan.backend.intake.Intake.reclaim", reclaim_nothing),
        pytest.param(
            "avscan.backend.intake.Intake._is_abandoned",
            is_always_abandoned,
            marks=pytest.mark.slow,
        ),
        ("avscan.backend.ledger.Ledger.inspect", record_nothing),
        ("avscan.backend.journal.digest", have_the_same_digest),
    ],
)
def test_a_missing_safeguard_is_detected(
    where: str, without: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, without)
    with pytest.raises(AssertionError):
        explore(500, Phase.generate, derandomize=True)
