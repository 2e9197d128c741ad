"""Formats that well-kept programs open: bsdtar, 7-Zip, gzip, lz4, lzip and lzop."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from avscan.archives import base64_text, disks, extents, rar
from avscan.archives.programs import decompressed, program_reader
from avscan.archives.sevenzip import OPTIONS, PROGRAM, extracted

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


READERS = (
    program_reader(
        "rar",
        "bsdtar",
        rar.read,
        recognise=rar.recognise,
        magics=(b"Rar!\x1a\x07",),
        extent=rar.extent,
    ),
    program_reader("xar", PROGRAM, extracted("Xar"), recognise=_is_xar),
    program_reader(
        "lha", PROGRAM, extracted("Lzh"), recognise=lambda head: _LHA.match(head) is not None
    ),
    program_reader(
        "zstd",
        PROGRAM,
        decompressed("x", "-so", *OPTIONS, "-tzstd"),
        recognise=_begins(extents.ZSTD, *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))),
        magics=(extents.ZSTD,),
        extent=extents.zstd,
        is_compressed=True,
    ),
    program_reader(
        "compress",
        PROGRAM,
        decompressed("x", "-so", *OPTIONS, "-tZ"),
        recognise=_is_compress,
        is_compressed=True,
    ),
    program_reader(  # many files have so short a magic by chance, and gzip does not open them
        "old formats of gzip",
        "gzip",
        decompressed("-dc"),
        recognise=_begins(b"\x1f\x1e", b"\x1f\xa0", b"\x1f\x9d"),
        is_certain=False,
    ),
    program_reader("lz4", "lz4", decompressed("-dcq"), recognise=_is_lz4, is_compressed=True),
    program_reader(
        "lzip", "lzip", decompressed("-dca"), recognise=_begins(b"LZIP\1"), is_compressed=True
    ),
    program_reader(
        "lzop",
        "lzop",
        decompressed("-dc"),
        recognise=_begins(b"\x89LZO\0\r\n\x1a\n"),
        is_compressed=True,
    ),
    program_reader(
        "7z",
        PROGRAM,
        extracted("7z"),
        recognise=extents.is_sevenzip,
        magics=(b"7z\xbc\xaf\x27\x1c",),
        extent=extents.sevenzip,
    ),
    program_reader(
        "squashfs",
        PROGRAM,
        extracted("SquashFS"),
        recognise=_is_squashfs,
        magics=(b"hsqs",),
        extent=extents.squashfs,
    ),
    program_reader(
        "wim",
        PROGRAM,
        extracted("wim"),
        recognise=_begins(b"MSWIM\0\0\0\xd0\0\0\0"),
        magics=(b"MSWIM\0\0\0",),
    ),
    program_reader("compound file", PROGRAM, extracted("Compound"), recognise=_is_compound_file),
    program_reader(
        "base64",
        PROGRAM,
        decompressed("x", "-so", *OPTIONS, "-tBase64"),
        recognise=base64_text.recognise,
        magics=tuple(b"\n" + magic for magic in base64_text.MAGICS),
        magic_at=-1,
        extent=base64_text.extent,
    ),
    program_reader(
        "NSIS",
        PROGRAM,
        extracted("Nsis"),
        recognise=lambda head: head[4:20] == _NSIS,
        magics=(_NSIS,),
        magic_at=4,
        extent=extents.nsis,
    ),
    *(
        program_reader(name, PROGRAM, extracted(kind, may_be_empty=True), recognise_end=recognise)
        for name, (kind, recognise) in disks.KINDS.items()
    ),
)
