"""A complete migration: from the verdicts of av-service to a gate for players."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.backend import Backend
from support.gate import BUILDS, CHECKS, listed, rule_of, set_rule
from support.run import Run, avscan
from support.samples import tar
from support.signatures import write_signatures

GAME = tar([("game.bin", b"a game")], "gz")
FALSE_ALARM = b"a tool that looks like a worm"
WORM = tar([("bin/tool.exe", FALSE_ALARM)], "gz")
BROKEN = GAME[:-20]


@contextmanager
def asking(backend: Backend, player: str) -> Iterator[list[set[str]]]:
    """List all builds as a player, repeatedly; yield the results."""
    seen: list[set[str]] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            seen.append(listed(backend, player))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield seen
    finally:
        done.set()
        asker.join()


def test_from_av_service_to_a_gate(every_backend: Backend, tmp_path: Path) -> None:
    backend = every_backend
    signatures = write_signatures(tmp_path / "signatures")
    (signatures / "worm.ndb").write_text(f"Worm:0:*:{FALSE_ALARM.hex()}\n")

    def run(*arguments: str, **settings: str) -> Run:
        done = avscan(
            *arguments, env=backend.environment(SIGNATURE_DIR=str(signatures), **settings)
        )
        assert done.code == 0, done.err
        return done

    # The verdicts of av-service, one of them wrong, and a backlog.
    old, missed = (backend.upload({"game.tar.gz": data}) for data in (GAME, WORM))
    for build in (old, missed):
        verdict = {"scan_time": "2025-06-01 12:00:00.000Z", "log": "File: game.tar.gz\nOK"}
        backend.create_check(build, status="clean", **verdict)
        backend.backdate("app_builds", build, updated="2025-06-01 11:59:00.000Z")
    waiting, broken = (backend.upload({"game.tar.gz": data}) for data in (GAME, BROKEN))
    uploading = backend.create_empty_build()

    # The migration, and the backlog. The old verdicts stay until they are renewed.
    run("init", "--fix")
    run("run")
    assert {each: backend.status_of(each) for each in (old, missed, waiting, broken)} == {
        old: "clean",
        missed: "clean",
        waiting: "clean",
        broken: "error",
    }
    assert backend.status_of(uploading) is None

    # The gate, and a renewal: a clean build is visible to players at all times.
    set_rule(backend, BUILDS, rule_of("app_builds"))
    set_rule(backend, CHECKS, rule_of("av_build_checks"))
    player, member = backend.sign_up().token, backend.sign_up_member().token
    assert listed(backend, player) == {old, missed, waiting}
    with asking(backend, player) as seen:
        run("run", RESCAN_AFTER="30")
    assert seen
    assert all(each >= {old, waiting} for each in seen)
    assert backend.status_of(missed) == "infected"
    assert listed(backend, player) == {old, waiting}

    # The publisher reads the reason, but not the log.
    reasons = {
        row["build"]: row["reason"]
        for row in backend.json("GET", f"{CHECKS}/records", token=member)["items"]
        if "log" not in row
    }
    assert "bin/tool.exe in game_" in reasons[missed]
    assert "contains Worm" in reasons[missed]
    assert "could not be inspected: gzip: it is cut short" in reasons[broken]
    assert reasons[old] == ""

    # A false positive: one file inside a tar.gz is allowed by its hash.
    digest = hashlib.sha256(FALSE_ALARM).hexdigest()
    (signatures / "known.sfp").write_text(f"{digest}:{len(FALSE_ALARM)}:tool-of-the-studio\n")
    run("rescan", missed)
    assert listed(backend, player) == {old, waiting}
    run("run")
    assert listed(backend, player) == {old, missed, waiting}
    assert listed(backend, member) == {old, missed, waiting, broken, uploading}
