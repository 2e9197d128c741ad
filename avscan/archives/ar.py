"""Ar: the format of Debian's packages and of libraries of object files.

The profile: decimal sizes, even offsets (ar(5)), and the long names of GNU ar and BSD ar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from avscan.archives.reader import Item, Member, Problem, StreamReader
from avscan.archives.streams import Stream, until

_MAGIC = b"!<arch>\n"
_LENGTH = 60
# Name (a long one has up to 9,999 bytes), time, owner, group, mode, size, end.
_HEADER = re.compile(rb"((?!#1/[0-9]{5}).{16})[0-9 ]{32}([0-9]+) *`\n", re.DOTALL)
_LONG_NAME = re.compile(rb"#1/([0-9]+) *")  # BSD: the name is that many bytes of the content


def _members(stream: Stream) -> Iterator[Item]:
    stream.read(len(_MAGIC))
    while header := stream.peek(_LENGTH):
        begin = stream.tell()
        match = _HEADER.fullmatch(header)
        if match is None:
            yield Problem(text=f"an unusual header at byte {begin}")
            yield Member(name=f"(from byte {begin})", open=lambda: stream)
            return
        stream.read(_LENGTH)
        end = stream.tell() + int(match[2])
        name = match[1].strip().rstrip(b"/")
        if (long := _LONG_NAME.fullmatch(match[1])) is not None:
            name = stream.read(min(int(long[1]), int(match[2]))).rstrip(b"\0")
        yield Member(name=name.decode("utf-8", "surrogateescape"), open=partial(until, stream, end))
        stream.seek(end)
        if stream.tell() < end or (end % 2 and stream.read(1) not in {b"\n", b""}):
            yield Problem(text=f"the member at byte {begin} is cut short")


READER = StreamReader(name="ar", recognise=lambda head: head.startswith(_MAGIC), members=_members)
