"""The protocol between the walk over an artifact and the formats of archives.

A reader is everything about one format: how to recognise it, how to list and open its members, and
what clamscan sees of it by itself. To add a format:

1. Write one module with a constant `READER`, a `StreamReader` or a `FileReader`.
2. Add one line to `registry.READERS`.
3. Write its tests. No other code asks what format something is.

Choose a `StreamReader` if the format is read from front to back, and a `FileReader` if it has a
directory or if an external program reads it. `members` is a generator. It yields a `Member` for each
file that any tool unpacks, and a `Problem` for whatever is damaged or outside of the format's
profile, which is what ordinary writers produce: two readers never disagree about an archive inside
the profile. A problem does not end the listing: a reader yields all that it can still find. An
exception of `UNREADABLE` ends it, and counts as a problem with the exception's text.

A member is opened at once, before the next one is asked for, and read to its end or not at all.
Directories, links and devices are no members.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avscan.archives.bounds import Account
from avscan.archives.streams import DECODING_ERRORS, Stream, region

HEAD = 1024
"""How many bytes of a file `recognise` gets, fewer only of a shorter file."""


class DamagedError(Exception):
    """An archive is damaged in a way that has no error of its own; the text says how."""


UNREADABLE: tuple[type[Exception], ...] = (
    DamagedError,
    *DECODING_ERRORS,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    struct.error,
    subprocess.SubprocessError,
)
"""What `members`, and the streams of members, may raise over a damaged archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in an archive. `name` may be empty where the format has no name.

    Without `open`, `closed` says why the content can't be inspected (`encrypted`).
    `already_scanned` means that clamscan sees exactly this content by itself when it is given the
    archive. `reader` is set where it is known by which format the content is to be read, and its
    first bytes don't show that. `is_partial` marks what readers see that stop early, whose end is
    no damage.
    """

    name: str
    open: Callable[[], Stream] | None = None
    closed: str = ""
    already_scanned: bool = False
    reader: Reader | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something is damaged or outside of the profile; `text` says what and where.

    The format's name is put in front of it: `tar: a directory with 1,024 bytes of content at byte 0`.
    `is_behind_end` marks data behind the archive's end.
    """

    text: str
    is_behind_end: bool = False


Item = Member | Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What a `FileReader` reads: a file on the disk.

    `file` is open for reading, and others may move its position between two reads. `workspace` is
    the folder for whatever the reader writes; all of that is accounted for with `account.keep` and
    `account.drop`, and removed by the reader.
    """

    path: Path
    file: BinaryIO
    size: int
    workspace: Path
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """What both kinds of reader have.

    `recognise` gets the first `HEAD` bytes. It must be so strict that it is hardly ever true of
    arbitrary data, and so lenient that it is true of whatever any tool opens.

    `magics` are searched for behind the end of programs and scripts, and `recognise` is asked about
    what begins `magic_at` bytes before each. Leave it empty if the magic is shorter than four bytes
    and `recognise` does not check anything else.

    `marks` are the names in `avscan.clamav.marks` by which clamscan tells of content in this format
    that only it can't open.

    Without `is_certain`, files of other formats are recognised by chance too often: archives are
    searched for in what is recognised, as in any other file.
    """

    name: str
    recognise: Callable[[bytes], bool]
    magics: tuple[bytes, ...] = ()
    magic_at: int = 0
    marks: frozenset[str] = frozenset()
    is_certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReader(_Format):
    """A format that is read from front to back.

    Straight out of a compression, such an archive never comes onto the disk: only its members do.
    """

    members: Callable[[Stream], Iterator[Item]]

    def extent(self, file: BinaryIO, begin: int, end: int) -> int:
        """Return how many bytes the archive takes that begins at `begin`; 0 if there is none."""
        stream = region(file, begin, end)
        try:
            for item in self.members(stream):
                if isinstance(item, Problem):
                    return stream.tell() if item.is_behind_end else end - begin
        except UNREADABLE:
            return end - begin
        return stream.tell()


def _unknown(_: BinaryIO, begin: int, end: int) -> int:
    return end - begin


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReader(_Format):
    """A format that needs a file on the disk.

    `recognise_end` is asked about every file, for formats that are found by their end. `extent` gets
    a file and two offsets of it, and returns how many bytes the archive takes that begins at the
    first one and ends at the second at the latest; 0 if there is none.

    With `is_compressed` it is one file without a name, compressed. Its raw bytes are not shown to
    clamscan unless it is damaged, and its content is taken for the artifact itself.
    """

    members: Callable[[Archive], Iterator[Item]]
    recognise_end: Callable[[BinaryIO], bool] | None = None
    extent: Callable[[BinaryIO, int, int], int] = _unknown
    is_compressed: bool = False


Reader = StreamReader | FileReader


def items_of(reader: Reader, source: Archive | Stream) -> Generator[Item]:
    """Iterate over an archive's members and problems, with an exception as the last problem."""
    try:
        if isinstance(reader, FileReader):
            assert isinstance(source, Archive)  # noqa: S101 - a stream is opened by nothing else
            yield from reader.members(source)
        elif isinstance(source, Archive):
            yield from reader.members(region(source.file, 0, source.size))
        else:
            yield from reader.members(source)
    except UNREADABLE as error:
        yield Problem(text=reason_of(error))


def reason_of(error: Exception) -> str:
    """Return what an exception of `UNREADABLE` says, or its name."""
    return str(error) or type(error).__name__
