"""Formats that well-kept programs open: bsdtar, 7-Zip, gzip, lz4, lzip and lzop."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from avscan.archives import disks, extents, rar, sevenzip
from avscan.archives.programs import decompressed, opened_by_program
from avscan.archives.reader import FileReader
from avscan.archives.unsupported import ZSTD

_LHA = re.compile(rb"..-(?:lh[0-7dx]|lz[s45]|pm[012])-.{13}[\0-\3]", re.DOTALL)
_NSIS = b"\xef\xbe\xad\xdeNullsoftInst"


def _begins(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _is_squashfs(head: bytes) -> bool:
    """Check a superblock's version, and the block's size in both of its forms."""
    if not head.startswith((b"hsqs", b"sqsh")) or len(head) < 96:  # noqa: PLR2004 - its length
        return False
    order = "<" if head.startswith(b"h") else ">"
    size, _, _, log, _, _, major = struct.unpack_from(f"{order}I I H H H H H", head, 12)
    return bool(major == 4 and log < 32 and size == 1 << log)  # noqa: PLR2004


def _is_xar(head: bytes) -> bool:
    return head.startswith(b"xar!") and head[6:8] == b"\0\1"


def _is_lz4(head: bytes) -> bool:
    """Check a frame's version, or the length of the first block in the old format."""
    if head.startswith(b"\x02\x21\x4c\x18"):
        return 0 < int.from_bytes(head[4:8], "little") <= 9 << 20
    return head.startswith(b"\x04\x22\x4d\x18") and head[4:5] >= b"\x40" and head[4] >> 6 == 1


def _is_compress(head: bytes) -> bool:
    return head.startswith(b"\x1f\x9d") and len(head) > 3 and head[2] in range(0x89, 0x91)  # noqa: PLR2004


def _is_compound_file(head: bytes) -> bool:
    """Check the version, the byte order and the sector's size ([MS-CFB], 2.2)."""
    usual = (b"\3\0\xfe\xff\x09\0", b"\4\0\xfe\xff\x0c\0")
    return head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") and head[26:32] in usual


_READERS = (
    FileReader(
        name="rar",
        recognise=rar.recognise,
        magics=(b"Rar!\x1a\x07",),
        members=rar.members,
        extent=rar.extent,
    ),
    FileReader(name="xar", recognise=_is_xar, members=sevenzip.extracted("Xar")),
    FileReader(
        name="lha",
        recognise=lambda head: _LHA.match(head) is not None,
        members=sevenzip.extracted("Lzh"),
    ),
    FileReader(
        name="zstd",
        recognise=_begins(*ZSTD),
        magics=ZSTD[:1],
        members=sevenzip.decompressed("zstd"),
        extent=extents.zstd,
        is_compressed=True,
    ),
    FileReader(
        name="compress",
        recognise=_is_compress,
        members=sevenzip.decompressed("Z"),
        is_compressed=True,
    ),
    FileReader(  # many files have so short a magic by chance, and gzip does not open them
        name="old formats of gzip",
        recognise=_begins(b"\x1f\x1e", b"\x1f\xa0", b"\x1f\x9d"),
        members=decompressed("gzip", "-dc"),
        is_certain=False,
    ),
    FileReader(
        name="lz4", recognise=_is_lz4, members=decompressed("lz4", "-dcq"), is_compressed=True
    ),
    FileReader(
        name="lzip",
        recognise=_begins(b"LZIP\1"),
        members=decompressed("lzip", "-dca"),
        is_compressed=True,
    ),
    FileReader(
        name="lzop",
        recognise=_begins(b"\x89LZO\0\r\n\x1a\n"),
        members=decompressed("lzop", "-dc"),
        is_compressed=True,
    ),
    FileReader(
        name="7z",
        recognise=extents.is_sevenzip,
        magics=(b"7z\xbc\xaf\x27\x1c",),
        members=sevenzip.extracted("7z"),
        extent=extents.sevenzip,
    ),
    FileReader(
        name="squashfs",
        recognise=_is_squashfs,
        magics=(b"hsqs",),
        members=sevenzip.extracted("SquashFS"),
        extent=extents.squashfs,
    ),
    FileReader(
        name="wim",
        recognise=_begins(b"MSWIM\0\0\0\xd0\0\0\0"),
        magics=(b"MSWIM\0\0\0",),
        members=sevenzip.extracted("wim"),
    ),
    FileReader(
        name="compound file", recognise=_is_compound_file, members=sevenzip.extracted("Compound")
    ),
    FileReader(
        name="base64",
        recognise=extents.is_base64,
        magics=tuple(b"\n" + magic for magic in extents.BASE64),
        magic_at=-1,
        members=sevenzip.decompressed("Base64"),
        extent=extents.base64,
    ),
    FileReader(
        name="NSIS",
        recognise=lambda head: head[4:20] == _NSIS,
        magics=(_NSIS,),
        magic_at=4,
        members=sevenzip.extracted("Nsis"),
        extent=extents.nsis,
    ),
    *(
        FileReader(
            name=name,
            recognise_end=recognise,
            members=sevenzip.extracted(name, may_be_empty=True),
        )
        for name, recognise in disks.KINDS.items()
    ),
)
READERS = tuple(map(opened_by_program, _READERS))
