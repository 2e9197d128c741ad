"""`avscan rescan`, renewals of old verdicts, and shards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from chaos.gate import eventually
from support.backend import Backend
from support.fake_clamscan import script
from support.run import avscan, kill_after
from support.signatures import write_signatures
from support.terminal import on_terminal

from avscan.backend.claims import Settlement
from avscan.backend.ledger import Ledger
from avscan.clamav.canary import eicar
from avscan.records import Check, Status
from avscan.settings import Policy, Shard
from avscan.verdict import Policies, Verdict


def scanned(backend: Backend) -> tuple[str, str]:
    clean, infected = backend.upload({"a.txt": b"a game"}), backend.upload({"a.com": eicar()})
    assert avscan("run", "--full", env=backend.environment()).code == 0
    return clean, infected


def outdate(backend: Backend, build: str, **changes: str) -> None:
    check = backend.check_of(build)
    backend.set_check(check["id"], scan_time="2020-01-01 00:00:00.000Z", **changes)


def test_named_builds_are_reset_to_pending_and_scanned_again(backend: Backend) -> None:
    clean, infected = scanned(backend)
    done = avscan("rescan", infected, env=backend.environment())
    assert (done.code, done.out) == (0, f"{infected}\n")
    assert backend.status_of(infected) == "pending"
    assert backend.status_of(clean) == "clean"
    avscan("run", env=backend.environment())
    check = backend.check_of(infected)
    assert check["status"] == "infected"
    assert check["log"].count("infected: ") == 2


def test_verdicts_are_chosen_by_status(backend: Backend) -> None:
    clean, infected = scanned(backend)
    done = avscan("rescan", "--status", "clean", env=backend.environment())
    assert done.out == f"{clean}\n"
    assert backend.status_of(infected) == "infected"


def test_verdicts_are_chosen_by_age(backend: Backend) -> None:
    clean, _ = scanned(backend)
    outdate(backend, clean)
    done = avscan("rescan", "--older-than", "30d", env=backend.environment())
    assert done.out == f"{clean}\n"


def test_older_than_also_applies_to_named_builds(backend: Backend) -> None:
    clean, infected = scanned(backend)
    outdate(backend, clean)
    done = avscan("rescan", clean, infected, "--older-than", "30d", env=backend.environment())
    assert (done.code, done.out) == (2, f"{clean}\n")
    assert infected in done.err
    assert backend.status_of(infected) == "infected"


def test_a_correction_by_hand_is_reset_only_by_name(backend: Backend) -> None:
    _, infected = scanned(backend)
    outdate(backend, infected, status="clean", virus_name="")
    assert avscan("rescan", "--older-than", "30d", env=backend.environment()).out == ""
    avscan("run", env=backend.environment(RESCAN_AFTER="30"))
    assert backend.status_of(infected) == "clean"
    assert avscan("rescan", infected, env=backend.environment()).out == f"{infected}\n"


def test_a_correction_by_hand_is_recorded_in_the_log(backend: Backend) -> None:
    _, infected = scanned(backend)
    check = backend.check_of(infected)
    backend.set_check(check["id"], status="clean")
    avscan("rescan", infected, env=backend.environment())
    assert "clean: given by hand" in backend.check_of(infected)["log"]
    backend.set_check(check["id"], status="clean", log="")
    backend.replace_files(infected, {"b.txt": b"another game"})
    event = avscan("run", "--full", env=backend.environment()).event("check.reopened")
    assert (event["before"], event["by"]) == ("clean", "given by hand")


def test_an_unknown_build_is_an_error_after_the_others_are_reset(
    backend: Backend,
) -> None:
    clean, _ = scanned(backend)
    done = avscan("rescan", clean, "nosuchbuild0000", env=backend.environment())
    assert (done.code, done.out) == (2, f"{clean}\n")
    assert "no such verdict, or no such build: nosuchbuild0000" in done.err
    assert backend.status_of(clean) == "pending"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name builds, or choose them by"),
        (["--older-than", "soon"], "--older-than must be like 30d"),
        (["nosuchbuild0000"], "no such verdict, or no such build: nosuchbuild0000"),
        (["foo/bar"], "'foo/bar' is not a record id"),
    ],
)
def test_a_rescan_without_a_matching_build_is_a_usage_error(
    backend: Backend, arguments: list[str], words: str
) -> None:
    done = avscan("rescan", *arguments, env=backend.environment())
    assert done.code == 2
    assert words in done.err


def test_old_verdicts_are_renewed_with_rescan_after(backend: Backend) -> None:
    clean, infected = scanned(backend)
    outdate(backend, clean)
    done = avscan("run", env=backend.environment(RESCAN_AFTER="30"))
    assert done.event("pass.finished")["renewed"] == 1
    assert done.event("pass.finished")["scanned"] == 1
    again = backend.check_of(clean)
    assert again["scan_time"] > "2026"
    assert again["log"].count("clean: ") == 2
    assert backend.status_of(infected) == "infected"


@contextmanager
def watched(backend: Backend, build: str) -> Iterator[set[str | None]]:
    """Poll a build's status; yield the set of all values."""
    seen: set[str | None] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(backend.status_of(build))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def test_a_renewal_never_hides_a_clean_build(backend: Backend) -> None:
    """It stays clean at all times, even if passes are killed."""
    clean, _ = scanned(backend)
    outdate(backend, clean)
    env = backend.environment(RESCAN_AFTER="30")
    with watched(backend, clean) as seen:
        for number in range(12):
            kill_after(0.03 + 0.03 * number, "run", env=env)
        # What the last one was about to start may hold the lock for an instant.
        eventually(lambda: avscan("run", env=env).named("pass.finished"))
    assert seen == {"clean"}
    check = backend.check_of(clean)
    assert check["scan_time"] > "2026"


def test_a_renewal_uses_newer_signatures(backend: Backend, tmp_path: Path) -> None:
    build = backend.upload({"a.bin": b"what nobody knew at first"})
    assert avscan("run", env=backend.environment()).code == 0
    outdate(backend, build)
    newer = write_signatures(tmp_path / "newer")
    (newer / "new.ndb").write_text(f"New:0:*:{b'what nobody knew'.hex()}\n")
    avscan("run", env=backend.environment(RESCAN_AFTER="30", SIGNATURE_DIR=str(newer)))
    assert backend.status_of(build) == "infected"


def test_a_failed_renewal_keeps_the_verdict_and_the_pass_succeeds(
    backend: Backend, tmp_path: Path
) -> None:
    clean, _ = scanned(backend)
    outdate(backend, clean)
    fake = script(tmp_path, "find", "die:SIGSEGV", "find", "ok")
    done = avscan("run", env=backend.environment(RESCAN_AFTER="30", CLAMSCAN_PATH=str(fake)))
    assert done.code == 0
    assert "SIGSEGV" in done.event("renewal.released")["reason"]
    check = backend.check_of(clean)
    assert (check["status"], check["scan_time"][:4]) == ("clean", "2020")


def test_a_verdict_changed_during_its_renewal_is_kept(backend: Backend) -> None:
    build, _ = scanned(backend)
    row = backend.check_of(build)
    ledger = Ledger(backend.client(), host="here", stuck_after=timedelta(seconds=900))
    job = ledger.intake.renewal(Check.parse(row))
    assert job is not None
    claim = ledger.claim(job)
    assert claim is not None
    backend.set_check(row["id"], status="infected")
    verdict = Verdict(status=Status.CLEAN, reason="no threats found")
    policies = Policies(opaque=Policy.NOTE, oversize=Policy.ERROR)
    assert ledger.settle(claim, verdict, [], policies, engine="") is Settlement.LOST
    assert backend.status_of(build) == "infected"


# -- selections and confirmation ------------------------------------------------------------------


def old_verdicts(backend: Backend, number: int, **fields: str) -> list[str]:
    """Create clean builds, the oldest verdict first."""
    builds = []
    for day in range(1, number + 1):
        builds.append(build := backend.upload({"a.txt": b"a game"}))
        values = {"status": "clean", "log": "File: game.tar.gz", **fields}
        backend.create_check(build, scan_time=f"2025-01-{day:02} 00:00:00.000Z", **values)
    return builds


def test_verdicts_of_av_service_are_reset_up_to_the_limit(backend: Backend) -> None:
    own, _ = scanned(backend)
    old = old_verdicts(backend, 5)
    env = backend.environment()
    done = avscan("rescan", "--from-av-service", "--limit", "3", env=env)
    assert (done.code, done.out.split()) == (0, old[:3])
    assert avscan("rescan", "--from-av-service", env=env).out.split() == old[3:]
    assert backend.status_of(own) == "clean"
    assert avscan("run", env=env).code == 0
    check = backend.check_of(old[0])
    assert "clean: given by av-service" in check["log"]


def test_from_av_service_also_applies_to_named_builds(backend: Backend) -> None:
    own, _ = scanned(backend)
    [old] = old_verdicts(backend, 1)
    done = avscan("rescan", "--from-av-service", own, old, env=backend.environment())
    assert (done.code, done.out) == (2, f"{old}\n")
    assert backend.status_of(own) == "clean"


@pytest.mark.parametrize("renews", [True, False])
def test_builds_with_a_verdict_of_av_service_are_not_late(
    backend: Backend, *, renews: bool
) -> None:
    """Their first verdict is from long ago."""
    [build] = old_verdicts(backend, 1)
    backend.backdate("app_builds", build, updated="2024-12-31 00:00:00.000Z")
    env = backend.environment(RESCAN_AFTER="30" if renews else "0")
    if not renews:
        avscan("rescan", build, env=env)
        assert json.loads(avscan("status", "--format", "json", env=env).out)["late"] == []
    assert avscan("run", env=env).event("pass.finished")["scanned"] == 1
    report = json.loads(avscan("status", "--format", "json", env=env).out)
    assert (report["verdicts"]["clean"], report["late"]) == (1, [])


def test_verdicts_of_av_service_are_renewed(backend: Backend) -> None:
    [build] = old_verdicts(backend, 1)
    avscan("run", env=backend.environment(RESCAN_AFTER="30"))
    check = backend.check_of(build)
    assert check["log"].startswith("clean: ")


def test_a_dry_run_prints_the_builds_and_writes_nothing(backend: Backend) -> None:
    builds = old_verdicts(backend, 12)
    done = avscan("rescan", "--status", "clean", "--dry-run", env=backend.environment())
    assert (done.code, done.out.split()) == (0, builds)
    assert "12 would be reset to pending" in done.err
    assert {backend.status_of(build) for build in builds} == {"clean"}


def test_many_clean_builds_need_a_confirmation(backend: Backend) -> None:
    builds = old_verdicts(backend, 12)
    arguments, env = ("rescan", "--status", "clean"), backend.environment()
    refused = avscan(*arguments, env=env)
    assert (refused.code, refused.out) == (2, "")
    assert "12 clean builds would be reset" in refused.err
    assert "--yes" in refused.err
    declined = on_terminal(*arguments, env=env, typed=b"n\n")
    assert declined.code == 2
    assert "nothing was reset" in declined.text
    assert {backend.status_of(build) for build in builds} == {"clean"}
    assert on_terminal(*arguments, "--limit", "11", env=env, typed=b"y\n").code == 0
    assert avscan(*arguments, "--yes", env=env).out.split() == builds[11:]
    assert {backend.status_of(build) for build in builds} == {"pending"}


def test_each_build_is_printed_once(backend: Backend) -> None:
    clean, _ = scanned(backend)
    backend.create_check(
        clean, status="clean", scan_time="2025-01-01 00:00:00.000Z", log="clean: x"
    )
    done = avscan("rescan", clean, clean, env=backend.environment())
    assert (done.code, done.out) == (0, f"{clean}\n")


def test_shards_together_scan_all_builds(backend: Backend) -> None:
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(8)]
    avscan("run", "--full", env=backend.environment(SHARD="0/2"))
    first = {build for build in builds if backend.status_of(build) == "clean"}
    assert first == {build for build in builds if Shard(index=0, count=2).holds(build)}
    settings = {"AVSCAN_SHARDS": "2", "JOB_COMPLETION_INDEX": "1"}
    avscan("run", "--full", env=backend.environment(**settings))
    assert {backend.status_of(build) for build in builds} == {"clean"}


def test_a_dry_run_shows_only_the_builds_of_the_shard(backend: Backend) -> None:
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(8)]
    done = avscan("run", "--dry-run", env=backend.environment(SHARD="0/2"))
    shown = {line.split()[1] for line in done.out.splitlines()}
    assert shown == {build for build in builds if Shard(index=0, count=2).holds(build)}
