"""An artifact examined in the test's own process, and all findings on it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avscan.archives.bounds import Account, Bounds
from avscan.archives.reader import Archive, Item, Member, Reader, StreamReader
from avscan.archives.streams import Stream
from avscan.archives.unpack import examine
from avscan.findings import Collector, Examination


def examined(*arguments: Any, **options: Any) -> Examination:
    """Examine as the inspector does, and collect what it reports."""
    collector = Collector()
    examine(*arguments, report=collector.add, **options)
    return collector.examination()


def items(reader: Reader, data: bytes) -> Iterator[Item]:
    """List an archive that is in memory; programs get a file."""
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
    """Read a member."""
    assert member.open is not None
    stream = member.open()
    return b"".join(iter(lambda: stream.some(700), b""))


def read(reader: Reader, data: bytes) -> tuple[dict[str, bytes | str], list[str]]:
    """Read an archive: what each member holds, or why that is closed, and what is wrong."""
    members: dict[str, bytes | str] = {}
    problems = []
    for item in items(reader, data):
        if isinstance(item, Member):
            members[item.name] = content(item) if item.open else item.closed
        else:
            problems.append(item.text)
    return members, problems
