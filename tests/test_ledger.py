"""The state machine of checks, on real servers: each write, and the writes of stale passes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from chaos.gate import eventually
from support.backend import Backend
from support.proxy import Before, Drop, Proxy, request_to, settling

from avscan.backend import journal, schema
from avscan.backend.answers import JSON, Rejected, Row
from avscan.backend.claims import INTERRUPTIONS, Claim, Settlement
from avscan.backend.discovery import Job, job_of
from avscan.backend.journal import Interruption
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.backend.sections import sections
from avscan.backend.transport import ON_SIGNAL, RetryPolicy
from avscan.errors import AvscanError, BackendError, SchemaError
from avscan.findings import Examination, Sighting
from avscan.records import BUILDS, CHECKS, Build, Check, Status, format_time
from avscan.verdict import FileReport, Policies, Verdict, judge

STUCK_AFTER = timedelta(seconds=90)
LONG_AGO = "2020-01-01 00:00:00.000Z"
POLICIES = Policies()


class InterruptibleLedger(Ledger):
    """A ledger that calls `meanwhile` between the read of a check and the write of a claim."""

    meanwhile: Callable[[], object] | None = None

    def _mark(self, check: Check, claim: Claim, file: str | None, *, mark: str = "") -> bool:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super()._mark(check, claim, file, mark=mark)


def ledger_of(backend: Backend, client: PocketBase | None = None) -> InterruptibleLedger:
    client = client or backend.client()
    client.sign_in()
    return InterruptibleLedger(client, host="scanner", stuck_after=STUCK_AFTER)


def read(backend: Backend, build: str) -> Build:
    return Build.parse(backend.json("GET", f"/api/collections/{BUILDS}/records/{build}"))


def check_of(backend: Backend, build: str) -> Check:
    row = backend.check_of(build)
    assert row is not None
    return Check.parse(row)


def waiting(backend: Backend) -> str:
    """Upload a build and create its pending check."""
    build = backend.upload({"a.txt": b"a game"})
    ledger_of(backend).intake.open(read(backend, build))
    return build


def claimed(backend: Backend, ledger: Ledger, build: str) -> Claim:
    claim = ledger.claim(job_of(read(backend, build)))
    assert claim is not None
    return claim


def reports_on(claim: Claim, *, virus: str = "") -> list[FileReport]:
    seen = (Sighting(signature=virus),) if virus else ()
    return [
        FileReport(name=name, examination=Examination(sightings=seen), size=6)
        for name in claim.build.files
    ]


def settle(
    ledger: Ledger, claim: Claim, *, virus: str = "", following: Job | None = None
) -> Settlement:
    reports = reports_on(claim, virus=virus)
    verdict = judge(reports, POLICIES)
    return ledger.settle(claim, verdict, reports, POLICIES, engine="ClamAV 1", following=following)


# -- the reason for people ------------------------------------------------------------------------


def reason_of(backend: Backend, build: str) -> str | None:
    return check_of(backend, build).reason


def test_a_verdict_sets_the_reason_and_another_scan_clears_it(every_backend: Backend) -> None:
    backend = every_backend
    backend.init()
    build = waiting(backend)
    assert reason_of(backend, build) == ""
    ledger = ledger_of(backend)
    settle(ledger, claimed(backend, ledger, build), virus="Eicar")
    (name,) = backend.file_names(build)
    assert reason_of(backend, build) == f"{name} contains Eicar"
    assert ledger.intake.rescan(check_of(backend, build), "asked for") is not None
    assert reason_of(backend, build) == ""


def test_a_claim_clears_a_reason(backend: Backend) -> None:
    backend.init()
    build = waiting(backend)
    backend.set_check(check_of(backend, build).id, reason="left behind")
    claimed(backend, ledger_of(backend), build)
    assert reason_of(backend, build) == ""


def test_without_the_field_no_reason_is_written(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    ledger = ledger_of(backend)
    assert settle(ledger, claimed(backend, ledger, build), virus="Eicar") is Settlement.SETTLED
    assert reason_of(backend, build) is None
    assert backend.status_of(build) == "infected"


def test_a_reason_is_cut_to_the_length_of_the_field(every_backend: Backend) -> None:
    backend = every_backend
    backend.init()
    definition = backend.json("GET", f"/api/collections/{CHECKS}")
    for field in definition["fields"]:
        if field["name"] == "reason":
            field["max"] = 10
    backend.json("PATCH", f"/api/collections/{CHECKS}", json=definition)
    build = waiting(backend)
    ledger = ledger_of(backend)
    assert settle(ledger, claimed(backend, ledger, build), virus="Eicar") is Settlement.SETTLED
    (name,) = backend.file_names(build)
    assert reason_of(backend, build) == f"{name} contains Eicar"[:10]


# -- opening --------------------------------------------------------------------------------------


def test_a_new_check_has_the_builds_own_id_and_waits(every_backend: Backend) -> None:
    backend = every_backend
    build = read(backend, backend.upload({"a.txt": b"a game"}))
    job = Job(build=build.id, uploaded=build.updated, files=build.files)
    assert ledger_of(backend).intake.open(build) == job
    check = check_of(backend, build.id)
    assert check.id == build.id
    assert check.status is Status.PENDING
    assert check.log == 'pending: {"reason": "new build"}'


@pytest.mark.parametrize("indexed", [False, True])
def test_of_two_passes_that_open_a_check_one_creates_it(backend: Backend, *, indexed: bool) -> None:
    if indexed:
        backend.init()
    build = read(backend, backend.upload({"a.txt": b"a game"}))
    for _ in range(2):
        assert ledger_of(backend).intake.open(build) == job_of(build)
    assert len(backend.checks()) == 1


def test_a_build_that_another_pass_has_claimed_is_not_opened_again(backend: Backend) -> None:
    build = waiting(backend)
    claimed(backend, ledger_of(backend), build)
    assert ledger_of(backend).intake.open(read(backend, build)) is None


def test_a_deleted_build_is_not_opened(every_backend: Backend) -> None:
    backend = every_backend
    build = read(backend, backend.upload({"a.txt": b"a game"}))
    backend.delete_build(build.id)
    assert ledger_of(backend).intake.open(build) is None
    assert backend.checks() == []


# -- claiming -------------------------------------------------------------------------------------


def test_a_claim_is_recorded_in_the_check_with_its_host(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    check = check_of(backend, build)
    assert check.status is Status.SCANNING
    assert journal.claim_of(check.log) == claim.mark
    assert '"host": "scanner"' in check.log
    assert ledger.holds(claim)


def test_a_claim_is_exclusive(backend: Backend) -> None:
    build = waiting(backend)
    claim = claimed(backend, ledger_of(backend), build)
    assert ledger_of(backend).claim(job_of(read(backend, build))) is None
    assert journal.claim_of(check_of(backend, build).log) == claim.mark


@pytest.mark.parametrize("status", ["clean", "infected", "error"])
def test_a_verdict_is_not_claimed(backend: Backend, status: str) -> None:
    build = backend.upload({"a.txt": b"a game"})
    backend.create_check(build, status=status)
    assert ledger_of(backend).claim(job_of(read(backend, build))) is None
    assert backend.status_of(build) == status


def test_a_deleted_build_is_not_claimed(backend: Backend) -> None:
    build = waiting(backend)
    job = job_of(read(backend, build))
    backend.delete_build(build)
    assert ledger_of(backend).claim(job) is None


def test_a_build_that_is_deleted_during_the_claim_is_not_held(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    ledger.meanwhile = lambda: backend.delete_build(build)
    assert ledger.claim(job_of(read(backend, build))) is None
    ledger.release_all("the pass ends", interrupted=False, policy=ON_SIGNAL)


def test_of_two_claims_at_once_the_later_mark_remains(backend: Backend) -> None:
    build = waiting(backend)
    first, second = ledger_of(backend), ledger_of(backend)
    claims: list[Claim] = []
    second.meanwhile = lambda: claims.append(claimed(backend, first, build))
    later = claimed(backend, second, build)
    (earlier,) = claims
    assert settle(first, earlier) is Settlement.LOST
    assert backend.status_of(build) == "scanning"
    assert settle(second, later, virus="Worm") is Settlement.SETTLED
    assert backend.status_of(build) == "infected"


def test_all_checks_of_a_build_are_claimed_and_settled_alike(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    backend.create_check(build)
    backend.create_check(build)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    assert [row["status"] for row in backend.checks_of(build)] == ["scanning"] * 2
    backend.create_check(build)
    assert settle(ledger, claim) is Settlement.SETTLED
    assert [row["status"] for row in backend.checks_of(build)] == ["clean"] * 3


# -- settling -------------------------------------------------------------------------------------


def test_a_verdict_is_written_with_all_its_fields(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    assert settle(ledger, claim, virus="Worm") is Settlement.SETTLED
    check = check_of(backend, build)
    assert check.status is Status.INFECTED
    assert check.virus_name == "Worm"
    assert check.scan_time is not None
    assert abs(check.scan_time - check.updated) < timedelta(seconds=3)
    assert journal.digest_of(check.log) == journal.digest(claim.build.files)
    assert journal.claim_of(check.log) == claim.mark
    assert not ledger.holds(claim)


def test_a_verdict_about_other_files_is_not_written(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.replace_files(build, {"a.txt": b"another game"})
    assert settle(ledger, claim) is Settlement.CHANGED
    check = check_of(backend, build)
    assert check.status is Status.PENDING
    assert "changed while they were scanned" in check.log


def test_a_build_that_was_edited_with_the_same_files_is_settled(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.edit(build, entrypoint="game")
    assert settle(ledger, claim) is Settlement.SETTLED


def test_a_build_that_was_deleted_during_its_scan_is_gone(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.delete_build(build)
    assert settle(ledger, claim) is Settlement.GONE
    assert not ledger.holds(claim)


def test_a_stale_pass_never_overwrites_a_newer_verdict(backend: Backend) -> None:
    build = waiting(backend)
    stale, fresh = ledger_of(backend), ledger_of(backend)
    old = claimed(backend, stale, build)
    backend.backdate(CHECKS, build, updated=LONG_AGO)
    assert fresh.intake.reclaim(check_of(backend, build)) is not None
    new = claimed(backend, fresh, build)
    assert settle(stale, old) is Settlement.LOST
    assert settle(fresh, new, virus="Worm") is Settlement.SETTLED
    before = check_of(backend, build)
    assert settle(stale, old) is Settlement.LOST
    stale.release(old, "late")
    assert check_of(backend, build) == before


def test_earlier_verdicts_stay_below_the_newest(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    settle(ledger, claimed(backend, ledger, build), virus="Worm")
    assert ledger.intake.rescan(check_of(backend, build), "a false positive was corrected")
    settle(ledger, claimed(backend, ledger, build))
    heads = [part.splitlines()[0] for part in sections(check_of(backend, build).log)]
    assert [head.partition(":")[0] for head in heads] == ["clean", "infected"]


def test_the_longest_log_is_learned_from_the_server(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    notes = tuple("x" * 100 for _ in range(100))
    reports = [FileReport(name=claim.build.files[0], examination=Examination(opaque=notes))]
    verdict = judge(reports, POLICIES)
    settled = ledger.settle(claim, verdict, reports, POLICIES, engine="ClamAV 1")
    assert settled is Settlement.SETTLED
    assert 4800 < len(check_of(backend, build).log) <= 5000


def test_a_virus_name_that_is_too_long_for_the_collection_is_cut(every_backend: Backend) -> None:
    backend = every_backend
    definition = backend.json("GET", "/api/collections/av_build_checks")
    for field in definition["fields"]:
        if field["name"] == "virus_name":
            field["max"] = 10
    backend.json("PATCH", "/api/collections/av_build_checks", json={"fields": definition["fields"]})
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    assert settle(ledger, claim, virus="Win.Trojan.Agent-36196") is Settlement.SETTLED
    assert check_of(backend, build).virus_name == "Win.Trojan"


def without_a_log(backend: Backend) -> None:
    client = backend.client()
    definition = client.collection(CHECKS)
    assert definition is not None
    fields = definition["fields"]
    assert isinstance(fields, list)
    kept: list[JSON] = [each for each in fields if isinstance(each, dict) and each["name"] != "log"]
    client.update_collection(CHECKS, {"fields": kept})


def test_a_collection_that_stores_other_values_is_an_error(backend: Backend) -> None:
    build = waiting(backend)
    without_a_log(backend)
    with pytest.raises(Rejected, match=r"log was stored otherwise"):
        ledger_of(backend).claim(job_of(read(backend, build)))
    with pytest.raises(SchemaError, match="log is missing"):
        schema.require(backend.client())


def test_a_verdict_whose_answer_was_lost_is_settled_on_retry(backend: Backend) -> None:
    build = waiting(backend)
    with Proxy(backend.url) as proxy:
        ledger = ledger_of(backend, backend.client(url=proxy.url))
        claim = claimed(backend, ledger, build)
        proxy.plan(request_to("PATCH", CHECKS), Drop())
        assert settle(ledger, claim, virus="Worm") is Settlement.SETTLED
    assert proxy.harmed == 1
    assert backend.status_of(build) == "infected"


def test_a_retried_verdict_does_not_overwrite_another_passes_claim(backend: Backend) -> None:
    build = waiting(backend)

    def claim_as_another() -> None:
        backend.set_check(build, status="scanning", log="scanning: claim another by x")

    with Proxy(backend.url) as proxy:
        ledger = ledger_of(backend, backend.client(url=proxy.url))
        claim = claimed(backend, ledger, build)
        proxy.plan(request_to("PATCH", CHECKS), Drop())
        proxy.plan(lambda _: bool(proxy.matching(settling())), Before(claim_as_another))
        assert settle(ledger, claim) is Settlement.LOST
    assert backend.status_of(build) == "scanning"


def test_the_release_of_an_orphan_succeeds(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.sql("DELETE FROM app_builds")
    ledger.release(claim, "the pass ends")
    assert not ledger.holds(claim)


def test_an_orphan_is_settled_as_gone(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.sql("DELETE FROM app_builds")
    assert settle(ledger, claim) is Settlement.GONE


# -- the claim of the following build -------------------------------------------------------------


def test_the_following_build_is_claimed_while_a_verdict_is_written(every_backend: Backend) -> None:
    """Both are read in one request, and both are written at once."""
    backend = every_backend
    client = backend.client()
    ledger = ledger_of(backend, client)
    first, second = waiting(backend), waiting(backend)
    following = job_of(read(backend, second))
    claim = claimed(backend, ledger, first)
    before = client.requests_made
    assert settle(ledger, claim, following=following) is Settlement.SETTLED
    next_claim = ledger.claim(following)
    assert client.requests_made - before == 3
    assert next_claim is not None
    assert backend.status_of(first) == "clean"
    assert journal.claim_of(check_of(backend, second).log) == next_claim.mark
    assert ledger.inspect(next_claim, next_claim.first)
    assert settle(ledger, next_claim) is Settlement.SETTLED


def test_a_following_build_that_can_not_be_claimed_is_not_claimed(backend: Backend) -> None:
    ledger = ledger_of(backend)
    first, second = waiting(backend), waiting(backend)
    following = job_of(read(backend, second))
    claimed(backend, ledger_of(backend), second)
    settle(ledger, claimed(backend, ledger, first), following=following)
    assert ledger.claim(following) is None


def test_a_following_build_that_was_not_begun_is_released_without_an_interruption(
    backend: Backend,
) -> None:
    """The pass may be stopped before it begins the scan: no file of the build is to blame."""
    ledger = ledger_of(backend)
    first, second = waiting(backend), waiting(backend)
    following = job_of(read(backend, second))
    settle(ledger, claimed(backend, ledger, first), following=following)
    eventually(lambda: backend.status_of(second) == "scanning")
    ledger.release_all("signal 15", interrupted=True, policy=ON_SIGNAL)
    assert backend.status_of(second) == "pending"
    assert counted(backend, second) == {}


def test_a_failed_claim_of_the_following_build_leaves_the_verdict(backend: Backend) -> None:
    ledger = ledger_of(backend)
    first, second = waiting(backend), waiting(backend)
    following = job_of(read(backend, second))
    claim = claimed(backend, ledger, first)

    def fail() -> None:
        raise BackendError("no answer")

    ledger.meanwhile = fail
    assert settle(ledger, claim, following=following) is Settlement.SETTLED
    with pytest.raises(BackendError):
        ledger.claim(following)


# -- heartbeats -----------------------------------------------------------------------------------


def test_a_heartbeat_changes_only_updated(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    before = backend.check_of(build)
    assert before is not None
    backend.backdate(CHECKS, build, updated=LONG_AGO)
    ledger.beat()
    after = backend.check_of(build)
    assert after is not None
    assert after["updated"] > LONG_AGO
    assert after | {"updated": ""} == before | {"updated": ""}
    assert ledger.holds(claim)


def lose_to_another(backend: Backend, build: str) -> None:
    backend.set_check(build, log="scanning: claim another by another")


def lose_by_deletion(backend: Backend, build: str) -> None:
    backend.delete_build(build)


@pytest.mark.parametrize("lose", [lose_to_another, lose_by_deletion])
def test_a_heartbeat_notices_a_lost_claim(
    backend: Backend, lose: Callable[[Backend, str], None]
) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    lose(backend, build)
    ledger.beat()
    assert not ledger.holds(claim)


def test_a_heartbeat_that_fails_keeps_the_claim(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.stop()
    ledger.beat()
    assert ledger.holds(claim)
    assert "heartbeat.failed" in caplog.messages
    backend.start()


def test_a_settled_check_has_no_heartbeat(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    settle(ledger, claimed(backend, ledger, build))
    backend.backdate(CHECKS, build, updated=LONG_AGO)
    ledger.beat()
    row = backend.check_of(build)
    assert row is not None
    assert row["updated"] == LONG_AGO


# -- reclaiming ----------------------------------------------------------------------------------


def die(backend: Backend, build: str) -> None:
    """Set the last heartbeat to long ago, as after the death of the claimant."""
    backend.backdate(CHECKS, check_of(backend, build).id, updated=LONG_AGO)


def reclaimed(backend: Backend, build: str) -> Job:
    die(backend, build)
    job = ledger_of(backend).intake.reclaim(check_of(backend, build))
    assert job is not None
    return job


def test_an_abandoned_check_is_reclaimed_and_its_file_is_counted(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    (name,) = backend.file_names(build)
    for times in (1, 2):
        claimed(backend, ledger_of(backend), build)
        assert reclaimed(backend, build).interruptions == times
        check = check_of(backend, build)
        assert check.status is Status.PENDING
        assert f'"interrupted": {{"{name}": {times}}}, "last": "reclaimed, no heartbeat since' in (
            check.log
        )
    found = claimed(backend, ledger_of(backend), build).interruption
    assert found is not None
    assert (found.file, found.times) == (name, 2)
    assert found.reason.startswith("reclaimed, no heartbeat since 2020-01-01")


def test_a_check_with_a_heartbeat_is_not_reclaimed(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.backdate(CHECKS, build, updated=LONG_AGO)
    stuck = check_of(backend, build)
    ledger.beat()
    assert ledger_of(backend).intake.reclaim(stuck) is None
    assert settle(ledger, claim) is Settlement.SETTLED


def test_a_clock_that_is_ahead_does_not_make_a_claim_look_abandoned(
    every_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = every_backend
    build = waiting(backend)
    claimant = ledger_of(backend)
    claim = claimed(backend, claimant, build)
    client = backend.client()
    other = ledger_of(backend, client)
    ahead = client.server_time() + timedelta(minutes=5)
    monkeypatch.setattr(client, "server_time", lambda: ahead)
    assert other.intake.reclaim(check_of(backend, build)) is None
    assert settle(claimant, claim) is Settlement.SETTLED


@pytest.mark.parametrize(("silent", "abandoned"), [(-30, False), (30, True)])
def test_a_claim_without_a_heartbeat_is_abandoned_by_pocketbases_clock(
    every_backend: Backend, *, silent: int, abandoned: bool
) -> None:
    backend = every_backend
    build = waiting(backend)
    claimed(backend, ledger_of(backend), build)
    now = check_of(backend, build).updated
    last = format_time(now - STUCK_AFTER - timedelta(seconds=silent))
    backend.backdate(CHECKS, build, updated=last)
    job = ledger_of(backend).intake.reclaim(check_of(backend, build))
    assert (job is not None) is abandoned


def test_a_pass_does_not_reclaim_its_own_claim(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    backend.backdate(CHECKS, build, updated=LONG_AGO)
    assert ledger.intake.reclaim(check_of(backend, build)) is None
    assert settle(ledger, claim) is Settlement.SETTLED


def test_a_check_that_was_settled_late_is_not_reclaimed(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    stuck = check_of(backend, build)
    settle(ledger, claim)
    backend.backdate(CHECKS, build, updated=LONG_AGO)
    assert ledger_of(backend).intake.reclaim(stuck) is None
    assert backend.status_of(build) == "clean"


# -- the file under inspection --------------------------------------------------------------------


def waiting_with(backend: Backend, *names: str) -> tuple[str, tuple[str, ...]]:
    """Upload a build of several files and create its pending check; return its id and files."""
    build = backend.upload({name: name.encode() for name in names})
    ledger_of(backend).intake.open(read(backend, build))
    return build, read(backend, build).files


def recorded(backend: Backend, build: str) -> str | None:
    """Return the file that a reclaim would count an interruption for."""
    check = check_of(backend, build)
    assert check.status is Status.SCANNING
    return journal.inspected(check.log, backend.file_names(build))


def counted(backend: Backend, build: str) -> dict[str, int]:
    found = journal.interruptions_of(check_of(backend, build).log, backend.file_names(build))
    return {each.file: each.times for each in found}


def test_a_claim_records_the_first_file_and_inspect_each_further_one(
    every_backend: Backend,
) -> None:
    backend = every_backend
    build, (first, second) = waiting_with(backend, "a.txt", "b.txt")
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    assert claim.files == (first, second)
    assert recorded(backend, build) == first
    assert ledger.inspect(claim, second)
    assert recorded(backend, build) == second
    assert ledger.inspect(claim, None)
    assert recorded(backend, build) is None
    assert settle(ledger, claim) is Settlement.SETTLED


def test_a_file_that_is_recorded_already_is_not_written_again(backend: Backend) -> None:
    build, (first, second) = waiting_with(backend, "a.txt", "b.txt")
    client = backend.client()
    ledger = ledger_of(backend, client)
    claim = claimed(backend, ledger, build)
    for file in (first, second, None):
        assert ledger.inspect(claim, file)
        asked = client.requests_made
        assert ledger.inspect(claim, file)
        assert client.requests_made == asked


def test_the_history_stays_when_another_file_is_recorded(backend: Backend) -> None:
    check = settled_check(backend)
    ledger = ledger_of(backend)
    ledger.intake.rescan(check, "asked for")
    claim = claimed(backend, ledger, check.build)
    assert ledger.inspect(claim, None)
    assert sections(check_of(backend, check.build).log)[1:] == [check.log]


@pytest.mark.parametrize("lose", [lose_to_another, lose_by_deletion])
def test_no_file_is_recorded_for_a_claim_that_is_lost(
    backend: Backend, lose: Callable[[Backend, str], None]
) -> None:
    build, (_, second) = waiting_with(backend, "a.txt", "b.txt")
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    lose(backend, build)
    before = backend.checks_of(build)
    assert not ledger.inspect(claim, second)
    assert not ledger.holds(claim)
    assert not ledger.inspect(claim, second)
    assert backend.checks_of(build) == before


def test_a_running_heartbeat_does_not_undo_a_recorded_file(backend: Backend) -> None:
    """PocketBase reads a whole row and writes it back; here with a delay in between."""
    build, (_, second) = waiting_with(backend, "a.txt", "b.txt")
    client = backend.client()
    ledger = ledger_of(backend, client)
    claim = claimed(backend, ledger, build)
    update = client.update
    begun, release = threading.Event(), threading.Event()

    def slow(collection: str, record: str, values: Row, **options: Any) -> Row | None:
        if values:
            return update(collection, record, values, **options)
        stale = check_of(backend, build).log
        begun.set()
        release.wait(5)
        return update(collection, record, {"log": stale}, **options)

    client.update = slow  # type: ignore[method-assign]
    beating = threading.Thread(target=ledger.beat)
    beating.start()
    assert begun.wait(5)
    threading.Timer(0.2, release.set).start()
    assert ledger.inspect(claim, second)
    beating.join()
    assert recorded(backend, build) == second


@pytest.mark.parametrize("indexed", [False, True])
def test_the_death_of_a_pass_counts_for_the_file_that_was_recorded_last(
    backend: Backend, *, indexed: bool
) -> None:
    if indexed:
        backend.init()
    build, (_, second) = waiting_with(backend, "a.txt", "b.txt")
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    ledger.inspect(claim, second)
    assert reclaimed(backend, build).interruptions == 1
    assert counted(backend, build) == {second: 1}


def test_the_death_of_a_pass_counts_for_no_file_of_a_paused_build(backend: Backend) -> None:
    paused, (name,) = waiting_with(backend, "a.txt")
    running, (culprit,) = waiting_with(backend, "b.txt")
    for times in range(1, INTERRUPTIONS + 1):
        ledger = ledger_of(backend)
        assert ledger.inspect(claimed(backend, ledger, paused), None)
        claimed(backend, ledger, running)
        assert reclaimed(backend, paused).interruptions == 0
        assert reclaimed(backend, running).interruptions == times
    assert counted(backend, paused) == {}
    assert counted(backend, running) == {culprit: INTERRUPTIONS}
    claim = claimed(backend, ledger_of(backend), paused)
    assert (claim.given_up, claim.first) == ({}, name)


@pytest.mark.parametrize("interrupted", [False, True])
def test_an_interrupted_release_counts_the_file_under_inspection(
    backend: Backend, *, interrupted: bool
) -> None:
    build, (first, second) = waiting_with(backend, "a.txt", "b.txt")
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    ledger.inspect(claim, second)
    ledger.release(claim, "signal 15", interrupted=interrupted)
    assert counted(backend, build) == ({second: 1} if interrupted else {})
    claim = claimed(backend, ledger, build)
    assert claim.files == (first, second)


def test_counts_are_kept_if_no_file_is_under_inspection(backend: Backend) -> None:
    build, (first, _) = waiting_with(backend, "a.txt", "b.txt")
    ledger = ledger_of(backend)
    ledger.release(claimed(backend, ledger, build), "MemoryError", interrupted=True)
    claim = claimed(backend, ledger, build)
    ledger.inspect(claim, None)
    ledger.release(claim, "signal 15", interrupted=True)
    assert counted(backend, build) == {first: 1}
    interruption = claimed(backend, ledger, build).interruption
    assert interruption == Interruption(file=first, times=1, reason="MemoryError")


def test_interrupted_files_are_inspected_last(backend: Backend) -> None:
    build, (first, second, third) = waiting_with(backend, "a.txt", "b.txt", "c.txt")
    ledger = ledger_of(backend)
    ledger.release(claimed(backend, ledger, build), "signal 15", interrupted=True)
    claim = claimed(backend, ledger, build)
    assert claim.files == (second, third, first)
    assert recorded(backend, build) == second
    ledger.release(claim, "signal 15", interrupted=True)
    assert claimed(backend, ledger, build).files == (third, first, second)


def test_only_a_file_that_was_interrupted_too_often_is_given_up(backend: Backend) -> None:
    build, (first, second) = waiting_with(backend, "a.txt", "b.txt")
    ledger = ledger_of(backend)
    for _ in range(INTERRUPTIONS):
        claim = claimed(backend, ledger, build)
        assert claim.given_up == {}
        ledger.inspect(claim, first)
        ledger.release(claim, "signal 15", interrupted=True)
    claim = claimed(backend, ledger, build)
    assert claim.given_up == {
        first: Interruption(file=first, times=INTERRUPTIONS, reason="signal 15")
    }
    assert claim.files == (second, first)
    assert recorded(backend, build) == second


def test_a_build_with_all_files_given_up_has_none_under_inspection(
    backend: Backend,
) -> None:
    """Each file has its own count, so several files that crash passes are all given up."""
    build, names = waiting_with(backend, "a.txt", "b.txt", "c.txt")
    deaths = 0
    while (claim := claimed(backend, ledger_of(backend), build)).first is not None:
        reclaimed(backend, build)
        deaths += 1
    assert deaths == INTERRUPTIONS * len(names)
    assert set(claim.given_up) == set(names)
    assert recorded(backend, build) is None


def test_three_deploys_during_three_files_give_up_none(backend: Backend) -> None:
    build, names = waiting_with(backend, "a.txt", "b.txt", "c.txt")
    for name in names:
        ledger = ledger_of(backend)
        ledger.inspect(claimed(backend, ledger, build), name)
        ledger.release_all("signal 15", interrupted=True, policy=ON_SIGNAL)
    assert claimed(backend, ledger_of(backend), build).given_up == {}


def test_a_signal_counts_for_the_file_under_inspection_only(backend: Backend) -> None:
    paused, (name,) = waiting_with(backend, "a.txt")
    running, (culprit,) = waiting_with(backend, "b.txt")
    for _ in range(INTERRUPTIONS):
        ledger = ledger_of(backend)
        ledger.inspect(claimed(backend, ledger, paused), None)
        claimed(backend, ledger, running)
        ledger.release_all("signal 15", interrupted=True, policy=ON_SIGNAL)
    assert set(claimed(backend, ledger_of(backend), running).given_up) == {culprit}
    claim = claimed(backend, ledger_of(backend), paused)
    assert (claim.given_up, claim.files) == ({}, (name,))


def test_a_record_whose_write_failed_counts_for_no_file(backend: Backend) -> None:
    build, (_, second) = waiting_with(backend, "a.txt", "b.txt")
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)

    def fail() -> None:
        raise BackendError("no answer")

    ledger.meanwhile = fail
    with pytest.raises(BackendError):
        ledger.inspect(claim, second)
    ledger.release(claim, "PocketBase failed", interrupted=True)
    assert counted(backend, build) == {}


# -- reopening ------------------------------------------------------------------------------------


def settled_check(backend: Backend) -> Check:
    build = waiting(backend)
    ledger = ledger_of(backend)
    settle(ledger, claimed(backend, ledger, build), virus="Worm")
    return check_of(backend, build)


def test_a_verdict_about_other_files_is_reopened(backend: Backend) -> None:
    check = settled_check(backend)
    backend.replace_files(check.build, {"b.txt": b"another game"})
    assert ledger_of(backend).intake.reopen(check) == job_of(read(backend, check.build))
    row = backend.check_of(check.build)
    assert row is not None
    assert (row["status"], row["virus_name"], row["scan_time"]) == ("pending", "", "")


def test_a_verdict_about_the_same_files_is_kept(backend: Backend) -> None:
    check = settled_check(backend)
    backend.edit(check.build, entrypoint="game")
    assert ledger_of(backend).intake.reopen(check) is None
    assert check_of(backend, check.build) == check


def test_a_verdict_whose_files_are_gone_waits_for_the_next_upload(backend: Backend) -> None:
    check = settled_check(backend)
    backend.remove_files(check.build)
    assert ledger_of(backend).intake.reopen(check) is None
    assert backend.status_of(check.build) == "pending"


def test_a_verdict_of_a_deleted_build_is_not_reopened(backend: Backend) -> None:
    check = settled_check(backend)
    backend.delete_build(check.build)
    assert ledger_of(backend).intake.reopen(check) is None
    assert not ledger_of(backend).intake.rescan(check, "asked for")


def test_only_a_verdict_is_rescanned_on_request(backend: Backend) -> None:
    check = settled_check(backend)
    ledger = ledger_of(backend)
    assert ledger.intake.rescan(check, "asked for")
    assert not ledger.intake.rescan(check, "asked for")
    assert check_of(backend, check.build).log.startswith('pending: {"reason": "asked for", ')


def test_a_verdict_that_was_corrected_meanwhile_is_not_rescanned(backend: Backend) -> None:
    check = settled_check(backend)
    backend.set_check(check.id, status="infected")
    assert not ledger_of(backend).intake.rescan(check, "renewed")
    assert backend.status_of(check.build) == "infected"


# -- releasing ------------------------------------------------------------------------------------


def test_a_released_check_is_pending_without_an_interruption(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    ledger.release(claim, "the pass ends")
    check = check_of(backend, build)
    assert check.status is Status.PENDING
    assert check.log == 'pending: {"reason": "the pass ends"}'
    assert not ledger.holds(claim)


def test_a_release_may_count_as_an_interruption(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    ledger.release(claimed(backend, ledger, build), "MemoryError", interrupted=True)
    (name,) = backend.file_names(build)
    assert check_of(backend, build).log == (
        f'pending: {{"reason": "MemoryError", "interrupted": {{"{name}": 1}}, "last": "MemoryError"}}'
    )
    claim = claimed(backend, ledger_of(backend), build)
    assert claim.interruption == Interruption(file=name, times=1, reason="MemoryError")


def test_interruptions_do_not_count_for_files_that_came_later(backend: Backend) -> None:
    """Replaced files are scanned, even after the interruptions of the previous ones."""
    build = waiting(backend)
    ledger = ledger_of(backend)
    ledger.release(claimed(backend, ledger, build), "MemoryError", interrupted=True)
    backend.replace_files(build, {"b.txt": b"another game"})
    assert claimed(backend, ledger, build).interruption is None


def test_a_release_of_all_claims_ends_at_its_deadline(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """After a signal the process has five seconds, for any number of claims."""
    client = backend.client()
    client.sign_in()
    ticks = itertools.count()
    ledger = Ledger(client, host="here", stuck_after=STUCK_AFTER, clock=lambda: next(ticks))
    builds = [waiting(backend) for _ in range(4)]
    for build in builds:
        claimed(backend, ledger, build)
    ledger.release_all("stopped", interrupted=False, policy=RetryPolicy(deadline=2.0))
    statuses = [backend.status_of(build) for build in builds]
    assert statuses == ["pending", "pending", "scanning", "scanning"]
    assert caplog.messages.count("release.failed") == 2


def test_a_claim_whose_write_is_still_running_is_released(backend: Backend) -> None:
    """A signal may cut off the request of a claim while PocketBase writes it."""
    build = waiting(backend)
    client = backend.client()
    client.sign_in()
    log = ""

    def arrive(_seconds: float) -> None:
        backend.set_check(build, status="scanning", log=log)

    ledger = Ledger(client, host="here", stuck_after=STUCK_AFTER, sleep=arrive)
    claim = claimed(backend, ledger, build)
    log = check_of(backend, build).log
    backend.set_check(build, status="pending", log="pending: new build")
    ledger.release(claim, "stopped")
    assert check_of(backend, build).log == 'pending: {"reason": "stopped"}'


def test_a_claim_that_may_have_failed_has_no_heartbeat_and_is_reclaimed(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)

    def lose_the_answer() -> None:
        backend.set_check(build, status="scanning", log="scanning: claim lost by here")
        raise BackendError("no answer")

    ledger.meanwhile = lose_the_answer
    with pytest.raises(BackendError):
        claimed(backend, ledger, build)
    backend.backdate(CHECKS, build, updated=LONG_AGO)
    ledger.beat()
    assert ledger.intake.reclaim(check_of(backend, build)) is not None
    assert backend.status_of(build) == "pending"


def test_the_claim_of_another_pass_is_not_released(backend: Backend) -> None:
    build = waiting(backend)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    lose_to_another(backend, build)
    before = backend.check_of(build)
    ledger.release(claim, "the pass ends")
    assert backend.check_of(build) == before


def test_all_claims_are_released_together(backend: Backend) -> None:
    builds = [waiting(backend), waiting(backend)]
    ledger = ledger_of(backend)
    for build in builds:
        claimed(backend, ledger, build)
    ledger.release_all("the pass ends", interrupted=False, policy=ON_SIGNAL)
    assert [backend.status_of(build) for build in builds] == ["pending", "pending"]


def test_a_failed_release_is_logged_and_does_not_raise(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = ledger_of(backend)
    claimed(backend, ledger, waiting(backend))
    backend.stop()
    ledger.release_all("the pass ends", interrupted=False, policy=ON_SIGNAL)
    assert "release.failed" in caplog.messages
    backend.start()


# -- orphans --------------------------------------------------------------------------------------


def test_an_orphan_is_removed(every_backend: Backend) -> None:
    backend = every_backend
    build = waiting(backend)
    orphan = check_of(backend, build)
    backend.sql("DELETE FROM app_builds")
    assert ledger_of(backend).intake.remove(orphan)
    assert backend.checks() == []


def test_a_check_whose_build_exists_is_not_removed(backend: Backend) -> None:
    build = waiting(backend)
    assert not ledger_of(backend).intake.remove(check_of(backend, build))
    assert backend.status_of(build) == "pending"


def test_a_check_whose_build_can_not_be_looked_up_is_not_removed(backend: Backend) -> None:
    build = waiting(backend)
    check = check_of(backend, build)
    ledger = ledger_of(backend, backend.client(policy=RetryPolicy(attempts=1)))
    backend.sql("ALTER TABLE app_builds RENAME TO broken")
    with pytest.raises(AvscanError):
        ledger.intake.remove(check)
    backend.sql("ALTER TABLE broken RENAME TO app_builds")
    assert backend.status_of(build) == "pending"


def test_an_unavailable_server_is_an_error(backend: Backend) -> None:
    build = waiting(backend)
    job = job_of(read(backend, build))
    ledger = ledger_of(backend, backend.client(policy=RetryPolicy(attempts=1)))
    backend.stop()
    with pytest.raises(BackendError):
        ledger.claim(job)
    backend.start()
    assert backend.status_of(build) == "pending"


def test_a_build_without_files_is_settled_as_an_error(backend: Backend) -> None:
    build = backend.create_empty_build()
    backend.create_check(build)
    ledger = ledger_of(backend)
    claim = claimed(backend, ledger, build)
    verdict = Verdict(status=Status.ERROR, reason="no files")
    assert ledger.settle(claim, verdict, [], POLICIES, engine="") is Settlement.SETTLED
    assert backend.status_of(build) == "error"
