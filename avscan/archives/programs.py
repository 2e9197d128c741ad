"""The programs that open archives, and readers of the formats that they open.

Each program opens the one format that the file was recognised as, and no other. Where a program is
missing, its formats are unsupported content.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from avscan.archives.process import ENVIRONMENT, MissingError, Run
from avscan.archives.reader import Archive, FileReader, Item, Member, Problem
from avscan.archives.streams import Stream, region
from avscan.archives.unsupported import UNSUPPORTED
from avscan.archives.zips import ENTRY_MARKERS

PACKAGES = {
    "bsdtar": "libarchive-tools",
    "7zz": "7zip-standalone or 7zip",
    "lz4": "lz4",
    "lzip": "lzip",
    "lzop": "lzop",
}
"""The programs that open archives, and the packages of Debian (since 13, or before) that have them."""

_MARKERS = frozenset({*UNSUPPORTED.values(), *ENTRY_MARKERS, "deb"})


def missing() -> tuple[str, ...]:
    """Return the programs that are not installed, whose formats are unsupported content."""
    path = ENVIRONMENT["PATH"]
    return tuple(program for program in PACKAGES if shutil.which(program, path=path) is None)


def decompressed(*command: str) -> Callable[[Archive], Iterator[Item]]:
    """Return a function that reads the output of a command that decompresses one file."""

    def members(archive: Archive) -> Iterator[Item]:
        with Run(command, archive.path) as run:
            stream = Stream(run.pull)
            yield Member(name="", open=lambda: stream)
            for data in stream.chunks():
                archive.account.unpack(len(data))
            if (failure := run.failure()) is not None:
                yield failure

    return members


def opened_by_program(reader: FileReader) -> FileReader:
    """Return a reader for one whose `members` runs a program.

    It reports a program that is missing, and data behind the end, which programs skip. Without
    `is_certain`, a file that the program cannot open is not reported.
    """
    return replace(reader, members=partial(_members, reader), markers=_MARKERS)


def _members(reader: FileReader, archive: Archive) -> Iterator[Item]:
    try:
        for item in reader.members(archive):
            if reader.is_certain or (isinstance(item, Member) and item.open):
                yield item
    except MissingError:
        yield Member(name="", closed=reader.name)
        return
    end = reader.extent(archive.file, 0, archive.size)
    rest = region(archive.file, end, archive.size)
    if not reader.is_compressed and rest.skip_zeros():
        yield Problem(text="data behind the end")
        yield Member(name="(behind the end)", open=lambda: rest)
