"""The walk: one artifact, shown whole to the engine, archive by archive and member by member.

- Every file is shown to the engine as it is, except for what is compressed, whose content is shown in
  its place, and for a tar straight out of a compression, whose members are.
- Every reader that recognises a file opens it, and each member is treated as a file again. A member
  that the engine has seen by itself, in the archive that it was shown, is not shown again.
- Archives are searched for behind programs and scripts.
- A small file that no reader recognises never comes onto the disk by itself: see `bundle`.
- What is damaged, or outside of its format's profile, is scanned as far as it can be read and as raw
  bytes. It is an error if it is the artifact itself, and content that could not be inspected if it
  is inside of it.

Hash signatures match whole files only. So it is not enough that the bytes were seen.
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

from avscan.archives import behind, registry
from avscan.archives.bounds import Account, Bounds, ExceededError
from avscan.archives.looks import is_program, may_embed_archives, unsupported
from avscan.archives.pipeline import Engine, Pipeline, Ticket
from avscan.archives.reader import (
    HEAD,
    UNREADABLE,
    Archive,
    FileReader,
    Member,
    Reader,
    StreamReader,
    items_of,
    reason_of,
)
from avscan.archives.report import Place, Reporter
from avscan.archives.scratch import Scratch
from avscan.archives.streams import Stream
from avscan.findings import Finding, Findings

OVERLAP = 16 << 20
"""Bytes that two windows of a long file share. Body signatures span kilobytes; this is 0.8 % more
to scan."""

SMALL = 16 << 10
"""Bytes of a file that is bundled: longer ones are scanned sooner by themselves than twice, since
clamscan scans a bundle's raw bytes as well."""

IN_MEMORY = 64 << 10
"""Bytes of a file that the engine has seen, and that is searched in memory for archives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """Where the walk is: in which member, in how many archives.

    `already_scanned` means that the engine has seen this content in an archive that it was shown.
    `unpacked` means that the content came straight out of a compression, or that the engine has
    seen its raw bytes in a program. `is_artifact` holds for the artifact and for what is only
    compressed in it. `is_partial` means that its end is no damage.
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
    """Scan one artifact so that nothing of it stays unseen, or is reported as such.

    Each finding is reported as it is made. Nothing is left behind in the workspace. A memory limit
    of the process (RLIMIT_DATA) is a bound like the others: exceeded, it is an error of the
    artifact. Raise EngineError if the engine doesn't work and WorkspaceError if the disk doesn't:
    what is wrong with the artifact is a finding.
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
            # Only here, where no frame holds a decoder any more, is memory for a report again.
            Reporter(report).incomplete(reason, walk.place)
    finally:
        for left in workspace.glob("member-*"):
            left.unlink()


class _Source(Stream):
    """A member's bytes, up to where they are damaged."""

    is_damaged = False


@dataclass(slots=True)
class _Opened:
    """What came out of a file's archives; `trusted` counts what was left to the engine."""

    members: int = 0
    trusted: int = 0
    closed: int = 0
    problems: int = 0


class _Walk:
    """One artifact's walk; `place` is the member that it is at."""

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
        """Walk the artifact, or what of it is still on its way. Raise ExceededError."""
        path, self._artifact = self._artifact, None
        if path is not None:
            with path.open("rb") as file:
                self._file(path, file, _Context())
        self._pipeline.finish()

    # Files.

    def _file(
        self,
        path: Path,
        file: BinaryIO,
        context: _Context,
        reader: Reader | None = None,
        *,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Show a file on the disk to the engine, and open it if it is an archive.

        `close` is called when the file is needed no more.
        """
        size = file.seek(0, SEEK_END)
        file.seek(0)
        head = file.read(HEAD)
        readers = registry.recognise(head, file)
        if reader is not None:
            readers = [reader, *(each for each in readers if each.name != reader.name)]
        is_long = size > self._bounds.ceiling  # clamscan cuts such members in silence
        if is_long:
            context = replace(context, already_scanned=False)
        only_content = bool(readers) and all(map(_is_compressed, readers))
        ticket = _answered(Findings())
        if not (only_content or context.already_scanned):
            ticket = self._show_file(path, size, context)
        archive = Archive(
            path=path, file=file, size=size, workspace=self._workspace, account=self._account
        )
        entered = self._account.members
        inner = replace(context, already_scanned=not (only_content or is_long))
        opened = self._open_all(readers, archive, inner)
        if opened.trusted and _is_in_doubt(self._pipeline.wait(ticket)):
            self._account.members = entered
            opened = self._open_all(readers, archive, replace(inner, already_scanned=False))
        if (opened.problems or opened.closed) and only_content:
            self._pipeline.wait(self._show_file(path, size, context))
        is_certain = any(each.is_certain for each in readers)
        found = 0 if is_certain else self._search(file, context)

        def conclude(findings: Findings) -> None:
            self._note_unopened(head, readers, findings, context, opened, found=found)
            if not opened.members:
                self._report.limits(findings, context.place)
                if is_long:
                    self._report.oversize(size, context.place)
            close()

        ticket.then(conclude)

    def _note_unopened(
        self,
        head: bytes,
        readers: list[Reader],
        findings: Findings,
        context: _Context,
        opened: _Opened,
        *,
        found: int,
    ) -> None:
        """Note what neither the engine nor we have looked into."""
        name = "" if opened.members or opened.closed or found else unsupported(head)
        if name:
            self._report.note(name, context.place)
        if not opened.members or not any(each.recognise(head) for each in readers):
            # Of the file itself, and of the archive at its end if there is one, we know better.
            known = {unsupported(head)}.union(*(each.marks for each in readers))
            for mark in findings.unopened:
                if mark not in known:
                    self._report.note(mark, context.place)
        for alert in findings.opaque:
            # The engine only knows that some members are encrypted.
            if not (opened.closed and alert.startswith("Encrypted.")):
                self._report.note(alert, context.place)

    def _search(self, file: BinaryIO, context: _Context) -> int:
        """Open the archives that lie behind a file's beginning; return how many there are."""
        inner = replace(
            context,
            depth=context.depth + 1,
            already_scanned=False,
            unpacked=True,
            is_artifact=False,
        )
        found = 0
        for member in behind.archives(file):
            found += 1
            self._member(member, inner, inner)
        return found

    # Archives.

    def _open_all(self, readers: list[Reader], archive: Archive, context: _Context) -> _Opened:
        opened = _Opened()
        for each in readers:
            self._open(each, archive, context, opened)
        return opened

    def _open(
        self, reader: Reader, source: Archive | _Source, context: _Context, opened: _Opened
    ) -> None:
        """Walk the members of an archive, and report what is wrong with it."""
        compressed = _is_compressed(reader)
        inner = replace(
            context,
            depth=context.depth + 1,
            unpacked=compressed,
            is_artifact=context.is_artifact and compressed,
        )
        with closing(items_of(reader, source)) as items:  # a program may be at work
            for item in items:
                if isinstance(item, Member):
                    opened.members += item.open is not None
                    opened.closed += item.open is None
                    opened.trusted += context.already_scanned and item.already_scanned
                    opened.problems += self._member(item, inner, context, reader.name)
                elif not (isinstance(source, _Source) and source.is_damaged):
                    opened.problems += 1
                    self._problem(f"{reader.name}: {item.text}", context.place, context)

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
                self._report.note(member.closed, context.place)
            return False
        blamed = replace(archive, is_partial=True) if context.is_partial else archive
        source = self._guarded(member.open, context.place, blamed, name)
        self._content(source, context, member.reader)
        return source.is_damaged

    def _guarded(
        self, opener: Callable[[], Stream], place: Place, archive: _Context, name: str
    ) -> _Source:
        """Open a member so that its bytes are accounted for, and end where it is damaged."""
        content: Stream | None = None

        def pull(size: int) -> bytes:
            nonlocal content
            if source.is_damaged:  # decoders can't be asked again
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
        """Walk a member's bytes: on the disk, but for a tar straight out of a compression."""
        head = source.peek(HEAD)
        readers = [reader] if reader else registry.recognise(head)
        if not head:
            return
        if context.unpacked and len(readers) == 1 and not is_program(head):
            [only] = readers
            if isinstance(only, StreamReader):
                self._open(only, source, context, _Opened())
                return
        if not (readers or is_program(head) or unsupported(head)) and self._leaf(source, context):
            return
        whole = readers or context.already_scanned or may_embed_archives(head)
        scratch = self._pipeline.scratch()
        scratch.fill(source, most=None if whole else self._bounds.ceiling)
        if source.peek(1):
            self._show_windows(scratch, source, context)
            self._report.oversize(source.tell(), context.place)
            scratch.close()
            return
        if source.is_damaged:  # and who knows what the engine has seen of it
            context = replace(context, already_scanned=False)
        with scratch.path.open("rb") as file:
            self._file(scratch.path, file, context, reader, close=scratch.close)

    def _leaf(self, source: _Source, context: _Context) -> bool:
        """Bundle a member if it is small and no archive is in it; return whether it is."""
        longest = IN_MEMORY if context.already_scanned else SMALL
        most = min(longest, self._bounds.ceiling // 4)
        content = source.peek(most + 1)
        if len(content) > most or source.is_damaged:
            return False
        file = io.BytesIO(content)
        if registry.recognise_end(file):
            return False
        if not behind.is_plain(content) and any(behind.archives(file)):
            return False
        if not context.already_scanned:
            self._pipeline.bundle(content, partial(self._again, context))
        return True

    def _again(self, context: _Context, content: bytes) -> None:
        """Show what was bundled by itself."""
        place, self.place = self.place, context.place
        scratch = self._pipeline.scratch()
        scratch.fill(Stream(io.BytesIO(content).read))
        with scratch.path.open("rb") as file:
            self._file(scratch.path, file, context, close=scratch.close)
        self.place = place

    # The engine.

    def _show_file(self, path: Path, size: int, context: _Context) -> Ticket:
        """Show a file to the engine, in windows if it is too long for it."""
        if size <= self._bounds.ceiling:
            return self._show(path, size, context)
        with path.open("rb") as file:
            scratch = self._pipeline.scratch()
            stream = Stream(file.read)
            scratch.fill(stream, most=self._bounds.ceiling)
            self._show_windows(scratch, stream, context)
            scratch.close()
        return _answered(Findings())

    def _show_windows(self, scratch: Scratch, stream: Stream, context: _Context) -> None:
        """Show what is too long in windows, the first of which has been filled already."""
        overlap = min(OVERLAP, self._bounds.ceiling // 4)
        while True:
            findings = self._pipeline.wait(self._show(scratch.path, scratch.size, context))
            for name in (*findings.opaque, *findings.unopened):
                self._report.note(name, context.place)
            if not stream.peek(1):
                return
            scratch.fill(stream, most=self._bounds.ceiling, overlap=overlap)

    def _show(self, path: Path, size: int, context: _Context) -> Ticket:
        """Have the engine scan a file, and report what needs no further thought."""
        ticket = self._pipeline.show(path, size)
        ticket.then(lambda findings: self._report.found(findings, context.place))
        return ticket

    def _problem(self, text: str, place: Place, archive: _Context) -> None:
        """Report that an archive is damaged or outside of its profile."""
        if archive.is_partial:
            return
        report = self._report.incomplete if archive.is_artifact else self._report.note
        report(text, place)


def _answered(findings: Findings) -> Ticket:
    ticket = Ticket(0)
    ticket.answer(findings)
    return ticket


def _is_in_doubt(findings: Findings) -> bool:
    """Return whether the engine may not have seen all that is in an archive."""
    return bool(findings.limits or findings.unopened)


def _is_compressed(reader: Reader) -> bool:
    return isinstance(reader, FileReader) and reader.is_compressed
