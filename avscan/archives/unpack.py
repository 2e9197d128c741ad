"""The walk: one artifact, seen whole by the engine or opened by us, member by member.

What clamscan opens by itself it opens with gaps, and says `OK` over them: the limit of 2 GiB holds
for a tar within a gzip; a tar's sizes in base 256 or in pax records lose it its place, so does a
first name that looks like another format's magic; of several bzip2 streams it reads one; gzip
streams behind zeros, lzma, a zip's entries outside of its directory, `ar` it reads not at all. So:

- What is compressed as a stream (gzip, bzip2, xz) is shown as it is if it is sure that the engine
  unpacks all of it: one gzip stream, not too long, and a tar in it that can be taken for nothing
  else. Otherwise its content is shown instead, and never written out if it is a tar: its members
  are, one by one. Either way each byte is scanned once.
- Everything else is shown as it is. What the engine can't have seen of a tar, an ar or a zip is
  shown on its own: what is compressed in it, what lies behind a tar's unusual header, what a zip
  does not plainly have, what is too long; and everything if a limit was hit.
- Behind a program or a script it finds some archives and not others: we find them all again. What
  only it opens (7z, ISO, CAB and others), we don't; our marks make it tell what it met there.
- Hash signatures match whole files only. So it is not enough that the bytes were seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO, Protocol

from avscan.archives import behind, containers, sevenzip, streams, zips
from avscan.archives.bounds import Account, Bounds, ExceededError
from avscan.archives.containers import (
    HEAD,
    SURE,
    UNREADABLE,
    Kind,
    Member,
    is_carrier,
    is_program,
    passes_for_disk,
    passes_for_tar,
    surely_tar,
)
from avscan.archives.lines import said, shown
from avscan.archives.scratch import Scratch
from avscan.archives.streams import CHUNK, Stream
from avscan.findings import Finding, Findings
from avscan.findings import Kind as Finds

OVERLAP = 16 << 20
"""Bytes that two windows of a long file share. Body signatures span kilobytes; this is 0.8 % more
to scan."""

_ENCRYPTED_ZIP = "Encrypted.Zip"


class Engine(Protocol):
    """What shows a file to ClamAV."""

    def scan(self, path: Path) -> Findings:
        """Scan one file, with a path of our own naming."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spot:
    """Where the walk is: in which member, in how many containers.

    `saw` tells that the engine has seen this content already, in the container that it was shown.
    `bare` tells that the content came straight out of a compression.
    """

    place: tuple[str, ...] = ()
    depth: int = 0
    saw: bool = False
    bare: bool = False


class _BrokenError(Exception):
    """The member at a spot can't be read on; the text says why."""

    def __init__(self, spot: _Spot, reason: str) -> None:
        super().__init__(reason)
        self.spot = spot


def examine(
    path: Path,
    *,
    engine: Engine,
    workspace: Path,
    bounds: Bounds,
    report: Callable[[Finding], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Scan one artifact so that nothing of it stays unseen, or is reported as such.

    Each finding is reported as it is made. Nothing is left behind in the workspace. Raise
    EngineError if the engine doesn't work and WorkspaceError if the disk doesn't: what is wrong
    with the artifact is a finding.
    """
    walk = _Walk(engine, workspace, bounds, Account(bounds, workspace, clock), report)
    walk.artifact(path)


class _Walk:
    """One artifact's walk."""

    def __init__(
        self,
        engine: Engine,
        workspace: Path,
        bounds: Bounds,
        account: Account,
        report: Callable[[Finding], None],
    ) -> None:
        self._engine = engine
        self._workspace = workspace
        self._bounds = bounds
        self._account = account
        self._tell = report
        self._place: tuple[str, ...] = ()  # the member that the walk is at, for what ends it
        self._files = 0
        self._noted = 0

    def _report(self, kind: Finds, text: str, member: str = "") -> None:
        self._tell(Finding(kind=kind, text=text, member=member))

    def artifact(self, path: Path) -> None:
        """Walk the artifact itself: one that is too much is an error, whatever else was found."""
        try:
            with path.open("rb") as file:
                self._file(path, file, _Spot())
        except ExceededError as exceeded:
            self._report(Finds.ERROR, said(self._place, f"cannot be scanned whole: {exceeded}"))

    def _file(self, path: Path, file: BinaryIO, spot: _Spot) -> None:
        """Show a file to the engine, unless it saw it already, and open it if it is a container."""
        size = file.seek(0, SEEK_END)
        file.seek(0)
        head = file.read(HEAD)
        kind = containers.sniff(head) or (Kind.ZIP if zips.has_directory(file) else None)
        fits = size <= self._bounds.ceiling
        whole = fits and self._unpacked_by_engine(kind, file)
        findings = Findings()
        if not fits and (kind is None or not kind.squeezed):
            self._in_windows(file, spot)
        elif whole and not spot.saw:
            findings = self._show(path, spot)
        noted = self._noted
        self._note_format(head, file, spot)
        if kind is not None:
            # What was found in a stream is looked for again in its members, to name the one; and so
            # is what the engine could not open, lest it is one that we can.
            again = findings.limits or findings.unopened or (kind.squeezed and findings.signatures)
            self._open(kind, file, replace(spot, saw=whole and not again))
        elif not fits:
            self._report(Finds.OVERSIZE, said(spot.place, f"{size} bytes"))
        else:
            self._limited(findings, spot)
        if containers.sniff(head) is None:
            # Of the file itself, and of the zip at its end if there is one, we know better.
            known = zips.ENTRY_MARKS if kind is Kind.ZIP else frozenset()
            self._unopened(findings, spot, known=known | {containers.opaque(head)})
        for name in findings.opaque:
            # Of a zip we know which members are encrypted; the engine only that some are.
            if not (kind is Kind.ZIP and self._noted > noted and name == "Encrypted.Zip"):
                self._note(name, spot)

    def _note_format(self, head: bytes, file: BinaryIO, spot: _Spot) -> None:
        """Walk what lies behind the beginning of a file, and note what nobody can look into."""
        found = 0
        if is_carrier(head):
            found = self._members(behind.archives(file, self._account.check_time), spot)
        if head.startswith(sevenzip.MAGIC):
            name = sevenzip.unsupported(file)
        else:
            name = containers.opaque(head)
        if name and not (name == "rpm" and found):
            self._note(name, spot)

    def _open(self, kind: Kind, file: BinaryIO, spot: _Spot) -> None:
        """Open a container that is a file."""
        file.seek(0)
        if kind is Kind.ZIP:
            self._members(zips.members(file), spot)
        else:
            self._stream_members(kind, Stream(file.read), spot)

    def _unpacked_by_engine(self, kind: Kind | None, file: BinaryIO) -> bool:
        """Tell whether the engine, shown this file, sees the whole stream that is packed in it.

        Clamscan stops in silence behind the first of several streams, and where what comes out gets
        longer than its ceiling. That is only known by unpacking it.
        """
        if kind is None or not kind.squeezed:
            return True
        file.seek(0)
        begin = file.read(SURE)
        if kind is not Kind.GZIP or passes_for_tar(begin) or passes_for_disk(begin):
            return False
        file.seek(0)
        decoder, size, head = streams.gzip_decoder(), 0, b""
        try:
            while not decoder.eof and size <= self._bounds.ceiling:
                self._account.check_time()
                fed = file.read(streams.FED) if decoder.needs_input else b""
                data = decoder.decompress(fed, CHUNK)
                if not (data or fed or decoder.eof):
                    return False
                size += len(data)
                head += data[: SURE - len(head)]
                if (
                    len(head) == SURE
                    and containers.sniff(head) is Kind.TAR
                    and not surely_tar(head)
                ):
                    return False
        except UNREADABLE:
            return False  # the walk finds out how far it can be read
        return size <= self._bounds.ceiling and not (decoder.unused_data or file.read(1))

    def _stream_members(self, kind: Kind, stream: Stream, spot: _Spot) -> None:
        """Open a container that comes as a stream."""
        members = containers.members(kind, stream, self._account.check_time)
        self._members(members, spot, bare=kind.squeezed)

    def _members(self, members: Iterator[Member], spot: _Spot, *, bare: bool = False) -> int:
        """Walk the members, and count them.

        A container that can't be read to its end is an error that names it.
        """
        inner = replace(spot, depth=spot.depth + 1, bare=bare)
        number = 0
        while True:
            try:
                member = next(members, None)
            except UNREADABLE as error:
                self._broken(spot.place, _BrokenError(inner, str(error) or type(error).__name__))
                return number
            if member is None:
                return number
            number += 1
            at = replace(inner, place=(*spot.place, member.name))
            try:
                self._member(member, at)
            except _BrokenError as broken:
                if broken.spot is not at:
                    raise
                self._broken(at.place, broken)

    def _member(self, member: Member, spot: _Spot) -> None:
        """Walk one member."""
        self._place = spot.place
        self._account.enter(spot.depth)
        saw = spot.saw and member.seen and self._fits(member, spot)
        if member.open is not None:
            self._stream(self._guarded(member.open, spot), replace(spot, saw=saw))
        elif not saw:
            self._note(member.closed, spot)

    def _fits(self, member: Member, spot: _Spot) -> bool:
        """Tell whether the engine, which cuts long members in silence, has not cut this one."""
        if member.most <= self._bounds.ceiling:
            return True
        if member.open is None:
            return False
        content = self._guarded(member.open, spot)
        return content.seek(self._bounds.ceiling + 1) <= self._bounds.ceiling

    def _guarded(self, opener: Callable[[], Stream], spot: _Spot) -> Stream:
        """Open a member so that its bytes are accounted for, and its troubles put down to it."""
        content: Stream | None = None

        def pull(size: int) -> bytes:
            nonlocal content
            try:
                content = content or opener()
                data = content.some(size)
            except UNREADABLE as error:
                raise _BrokenError(spot, str(error) or type(error).__name__) from error
            self._account.unpack(len(data))
            return data

        return Stream(pull)

    def _stream(self, stream: Stream, spot: _Spot) -> None:
        """Walk a member's bytes; on the disk they come only for the engine, or to be sought in."""
        head = stream.peek(HEAD)
        kind = containers.sniff(head)
        if kind is not None:
            if kind.squeezed:
                # How much of it the engine has unpacked is not known.
                self._stream_members(kind, stream, replace(spot, saw=False))
            elif kind is Kind.TAR and spot.bare and not is_program(head):
                self._stream_members(kind, stream, spot)
            else:
                self._on_disk(stream, spot)
        elif spot.saw or is_carrier(head) or head.startswith(sevenzip.MAGIC):
            self._on_disk(stream, spot)  # anything may be a zip at its end
        else:
            self._leaf(stream, spot)

    def _on_disk(self, stream: Stream, spot: _Spot) -> None:
        """Put a member on the disk, however long it is."""
        with self._scratch() as scratch:
            scratch.fill(stream)
            with scratch.path.open("rb") as file:
                self._file(scratch.path, file, spot)

    def _leaf(self, stream: Stream, spot: _Spot) -> None:
        """Show a member that is no container, in windows if it is long."""
        with self._scratch() as scratch:
            scratch.fill(stream, most=self._bounds.ceiling)
            if not stream.peek(1):
                with scratch.path.open("rb") as file:
                    self._file(scratch.path, file, spot)
                return
            self._windows(scratch, stream, spot)
            self._report(Finds.OVERSIZE, said(spot.place, f"{stream.tell()} bytes"))

    def _in_windows(self, file: BinaryIO, spot: _Spot) -> None:
        file.seek(0)
        stream = Stream(file.read)
        with self._scratch() as scratch:
            scratch.fill(stream, most=self._bounds.ceiling)
            self._windows(scratch, stream, spot)

    def _windows(self, scratch: Scratch, stream: Stream, spot: _Spot) -> None:
        """Show what is too long in windows, the first of which has been filled already."""
        overlap = min(OVERLAP, self._bounds.ceiling // 4)
        while True:
            findings = self._show(scratch.path, spot)
            for name in findings.opaque:
                self._note(name, spot)
            self._unopened(findings, spot)
            if not stream.peek(1):
                return
            scratch.fill(stream, most=self._bounds.ceiling, overlap=overlap)

    def _show(self, path: Path, spot: _Spot) -> Findings:
        """Have the engine look at a file, and keep what it says that needs no further thought."""
        self._account.check_time()
        findings = self._engine.scan(path)
        for signature in findings.signatures:
            self._report(Finds.SIGNATURE, signature, shown(spot.place))
        for error in findings.errors:
            self._report(Finds.ERROR, said(spot.place, error))
        return findings

    def _limited(self, findings: Findings, spot: _Spot) -> None:
        for limit in findings.limits:
            self._report(
                Finds.ERROR, said(spot.place, f"cannot be scanned whole: clamscan's limit {limit}")
            )

    def _unopened(
        self, findings: Findings, spot: _Spot, *, known: frozenset[str] = frozenset()
    ) -> None:
        for name in findings.unopened:
            if name not in known:
                self._note(name, spot)

    def _note(self, what: str, spot: _Spot) -> None:
        """Note what nobody can look into."""
        self._noted += 1
        self._report(Finds.OPAQUE, f"{what}: {name}" if (name := shown(spot.place)) else what)

    def _broken(self, place: tuple[str, ...], broken: _BrokenError) -> None:
        self._report(Finds.ERROR, said(place, f"cannot be scanned whole: {broken}"))

    def _scratch(self) -> Scratch:
        self._files += 1
        return Scratch(self._workspace, self._account, number=self._files)
