"""Verdicts that are asked for again, and passes that share the builds."""

from __future__ import annotations

from support.backend import Backend
from support.run import avscan

from avscan.clamav.canary import eicar
from avscan.settings import Shard


def scanned(backend: Backend) -> tuple[str, str]:
    clean, infected = backend.upload({"a.txt": b"a game"}), backend.upload({"a.com": eicar()})
    assert avscan("run", "--full", env=backend.environment()).code == 0
    return clean, infected


def test_named_builds_go_back_to_pending_and_are_scanned_again(backend: Backend) -> None:
    clean, infected = scanned(backend)
    done = avscan("rescan", infected, env=backend.environment())
    assert (done.code, done.out) == (0, f"{infected}\n")
    assert backend.status_of(infected) == "pending"
    assert backend.status_of(clean) == "clean"
    avscan("run", env=backend.environment())
    check = backend.check_of(infected)
    assert check is not None
    assert check["status"] == "infected"
    assert check["log"].count("infected: ") == 2


def test_verdicts_are_chosen_by_status(backend: Backend) -> None:
    clean, infected = scanned(backend)
    done = avscan("rescan", "--status", "clean", env=backend.environment())
    assert done.out == f"{clean}\n"
    assert backend.status_of(infected) == "infected"


def test_verdicts_are_chosen_by_age(backend: Backend) -> None:
    clean, _ = scanned(backend)
    check = backend.check_of(clean)
    assert check is not None
    backend.set_check(check["id"], scan_time="2020-01-01 00:00:00.000Z")
    done = avscan("rescan", "--older-than", "30d", env=backend.environment())
    assert done.out == f"{clean}\n"


def test_an_age_holds_for_named_builds_too(backend: Backend) -> None:
    clean, infected = scanned(backend)
    check = backend.check_of(clean)
    assert check is not None
    backend.set_check(check["id"], scan_time="2020-01-01 00:00:00.000Z")
    done = avscan("rescan", clean, infected, "--older-than", "30d", env=backend.environment())
    assert (done.code, done.out) == (2, f"{clean}\n")
    assert infected in done.err
    assert backend.status_of(infected) == "infected"


def test_a_correction_by_hand_is_undone_only_by_name(backend: Backend) -> None:
    _, infected = scanned(backend)
    check = backend.check_of(infected)
    assert check is not None
    backend.set_check(
        check["id"], status="clean", virus_name="", scan_time="2020-01-01 00:00:00.000Z"
    )
    assert avscan("rescan", "--older-than", "30d", env=backend.environment()).out == ""
    avscan("run", env=backend.environment(RESCAN_AFTER="30"))
    assert backend.status_of(infected) == "clean"
    assert avscan("rescan", infected, env=backend.environment()).out == f"{infected}\n"


def test_a_build_that_is_not_known_is_named_after_the_others_were_put_back(
    backend: Backend,
) -> None:
    clean, _ = scanned(backend)
    done = avscan("rescan", clean, "nosuchbuild0000", env=backend.environment())
    assert (done.code, done.out) == (2, f"{clean}\n")
    assert "no such verdict to put back: nosuchbuild0000" in done.err
    assert backend.status_of(clean) == "pending"


def test_what_can_be_no_id_is_a_usage_error(backend: Backend) -> None:
    done = avscan("rescan", "foo/bar", env=backend.environment())
    assert done.code == 2
    assert "'foo/bar' is not a record id" in done.err


def test_a_rescan_of_nothing_or_of_nobody_is_a_usage_error(backend: Backend) -> None:
    assert avscan("rescan", env=backend.environment()).code == 2
    assert avscan("rescan", "--older-than", "soon", env=backend.environment()).code == 2
    assert avscan("rescan", "nosuchbuild0000", env=backend.environment()).code == 2


def test_old_verdicts_are_renewed_by_themselves_if_that_is_wanted(backend: Backend) -> None:
    clean, infected = scanned(backend)
    check = backend.check_of(clean)
    assert check is not None
    backend.set_check(check["id"], scan_time="2020-01-01 00:00:00.000Z")
    done = avscan("run", env=backend.environment(RESCAN_AFTER="30"))
    assert done.event("pass.finished")["renewed"] == 1
    assert done.event("pass.finished")["scanned"] == 1
    again = backend.check_of(clean)
    assert again is not None
    assert again["scan_time"] > "2026"
    assert "renewed after" not in again["log"]
    assert backend.status_of(infected) == "infected"


def test_shards_share_all_builds_among_them(backend: Backend) -> None:
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(8)]
    avscan("run", "--full", env=backend.environment(SHARD="0/2"))
    first = {build for build in builds if backend.status_of(build) == "clean"}
    assert first == {build for build in builds if Shard(index=0, count=2).holds(build)}
    settings = {"AVSCAN_SHARDS": "2", "JOB_COMPLETION_INDEX": "1"}
    avscan("run", "--full", env=backend.environment(**settings))
    assert {backend.status_of(build) for build in builds} == {"clean"}


def test_a_dry_run_shows_the_shards_builds_only(backend: Backend) -> None:
    builds = [backend.upload({"a.txt": b"a game"}) for _ in range(8)]
    done = avscan("run", "--dry-run", env=backend.environment(SHARD="0/2"))
    shown = {line.split()[1] for line in done.out.splitlines()}
    assert shown == {build for build in builds if Shard(index=0, count=2).holds(build)}


def test_a_build_is_in_one_shard() -> None:
    for build in ("abc", "xyz", "0123456789abcde"):
        assert sum(Shard(index=index, count=5).holds(build) for index in range(5)) == 1
