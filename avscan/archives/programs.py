"""The programs that open archives: where they are, and a reader of what one of them opens.

Each program opens the one format that the file was recognised as, and no other. Where a program is
missing, its formats are unsupported content.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import BinaryIO

from avscan.archives.process import Run
from avscan.archives.reader import Archive, FileReader, Item, Member, Problem, to_the_end
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

Read = Callable[[str, Archive], Iterator[Item]]
"""A function that reads an archive by a program, whose path is its first argument."""


def find(program: str) -> str | None:
    """Return the path of a program, where the inspector looks for it; None if there is none."""
    return shutil.which(program, path=os.defpath)


def missing() -> tuple[str, ...]:
    """Return the programs that are not installed, whose formats are unsupported content."""
    return tuple(program for program in PACKAGES if find(program) is None)


def decompressed(*arguments: str) -> Read:
    """Return a function that reads the output of a program that decompresses one file."""

    def read(program: str, archive: Archive) -> Iterator[Item]:
        with Run((program, *arguments), archive.path) as run:
            stream = Stream(run.pull)
            yield Member(name="", open=lambda: stream)
            for data in stream.chunks():
                archive.account.unpack(len(data))
            if (failure := run.failure()) is not None:
                yield failure

    return read


def program_reader(
    name: str,
    program: str,
    read: Read,
    *,
    recognise: Callable[[bytes], bool] = lambda _: False,
    recognise_end: Callable[[BinaryIO], bool] | None = None,
    magics: tuple[bytes, ...] = (),
    magic_at: int = 0,
    extent: Callable[[BinaryIO, int, int], int] = to_the_end,
    is_compressed: bool = False,
    is_certain: bool = True,
) -> FileReader:
    """Return a reader of a format that a program opens.

    Without `is_certain`, a file that the program cannot open is not reported.
    """

    def members(archive: Archive) -> Iterator[Item]:
        if (path := find(program)) is None:
            if is_certain:
                yield Member(name="", closed=name)
            return
        for item in read(path, archive):
            if is_certain or (isinstance(item, Member) and item.open):
                yield item
        rest = region(archive.file, extent(archive.file, 0, archive.size), archive.size)
        if not is_compressed and rest.skip_zeros():
            yield Problem(text="data behind the end")
            yield Member(name="(behind the end)", open=lambda: rest)

    return FileReader(
        name=name,
        recognise=recognise,
        recognise_end=recognise_end,
        magics=magics,
        magic_at=magic_at,
        members=members,
        extent=extent,
        is_compressed=is_compressed,
        markers=_MARKERS,
        is_certain=is_certain,
    )
