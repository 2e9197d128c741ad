"""Formats that are searched for behind programs, only to be named: nothing opens them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avscan.archives.reader import Archive, FileReader, Item, Member

# Inno Setup's table of its parts, as innoextract knows its first bytes.
_INNO = re.compile(rb"rDlPtS(?:0[24567]\x87eVx|\xcd\xe6\xd7\x7b\x0b\x2a)")


def _members(_: Archive) -> Iterator[Item]:
    yield Member(name="", closed="Inno Setup")


READER = FileReader(
    name="Inno Setup",
    recognise=lambda head: _INNO.match(head) is not None,
    magics=(b"rDlPtS",),
    members=_members,
    extent=lambda *_: 1,
)
