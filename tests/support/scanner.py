"""A scanner whose inspectors do what a test says, in a time that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from avscan.errors import EngineError
from avscan.findings import Examination
from avscan.inspector.process import Broken, Ended, Engine, Examined, Inspector
from avscan.scanner import Scanner
from avscan.workspace import Workspace


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Script:
    """What the inspectors do: `works` is whether their canary is found.

    `examine` is given what is examined and returns what is found or how the inspector ends;
    `takes` is how many seconds each content takes.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.works = True
        self.seen: list[bytes] = []
        self.most = 0  # inspectors at once
        self.running = 0
        self.takes: Callable[[bytes], float] = lambda _: 0.0
        self.examine: Callable[[bytes], Examination | Broken] = lambda _: Examination()
        self.loading: Callable[[], object] = lambda: None


class ScriptedInspector(Inspector):
    """An inspector without a process."""

    def __init__(self, script: Script, folder: Path) -> None:
        self.started = script.clock()
        self._script = script
        self._folder = folder
        self._content: bytes | None = None
        self._found = Examination()
        self._used = 0.0
        self._closed = False
        self.is_paused = False
        script.running += 1
        script.most = max(script.most, script.running)
        script.loading()

    @property
    def ran(self) -> float:
        return self._used

    @property
    def works(self) -> bool:
        return self._content is None

    @property
    def examination(self) -> Examination:
        return self._found

    def prove(self, tick: Callable[[], object]) -> None:
        tick()
        if not self._script.works:
            raise EngineError("clamscan does not find its canary")

    def begin(self, artifact: Path) -> None:
        assert not self._closed
        assert self._content is None
        self._content = artifact.read_bytes()
        artifact.unlink()
        self._used = 0.0
        self._found = Examination()

    def wait(self, seconds: float) -> Ended | None:
        assert self._content is not None
        assert not self.is_paused
        if self._used < self._script.takes(self._content):
            self._used += seconds
            self._script.clock.now += seconds
            return None
        self._script.seen.append(self._content)
        found = self._script.examine(self._content)
        if isinstance(found, Broken):
            return found
        self._content = None
        self._found = found
        return Examined()

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self._script.running -= not self._closed
        self._closed = True
        self._folder.rmdir()


class ScriptedScanner(Scanner):
    """The real scanner over scripted inspectors."""

    def __init__(
        self,
        script: Script,
        workspace: Workspace,
        *,
        kind: type[ScriptedInspector] = ScriptedInspector,
    ) -> None:
        def start(_engine: Engine, folder: Path) -> Inspector:
            return kind(script, folder)

        self.script = script
        super().__init__(
            clamscan="clamscan",
            database=workspace.folder,
            canary=None,
            most=timedelta(0),
            folder=workspace.inspector_folder,
            server_time=lambda: datetime.now(UTC),
            start=start,
            clock=script.clock,
        )

    def version(self) -> str:
        return "ClamAV"
