"""A storm: all that can go wrong, at random instants, on real programs; then calm."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.backend import Backend, Row
from support.proxy import Proxy

from avscan.clamav.canary import eicar
from chaos import checker

RATE = 0.2
MOST_BUILDS = 30
LONG_AGO = "2020-01-01 00:00:00.000Z"
# Done, PocketBase failed, an inspector was killed before it was ready, stopped, killed, and stopped
# before it could have listened.
ALLOWED = {0, 3, 6, 143, -signal.SIGKILL, -signal.SIGTERM}
STOPPING = 5.0
ENDING = 150.0  # seconds in which a pass has to end once nothing is in its way
CALM_PASSES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A pass under way, in a work folder of its own."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path


def inspectors_of(process: int) -> list[int]:
    """List the inspectors of a pass, and their clamscans."""
    children: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):  # it has ended meanwhile
            children += map(int, (task / "children").read_text().split())
    return [*children, *(below for child in children for below in inspectors_of(child))]


class Storm:
    """Everything that happens is drawn from one seed; when it happens is up to the machine."""

    def __init__(self, backend: Backend, folder: Path, *, seed: int) -> None:
        self.backend = backend
        self.folders = (folder / "work-1", folder / "work-2")
        self.violations: list[str] = []
        self.counts: dict[str, int] = {}
        self._chance = random.Random(seed)
        self._ends = ExitStack()
        self._proxy = self._ends.enter_context(Proxy(backend.url, seed=seed, rate=RATE))
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._passes: list[Pass] = []
        self._started = 0
        self._events: list[tuple[Callable[[], None], int]] = [
            (self._upload, 10),
            (self._replace, 6),
            (self._add_file, 3),
            (self._remove_files, 2),
            (self._edit, 3),
            (self._delete, 3),
            (self._delete_check, 1),
            (self._add_check, 1),
            (self._kill, 3),
            (self._terminate, 3),
            (self._kill_inspector, 4),
            (self._age, 3),
            (self._crash_pocketbase, 1),
            (self._restart_pocketbase, 1),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self._passes:
            each.process.kill()
            each.process.wait()
        self._ends.close()

    def rage(self, seconds: float) -> None:
        """Let it rage for so long."""
        events, weights = zip(*self._events, strict=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._keep_passes_running()
            (event,) = self._chance.choices(events, weights)
            self._count(event.__name__.strip("_"))
            event()
            # No synchronisation: instants are what is random here.
            time.sleep(self._chance.uniform(0.0, 0.5))

    def calm(self) -> list[str]:
        """Stop all harm, let a few passes run, and say what is not as promised then."""
        self._proxy.rate = 0.0
        self._count("harmed requests", self._proxy.harmed)
        for each in self._passes.copy():
            self._await(each, ENDING)
        for number in range(CALM_PASSES):
            self._age()
            self._give_another_chance()
            self._await(self._start(self.folders[number % 2], "--full"), ENDING)
        return [*self.violations, *checker.violations(self.backend, *self.folders)]

    # -- passes -----------------------------------------------------------------------------

    def _keep_passes_running(self) -> None:
        for each in self._passes.copy():
            if each.process.poll() is not None:
                self._ended(each)
        busy = {each.folder for each in self._passes}
        for folder in self.folders:
            if folder not in busy:
                self._start(folder, *self._chance.choice([(), ("--full",)]))

    def _start(self, folder: Path, *arguments: str) -> Pass:
        self._started += 1
        log = self._logs / f"pass-{self._started}.log"
        environment = self.backend.environment(
            POCKETBASE_URL=self._proxy.url,
            WORK_DIR=str(folder),
            STUCK_AFTER="30",
            LOG_FORMAT="json",
        )
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "avscan", "run", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        started = Pass(process=process, folder=folder, log=log)
        self._passes.append(started)
        return started

    def _await(self, each: Pass, seconds: float) -> None:
        try:
            each.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.violations.append(f"{each.log.name}: the pass does not end within {seconds} s")
            each.process.kill()
            each.process.wait()
        self._ended(each)

    def _ended(self, each: Pass) -> None:
        self._passes.remove(each)
        code = each.process.returncode
        self._count(f"exit {code}")
        if code not in ALLOWED:
            last = each.log.read_text().splitlines()[-1:]
            self.violations.append(f"{each.log.name}: ended with {code}: {last}")
        self.violations += checker.bugs(each.log)

    def _kill(self) -> None:
        if self._passes:
            each = self._chance.choice(self._passes)
            each.process.kill()
            self._await(each, STOPPING)

    def _terminate(self) -> None:
        if self._passes:
            each = self._chance.choice(self._passes)
            each.process.terminate()
            self._await(each, STOPPING)

    def _kill_inspector(self) -> None:
        """Kill an inspector or its clamscan, wherever it is."""
        found = [pid for each in self._passes for pid in inspectors_of(each.process.pid)]
        if found:
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(found), signal.SIGKILL)

    # -- publishers and operators -----------------------------------------------------------

    def _upload(self) -> None:
        if len(checker.builds_of(self.backend)) < MOST_BUILDS:
            self.backend.upload(self._files())

    def _replace(self) -> None:
        if build := self._some_build():
            self.backend.replace_files(build["id"], self._files())

    def _add_file(self) -> None:
        if build := self._some_build():
            self.backend.add_files(build["id"], self._files(most=1))

    def _remove_files(self) -> None:
        if (build := self._some_build()) and build["files"]:
            self.backend.remove_files(build["id"], self._chance.choice(build["files"]))

    def _edit(self) -> None:
        if build := self._some_build():
            self.backend.edit(build["id"], entrypoint=f"game-{self._chance.random()}")

    def _delete(self) -> None:
        if build := self._some_build():
            self.backend.delete_build(build["id"])

    def _delete_check(self) -> None:
        if checks := self.backend.checks():
            self._try("DELETE", f"/{self._chance.choice(checks)['id']}")

    def _add_check(self) -> None:
        """Do what a hook of the backend's may do: create the check under an id of its own."""
        if build := self._some_build():
            with_check = [check["build"] for check in self.backend.checks()]
            if build["id"] not in with_check:
                values = {"id": build["id"], "build": build["id"], "status": "pending"}
                self._try("POST", "", json=values)

    def _try(self, method: str, path: str, **options: Any) -> None:
        """Make a request that a pass may have been quicker with."""
        self.backend.request(method, f"/api/collections/av_build_checks/records{path}", **options)

    def _some_build(self) -> Row | None:
        builds = checker.builds_of(self.backend)
        return self._chance.choice(builds) if builds else None

    def _files(self, *, most: int = 3) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for number in range(self._chance.randint(1, most)):
            content = self._chance.randbytes(self._chance.choice([10, 10_000, 300_000]))
            infected = self._chance.random() < 0.3
            name = f"{checker.VIRUS if infected else 'game'}_{number}.bin"
            # Random bytes before it: no two files are alike, and neither begins like a program.
            files[name] = b"\0" + content + (eicar() if infected else b"")
        return files

    # -- time and the server ----------------------------------------------------------------

    def _age(self) -> None:
        """Let a long time pass for every claim."""
        for check in self.backend.checks():
            if check["status"] == "scanning":
                self.backend.backdate("av_build_checks", check["id"], updated=LONG_AGO)

    def _give_another_chance(self) -> None:
        """Do what an operator does about builds whose passes were killed again and again."""
        for check in self.backend.checks():
            if check["status"] == "error" and checker.GIVEN_UP in check["log"]:
                self._count("builds given up")
                self.backend.set_check(check["id"], status="pending", log="")

    def _crash_pocketbase(self) -> None:
        self.backend.kill()
        time.sleep(self._chance.uniform(0.0, 1.5))
        self.backend.start()

    def _restart_pocketbase(self) -> None:
        self.backend.restart()

    def _count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number
