"""Examinations of artifacts in the test's own process."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from avscan.archives.bounds import Account, Bounds
from avscan.archives.bundle import END
from avscan.archives.reader import Archive, Item, Member, Reader, StreamReader
from avscan.archives.streams import Stream
from avscan.archives.unpack import examine
from avscan.findings import Collector, Examination, Findings


class OneByOne:
    """An engine that scans each file in `submit`, and the members of a bundle one by one."""

    end_mark = b"the end of a bundle"

    def __init__(self) -> None:
        self._answers: deque[Findings] = deque()

    def scan(self, path: Path) -> Findings:
        raise NotImplementedError

    def submit(self, path: Path) -> None:
        data = path.read_bytes()
        self._answers.append(
            self._unbundled(path, data) if self.end_mark in data else self.scan(path)
        )

    def collect(self) -> Findings:
        return self._answers.popleft()

    def _unbundled(self, path: Path, data: bytes) -> Findings:
        clean = True
        with tarfile.open(fileobj=io.BytesIO(data)) as bundle:
            for each in bundle:
                content = cast("IO[bytes]", bundle.extractfile(each)).read()
                if content not in {b"", self.end_mark}:
                    path.write_bytes(content)
                    clean &= self.scan(path).clean
        path.write_bytes(data)
        return Findings(unopened=(END,), errors=() if clean else ("unclear",))


def examined(*arguments: Any, **options: Any) -> Examination:
    """Examine an artifact as the inspector does, and collect the findings."""
    collector = Collector()
    examine(*arguments, report=collector.add, **options)
    return collector.examination()


def items(reader: Reader, data: bytes) -> Iterator[Item]:
    """Iterate over an archive that is in memory; a `FileReader` gets a file."""
    file = io.BytesIO(data)
    if isinstance(reader, StreamReader):
        yield from reader.members(Stream(file.read))
        return
    with tempfile.TemporaryDirectory() as name:
        (path := (here := Path(name)) / "archive").write_bytes(data)
        account = Account(Bounds(reserve=0), here)
        archive = Archive(path=path, file=file, size=len(data), workspace=here, account=account)
        yield from reader.members(archive)


def content(member: Member) -> bytes:
    """Return the content of a member."""
    assert member.open is not None
    stream = member.open()
    return b"".join(iter(lambda: stream.some(700), b""))


def read(reader: Reader, data: bytes) -> tuple[dict[str, bytes | str], list[str]]:
    """Return the content of each member, or the reason why it is closed, and the problems."""
    members: dict[str, bytes | str] = {}
    problems = []
    for item in items(reader, data):
        if isinstance(item, Member):
            members[item.name] = content(item) if item.open else item.closed
        else:
            problems.append(item.text)
    return members, problems
