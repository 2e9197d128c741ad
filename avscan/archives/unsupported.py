"""Formats that neither clamscan nor we open: they are only named, as unsupported content."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avscan.archives.reader import Archive, FileReader, Item, Member

RPM = b"\xed\xab\xee\xdb"
ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)))
"""The magics of a frame of zstd, and of the frames that are skipped (RFC 8878)."""

UNSUPPORTED = {
    **{b"\x1f\x9d" + bytes([0x80 | bits]): "compress" for bits in range(9, 17)},
    **dict.fromkeys(ZSTD, "zstd"),
    b"\x04\x22\x4d\x18": "lz4",
    b"LZIP\1": "lzip",
    b"\x89LZO\0\r\n\x1a\n": "lzop",
    b"Rar!\x1a\x07": "rar",
    b"MSWIM\0\0\0": "wim",
    b"hsqs": "squashfs",
    b"sqsh": "squashfs",
    b"\x45\x3d\xcd\x28": "cramfs",
    b"DWARFS": "DwarFS",
    b"ArC\1": "FreeArc",
    b"pbzx": "pbzx",
    b"LRZI": "lrzip",
    RPM: "rpm",
    b"-----BEGIN PGP MESSAGE-----": "PGP",
    b"age-encryption.org/v1\n": "age",
    b"Salted__": "openssl-enc",
}
"""The formats by their first bytes. clamscan 1.4 prints `OK` for them without opening them."""

_MAGICS = tuple(UNSUPPORTED)

# The table of parts of Inno Setup (the first bytes are those that innoextract knows).
_INNO = re.compile(rb"rDlPtS(?:0[24567]\x87eVx|\xcd\xe6\xd7\x7b\x0b\x2a)")


def unsupported(head: bytes) -> str:
    """Return the name of the unsupported format that a file begins with; '' if there is none."""
    if head.startswith(b"\x7fELF") and head[8:11] == b"AI\2":
        return "AppImage"  # a program with a squashfs behind it
    if not head.startswith(_MAGICS):
        return ""
    return next(name for magic, name in UNSUPPORTED.items() if head.startswith(magic))


def _members(_: Archive) -> Iterator[Item]:
    yield Member(name="", closed="Inno Setup")


READER = FileReader(
    name="Inno Setup",
    recognise=lambda head: _INNO.match(head) is not None,
    magics=(b"rDlPtS",),
    members=_members,
    extent=lambda *_: 1,
)
"""Inno Setup is searched for in programs, which the table above is not."""
