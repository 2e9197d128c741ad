"""The suite itself: with any safeguard taken out, the checker says what went wrong.

Each scene runs twice: as avscan is, which has to satisfy the checker, and without one safeguard.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.backend import REPOSITORY, Backend
from support.proxy import Guest, Proxy, Request, request_to

from avscan.backend import journal
from avscan.clamav.canary import eicar
from avscan.records import format_time
from chaos import without
from chaos.checker import VIRUS, violations
from chaos.gate import MAX_WAIT, Gate, eventually

pytestmark = pytest.mark.chaos

GAME = {"game.bin": b"a game"}
INFECTED = {f"{VIRUS}.bin": eicar()}
ABANDONED = timedelta(seconds=60)  # longer ago than STUCK_AFTER, so not a living pass's


class Scene:
    """Passes with a safeguard taken out, each on a machine of its own."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.gate = Gate(folder / "gate")
        self._folder = folder
        self._ends = ExitStack()
        self._folders: list[Path] = []

    def start(self, safeguard: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a pass without this safeguard."""
        self._folders.append(self._folder / f"machine-{len(self._folders)}")
        environment = self.backend.environment(
            WORK_DIR=str(self._folders[-1]),
            CLAMSCAN_PATH=str(self.gate.program),
            STUCK_AFTER="30",
            **settings,
        )
        process = subprocess.Popen(
            [sys.executable, without.__file__, safeguard, "run", "--full"],
            env=environment | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)
        return process

    def hold(self, safeguard: str, build: str) -> subprocess.Popen[bytes]:
        """Start a pass and wait until it has claimed the build, or has ended without."""
        before = self._claim(build)
        process = self.start(safeguard)
        eventually(lambda: self._claim(build) not in {before, None} or process.poll() is not None)
        return process

    def _claim(self, build: str) -> str | None:
        checks = self.backend.checks_of(build)
        return journal.claim_of(checks[0]["log"]) if checks else None

    def sweep(self, safeguard: str, **settings: str) -> None:
        assert self.start(safeguard, **settings).wait(MAX_WAIT) == 0

    def age(self, build: str) -> None:
        """Make a claim look abandoned, and leave a heartbeat the time to mend that."""
        check = self.backend.check_of(build)
        if check["status"] == "scanning":
            moment = format_time(datetime.now(UTC) - ABANDONED)
            self.backend.backdate("av_build_checks", check["id"], updated=moment)
            time.sleep(10 * without.BEAT)

    def downloaded(self) -> bool:
        """Return whether the latest pass has a file on its disk, ready to be scanned."""
        artifacts = self._folders[-1].rglob("artifact*")
        return any(path.stat().st_size for path in artifacts)

    def violations(self) -> list[str]:
        return violations(self.backend, *self._folders)

    def close(self) -> None:
        self._ends.close()


@pytest.fixture
def scene(backend: Backend, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(backend, tmp_path)
    yield scene
    scene.close()


def files_change_under_the_scan(scene: Scene, safeguard: str) -> None:
    build = scene.backend.upload(GAME)
    under_way = scene.hold(safeguard, build)
    eventually(scene.downloaded)
    scene.backend.replace_files(build, INFECTED)
    scene.gate.open()
    assert under_way.wait(MAX_WAIT) == 0
    for _ in range(2):
        scene.sweep(safeguard)


def a_scan_lasts_long_while_other_passes_come_by(scene: Scene, safeguard: str) -> None:
    build = scene.backend.upload(GAME)
    passes = [scene.hold(safeguard, build)]
    for _ in range(3):
        scene.age(build)
        passes.append(scene.hold(safeguard, build))
    scene.gate.open()
    assert [each.wait(MAX_WAIT) for each in passes] == [0] * len(passes)
    scene.sweep(safeguard)


def the_session_is_lost(scene: Scene, safeguard: str) -> None:
    """The first token of a pass is a guest's, to whom there are no builds."""
    scene.backend.upload(INFECTED)
    scene.gate.open()
    lists = request_to("GET", "/records")
    signs_in = request_to("POST", "auth-with-password")
    for _ in range(2):
        with Proxy(scene.backend.url) as proxy:

            def with_a_lost_token(request: Request, proxy: Proxy = proxy) -> bool:
                return lists(request) and len(proxy.matching(signs_in)) == 1

            proxy.plan(with_a_lost_token, Guest(), times=None)
            scene.sweep(safeguard, POCKETBASE_URL=proxy.url)
            assert proxy.harmed


SCENES = {
    "file_comparison": (files_change_under_the_scan, "is clean, not infected"),
    "heartbeat": (a_scan_lasts_long_while_other_passes_come_by, "is error, not clean"),
    "guest_detection": (the_session_is_lost, "has 0 checks"),
}


@pytest.mark.parametrize("safeguard", SCENES)
def test_with_every_safeguard_in_its_place_all_is_well(scene: Scene, safeguard: str) -> None:
    play, _ = SCENES[safeguard]
    play(scene, "nothing")
    assert scene.violations() == []


@pytest.mark.parametrize("safeguard", SCENES)
def test_without_a_safeguard_the_checker_says_what_went_wrong(scene: Scene, safeguard: str) -> None:
    play, words = SCENES[safeguard]
    play(scene, safeguard)
    (found,) = scene.violations()
    assert words in found
