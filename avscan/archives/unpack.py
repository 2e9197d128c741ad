"""The walk over one artifact: clamscan is shown every file in it, archive by archive.

- Every file is shown to the engine as it is, with two exceptions: instead of a compressed file its
  content is shown, and instead of a compressed tar the members of the tar are.
- Every reader that recognises a file opens it, and each member is treated as a file again. A member
  that the engine has already scanned, as part of the archive around it, is not shown again.
- Other files, such as programs and scripts, are searched for archives inside of them.
- Small files that no reader recognises are shown together: see `bundle`.
- What is damaged, or outside of its format's profile, is scanned as far as it can be read and as raw
  bytes. It is an error if it is the artifact itself, and unsupported content if it is inside of it.

Hash signatures match whole files only. So it is not enough that the engine sees the bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from avscan.archives import embedded, registry
from avscan.archives.bounds import Account, Bounds, ExceededError
from avscan.archives.executables import is_program, may_embed_archives
from avscan.archives.pipeline import Engine, Pipeline, Ticket
from avscan.archives.reader import (
    HEAD,
    UNREADABLE,
    Archive,
    Member,
    Reader,
    StreamReader,
    items_of,
    reason_of,
)
from avscan.archives.report import Place, Reporter
from avscan.archives.scratch import Scratch
from avscan.archives.streams import Stream, until
from avscan.archives.unsupported import unsupported
from avscan.findings import Finding, Findings

OVERLAP = 16 << 20
"""Bytes that two windows of a long file share. Body signatures span kilobytes; this is 0.8 % more
to scan."""

SMALL = 16 << 10
"""Bytes of a file that is bundled. A longer one is scanned faster alone, since clamscan scans a
bundle's raw bytes as well."""

IN_MEMORY = 64 << 10
"""Bytes of an already scanned file that is searched for archives in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """Where the walk is: in which member, in how many archives.

    `already_scanned` means that the engine scanned this content as part of the archive around it.
    `unpacked` means that the content was compressed, or that the engine scanned its raw bytes in a
    program. `is_artifact` holds for the artifact and for content that is only compressed in it.
    `is_partial` means that an early end is no damage.
    """

    place: Place = ()
    depth: int = 0
    already_scanned: bool = False
    unpacked: bool = False
    is_artifact: bool = True
    is_partial: bool = False


def examine(
    path: Path,
    *,
    engine: Engine,
    workspace: Path,
    bounds: Bounds,
    report: Callable[[Finding], None],
) -> None:
    """Scan one artifact completely, and report what cannot be scanned.

    Each finding is reported as it is made. Nothing is left behind in the workspace. A memory limit
    of the process (RLIMIT_DATA) is a bound like the others: to exceed it is an error of the
    artifact. Raise EngineError if the engine does not work and WorkspaceError if the disk does not:
    a fault of the artifact is a finding.
    """
    walk = _Walk(path, engine, workspace, bounds, report)
    try:
        while not walk.done:
            try:
                walk.go_on()
            except ExceededError as exceeded:
                reason = str(exceeded)
            except MemoryError:
                reason = "needs more memory than there is for the inspection of an artifact"
            else:
                continue
            # Outside of the handlers no frame holds a decoder: there is memory for a report again.
            Reporter(report).incomplete(reason, walk.place)
    finally:
        for left in workspace.glob("member-*"):
            left.unlink()


class _Source(Stream):
    """A member's bytes, up to where they are damaged."""

    is_damaged = False


@dataclass(slots=True)
class _Opened:
    """What `readers` got out of a file: members that could be opened, and `closed` ones that not.

    `trusted` counts members that are not shown again, `embedded` the archives inside of the file.
    """

    readers: list[Reader]
    members: int = 0
    trusted: int = 0
    closed: int = 0
    problems: int = 0
    embedded: int = 0


class _Walk:
    """One artifact's walk; `place` is the current member."""

    def __init__(
        self,
        path: Path,
        engine: Engine,
        workspace: Path,
        bounds: Bounds,
        report: Callable[[Finding], None],
    ) -> None:
        self.place: Place = ()
        self._artifact: Path | None = path
        self._workspace = workspace
        self._bounds = bounds
        self._account = Account(bounds, workspace)
        self._pipeline = Pipeline(engine, workspace, self._account, bounds.ceiling)
        self._report = Reporter(report)

    @property
    def done(self) -> bool:
        """Whether nothing is left to walk or to wait for."""
        return self._artifact is None and self._pipeline.done

    def go_on(self) -> None:
        """Walk the artifact, or wait for the answers that are missing. Raise ExceededError."""
        path, self._artifact = self._artifact, None
        if path is not None:
            self._file(path, _Context())
        self._pipeline.finish()

    # Files.

    def _file(
        self,
        path: Path,
        context: _Context,
        reader: Reader | None = None,
        *,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Show a file on the disk to the engine, and open it if it is an archive.

        `close` is called when the file is not needed any more.
        """
        with path.open("rb") as file:
            size = file.seek(0, SEEK_END)
            file.seek(0)
            head = file.read(HEAD)
            readers = registry.recognise(head, file)
            if reader is not None:
                readers = [reader, *(each for each in readers if each.name != reader.name)]
            is_long = size > self._bounds.ceiling  # clamscan cuts such members in silence
            if is_long:
                context = replace(context, already_scanned=False)
            only_content = bool(readers) and all(each.is_compressed for each in readers)
            ticket = Ticket(findings=Findings())
            if not (only_content or context.already_scanned):
                ticket = self._show_file(path, size, context)
            archive = Archive(
                path=path, file=file, size=size, workspace=self._workspace, account=self._account
            )
            entered = self._account.members
            inner = replace(context, already_scanned=not (only_content or is_long))
            opened = self._open(readers, archive, inner)
            if opened.trusted and self._pipeline.wait(ticket).is_incomplete:
                self._account.members = entered
                opened = self._open(readers, archive, replace(inner, already_scanned=False))
            if (opened.problems or opened.closed) and only_content:
                self._pipeline.wait(self._show_file(path, size, context))
            if not any(each.is_certain for each in readers):
                opened.embedded = self._search(file, context)

        def conclude(findings: Findings) -> None:
            self._report_unopened(head, opened, findings, context)
            if not opened.members:
                self._report.limits(findings, context.place)
                if is_long:
                    self._report.oversize(size, context.place)
            close()

        ticket.then(conclude)

    def _report_unopened(
        self, head: bytes, opened: _Opened, findings: Findings, context: _Context
    ) -> None:
        """Report the content that neither the engine nor a reader has opened."""
        is_opened = opened.members or opened.closed or opened.embedded
        if not is_opened and (name := unsupported(head)):
            self._report.opaque(name, context.place)
        if not opened.members or not any(each.recognise(head) for each in opened.readers):
            # The readers have already reported what these markers mean.
            known = {unsupported(head)}.union(*(each.markers for each in opened.readers))
            for marker in findings.unopened:
                if marker not in known:
                    self._report.opaque(marker, context.place)
        for alert in findings.opaque:
            # A reader names the encrypted members; the engine only says that there are some.
            if not (opened.closed and alert.startswith("Encrypted.")):
                self._report.opaque(alert, context.place)

    def _search(self, file: BinaryIO, context: _Context) -> int:
        """Open the archives inside of a file that is none; return how many there are."""
        inner = replace(
            context,
            depth=context.depth + 1,
            already_scanned=False,
            unpacked=True,
            is_artifact=False,
        )
        found = 0
        for member in embedded.archives(file):
            found += 1
            self._member(member, inner, inner)
        return found

    # Archives.

    def _open(self, readers: list[Reader], source: Archive | _Source, context: _Context) -> _Opened:
        """Walk the members of an archive, as each reader lists them, and report its problems."""
        opened = _Opened(readers)
        for reader in readers:
            inner = replace(
                context,
                depth=context.depth + 1,
                unpacked=reader.is_compressed,
                is_artifact=context.is_artifact and reader.is_compressed,
            )
            with closing(items_of(reader, source)) as items:  # ends a program that is running
                for item in items:
                    if isinstance(item, Member):
                        opened.members += item.open is not None
                        opened.closed += item.open is None
                        opened.trusted += context.already_scanned and item.already_scanned
                        opened.problems += self._member(item, inner, context, reader.name)
                    elif not (isinstance(source, _Source) and source.is_damaged):
                        opened.problems += 1
                        self._problem(f"{reader.name}: {item.text}", context.place, context)
        return opened

    def _member(self, member: Member, inner: _Context, archive: _Context, name: str = "") -> bool:
        """Walk one member, and return whether it is damaged."""
        context = _Context(  # `replace` would take three times as long
            place=(*inner.place, member.name),
            depth=inner.depth,
            already_scanned=inner.already_scanned and member.already_scanned,
            unpacked=inner.unpacked,
            is_artifact=inner.is_artifact,
            is_partial=inner.is_partial or member.is_partial,
        )
        self.place = context.place
        self._account.enter(context.depth)
        if member.open is None:
            if not context.already_scanned:
                self._report.opaque(member.closed, context.place)
            return False
        blamed = replace(archive, is_partial=True) if context.is_partial else archive
        source = self._guarded(member.open, context.place, blamed, name)
        self._content(source, context, member.reader)
        return source.is_damaged

    def _guarded(
        self, opener: Callable[[], Stream], place: Place, archive: _Context, name: str
    ) -> _Source:
        """Open a member as a stream that accounts for its bytes, and ends where it is damaged."""
        content: Stream | None = None

        def pull(size: int) -> bytes:
            nonlocal content
            if source.is_damaged:  # a decoder cannot be called again
                return b""
            try:
                content = content or opener()
                data = content.some(size)
            except UNREADABLE as error:
                source.is_damaged = True
                self._problem(f"{name}: {reason_of(error)}", place, archive)
                return b""
            self._account.unpack(len(data))
            return data

        source = _Source(pull)
        return source

    def _content(self, source: _Source, context: _Context, reader: Reader | None) -> None:
        """Walk a member's bytes: on the disk, except for small files and compressed tars."""
        head = source.peek(HEAD)
        readers = [reader] if reader else registry.recognise(head)
        if not head:
            return
        is_single = len(readers) == 1 and isinstance(readers[0], StreamReader)
        if context.unpacked and is_single and not is_program(head):
            self._open(readers, source, context)
            return
        is_known = readers or is_program(head) or unsupported(head)
        if not is_known and self._bundle(source, context):
            return
        whole = readers or context.already_scanned or may_embed_archives(head)
        scratch = self._pipeline.scratch()
        scratch.fill(source if whole else until(source, self._bounds.ceiling))
        if source.peek(1):
            self._show_windows(scratch, source, context)
            self._report.oversize(source.tell(), context.place)
            scratch.close()
            return
        if source.is_damaged:  # the engine may have scanned less of it, or something else
            context = replace(context, already_scanned=False)
        self._file(scratch.path, context, reader, close=scratch.close)

    def _bundle(self, source: _Source, context: _Context) -> bool:
        """Bundle a member if it is small and contains no archive; return whether it is."""
        longest = IN_MEMORY if context.already_scanned else SMALL
        most = min(longest, self._bounds.ceiling // 4)
        content = source.peek(most + 1)
        if len(content) > most or source.is_damaged or embedded.contains_archives(content):
            return False
        if not context.already_scanned:
            self._pipeline.bundle(content, partial(self._show_alone, context))
        return True

    def _show_alone(self, context: _Context, content: bytes) -> None:
        """Show a file of a bundle that was not clean."""
        place, self.place = self.place, context.place
        scratch = self._pipeline.scratch()
        scratch.fill(Stream(io.BytesIO(content).read))
        self._file(scratch.path, context, close=scratch.close)
        self.place = place

    # The engine.

    def _show_file(self, path: Path, size: int, context: _Context) -> Ticket:
        """Show a file to the engine, in windows if it is longer than the engine's limit."""
        if size <= self._bounds.ceiling:
            return self._show(path, size, context)
        with path.open("rb") as file:
            scratch = self._pipeline.scratch()
            stream = Stream(file.read)
            scratch.fill(until(stream, self._bounds.ceiling))
            self._show_windows(scratch, stream, context)
            scratch.close()
        return Ticket(findings=Findings())

    def _show_windows(self, scratch: Scratch, stream: Stream, context: _Context) -> None:
        """Show a long file in windows; `scratch` already has the first one."""
        overlap = min(OVERLAP, self._bounds.ceiling // 4)
        while True:
            findings = self._pipeline.wait(self._show(scratch.path, scratch.size, context))
            for name in (*findings.opaque, *findings.unopened):
                self._report.opaque(name, context.place)
            if not stream.peek(1):
                return
            end = stream.tell() + self._bounds.ceiling - overlap
            scratch.fill(until(stream, end), overlap=overlap)

    def _show(self, path: Path, size: int, context: _Context) -> Ticket:
        """Submit a file to the engine, and report its signatures and errors."""
        ticket = self._pipeline.show(path, size)
        ticket.then(lambda findings: self._report.found(findings, context.place))
        return ticket

    def _problem(self, text: str, place: Place, archive: _Context) -> None:
        """Report that an archive is damaged or outside of its profile."""
        if not archive.is_partial:
            report = self._report.incomplete if archive.is_artifact else self._report.opaque
            report(text, place)
