"""The queue of files that the engine scans, which are shown ahead of its answers.

So writing, walking and scanning overlap. The engine answers in the order in which files were shown.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from avscan.archives.bounds import Account
from avscan.archives.bundle import BYTES, Bundle
from avscan.archives.scratch import Scratch
from avscan.archives.streams import Stream
from avscan.findings import Findings

MOST_FILES = 8
"""Files that are shown ahead. All their paths fit into the pipe to clamscan."""

MOST_BYTES = 256 << 20
"""Bytes of the files that are shown ahead, without the one that is being written."""


class Engine(Protocol):
    """An engine that scans files, as clamscan does.

    It reports a file whose content is `end_mark` as unopened, under the name `bundle.END`.
    """

    @property
    def end_mark(self) -> bytes:
        """The content that it recognises by its hash."""

    def submit(self, path: Path) -> None:
        """Submit a file for scanning, and return at once; its name must be one of ours."""

    def collect(self) -> Findings:
        """Wait for the findings on the first submitted file that has no answer yet."""


class Ticket:
    """A file that was shown; `findings` are None until the engine has answered."""

    def __init__(self, size: int = 0, findings: Findings | None = None) -> None:
        self.size = size
        self.findings = findings
        self._callbacks: list[Callable[[Findings], None]] = []

    def then(self, callback: Callable[[Findings], None]) -> None:
        """Call `callback` with the findings, at once or when they are there."""
        if self.findings is None:
            self._callbacks.append(callback)
        else:
            callback(self.findings)

    def answer(self, findings: Findings) -> None:
        """Set the findings, and call what waits for them."""
        self.findings = findings
        for callback in self._callbacks:
            callback(findings)


class Pipeline:
    """The queue of one artifact's files."""

    def __init__(self, engine: Engine, workspace: Path, account: Account, ceiling: int) -> None:
        self._engine = engine
        self._workspace = workspace
        self._account = account
        account.make_room = self.settle
        self._most = min(BYTES, ceiling // 2)
        self._bundle = Bundle(engine.end_mark)
        self._tickets: deque[Ticket] = deque()
        self._bytes = 0
        self._files = 0

    @property
    def done(self) -> bool:
        """Whether every file that was shown has been answered."""
        return not (self._tickets or self._bundle.size)

    def scratch(self) -> Scratch:
        """Return a new file in the workspace, once fewer than `MOST_BYTES` are shown ahead."""
        while self._bytes > MOST_BYTES:
            self._collect()
        self._files += 1
        return Scratch(self._workspace, self._account, number=self._files)

    def show(self, path: Path, size: int) -> Ticket:
        """Show a file, which must exist until it is answered."""
        while len(self._tickets) >= MOST_FILES:
            self._collect()
        self._engine.submit(path)
        self._tickets.append(ticket := Ticket(size))
        self._bytes += size
        return ticket

    def bundle(self, content: bytes, show_alone: Callable[[bytes], None]) -> None:
        """Show a small file together with others; `show_alone` is called if anything is found."""
        if self._bundle.size + len(content) > self._most:
            self._flush()
        self._bundle.add(content, show_alone)

    def wait(self, ticket: Ticket) -> Findings:
        """Wait for the findings on a file."""
        while ticket.findings is None:
            self._collect()
        return ticket.findings

    def settle(self) -> None:
        """Wait for the answers on all files that were shown."""
        while self._tickets:
            self._collect()

    def finish(self) -> None:
        """Show the bundled files, and wait for all answers."""
        while not self.done:
            self._flush()
            self.settle()

    def _flush(self) -> None:
        bundle, self._bundle = self._bundle, Bundle(self._engine.end_mark)
        if not bundle.size:
            return
        scratch = self.scratch()
        scratch.fill(Stream(io.BytesIO(bundle.tar()).read))

        def settle(findings: Findings) -> None:
            scratch.close()
            bundle.settle(findings)

        self.show(scratch.path, scratch.size).then(settle)

    def _collect(self) -> None:
        ticket = self._tickets.popleft()
        self._bytes -= ticket.size
        ticket.answer(self._engine.collect())
