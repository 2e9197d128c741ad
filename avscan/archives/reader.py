"""The interface between the walk over an artifact and the formats of archives.

A reader is everything about one format: how to recognise it, how to list and open its members, and
what clamscan sees of it by itself. To add a format:

1. Write one module with a constant `READER`, a `StreamReader` or a `FileReader`.
2. Add one line to `registry.READERS`.
3. Write its tests. No other code asks for a file's format.

Choose a `StreamReader` if the format is read from front to back, and a `FileReader` if it has a
directory or if an external program reads it. `members` is a generator. It yields a `Member` for each
file that any tool unpacks, and a `Problem` for whatever is damaged or outside of the format's
profile. The profile is what ordinary writers produce: tools never disagree about an archive inside
the profile. A problem does not end the listing: a reader yields all that it can still find. An
exception of `UNREADABLE` ends it, and counts as a problem with the exception's text.

A member is opened before the next one is asked for, and read to its end or not at all. Directories,
links and devices are no members.
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
"""Bytes of a file that `recognise` gets; fewer only of a shorter file."""


class DamagedError(Exception):
    """An archive is damaged or outside of its profile; the text says how."""


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

    Without `open`, `closed` is the reason why the content cannot be inspected (`encrypted`).
    `already_scanned` means that clamscan scans exactly this content when it scans the archive.
    `reader` is set where the content's format is known but its first bytes do not show it.
    `is_partial` marks the view of a tool that stops early: its end is no damage.
    """

    name: str
    open: Callable[[], Stream] | None = None
    closed: str = ""
    already_scanned: bool = False
    reader: Reader | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something is damaged or outside of the profile; `text` describes what and where.

    Reports put the format's name in front of it:
    `tar: a directory with 1,024 bytes of content at byte 0`. `is_behind_end` marks data behind the
    archive's end.
    """

    text: str
    is_behind_end: bool = False


Item = Member | Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A file on the disk that a `FileReader` reads.

    `file` is open for reading, and its position may change between two reads. `workspace` is the
    folder for whatever the reader writes. The reader accounts for that with `account.keep` and
    `account.drop`, and removes it.
    """

    path: Path
    file: BinaryIO
    size: int
    workspace: Path
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """The fields of both kinds of reader.

    `recognise` gets the first `HEAD` bytes. It must be so strict that it is hardly ever true of
    arbitrary data, and so lenient that it is true of whatever any tool opens. Without it the format
    is recognised by the end of a file, or only where a member names its reader.

    `magics` are searched for inside of other files, and `recognise` gets the bytes that begin
    `magic_at` bytes before each. Leave it empty if the magic is shorter than four bytes and
    `recognise` does not check anything else.

    `markers` are the names of our signatures (`avscan.clamav.markers`) that match content of this
    format which the reader opens and clamscan does not.

    Without `is_certain`, files of other formats are recognised by chance too often. So archives are
    searched for inside of such a file, as in any other.

    With `is_compressed` the archive is one compressed file without a name. Its raw bytes are not
    shown to clamscan unless it is damaged, and its content is treated as the artifact itself.
    """

    name: str
    recognise: Callable[[bytes], bool] = lambda _: False
    magics: tuple[bytes, ...] = ()
    magic_at: int = 0
    markers: frozenset[str] = frozenset()
    is_certain: bool = True
    is_compressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReader(_Format):
    """A format that is read from front to back.

    If such an archive is compressed, only its members are written to the disk.
    """

    members: Callable[[Stream], Iterator[Item]]

    def extent(self, file: BinaryIO, begin: int, end: int) -> int:
        """Return the length of the archive that begins at `begin`; 0 if there is none."""
        stream = region(file, begin, end)
        try:
            for item in self.members(stream):
                if isinstance(item, Problem):
                    return stream.tell() if item.is_behind_end else end - begin
        except UNREADABLE:
            return end - begin
        return stream.tell()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReader(_Format):
    """A format that needs a file on the disk.

    `recognise_end` is for formats that are recognised by the end of a file. `extent` gets a file and
    two offsets, and returns the length of the archive that begins at the first offset and ends at the
    second one at the latest; 0 if there is none. Without it the archive has all bytes up to there.
    """

    members: Callable[[Archive], Iterator[Item]]
    recognise_end: Callable[[BinaryIO], bool] | None = None
    extent: Callable[[BinaryIO, int, int], int] = lambda _, begin, end: end - begin


Reader = StreamReader | FileReader


def items_of(reader: Reader, source: Archive | Stream) -> Generator[Item]:
    """Iterate over an archive's members and problems; an exception becomes the last problem."""
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
    """Return the text of an exception of `UNREADABLE`, or its class's name."""
    return str(error) or type(error).__name__
