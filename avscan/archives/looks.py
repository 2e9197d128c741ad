"""What a file looks like by its first bytes, where no reader of ours opens it."""

from __future__ import annotations

import codecs
import struct
from os import SEEK_END
from typing import BinaryIO

from avscan.archives.streams import CHUNK, read_at

_RPM = b"\xed\xab\xee\xdb"
UNSUPPORTED = {
    **{b"\x1f\x9d" + bytes([0x80 | bits]): "compress" for bits in range(9, 17)},
    **{bytes([0x50 + n]) + b"\x2a\x4d\x18": "zstd" for n in range(16)},
    b"\x28\xb5\x2f\xfd": "zstd",
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
    _RPM: "rpm",
    b"-----BEGIN PGP MESSAGE-----": "PGP",
    b"age-encryption.org/v1\n": "age",
    b"Salted__": "openssl-enc",
}
"""Formats over which clamscan 1.4 says `OK` without looking into them, by their first bytes."""

_UNSUPPORTED = tuple(UNSUPPORTED)
_PROGRAMS = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
)
_CONTROLS = bytes(sorted({*range(0x20), 0x7F} - {*b"\t\n\r"}))
_TABLE = 4 << 20  # bytes of a table of segments, at the most
_SCRIPT = 32  # bytes of text that a script begins with, at least, or a shorter line


def unsupported(head: bytes) -> str:
    """Return the name of the format that neither clamscan nor we open; empty if it is none."""
    if head.startswith(b"\x7fELF") and head[8:11] == b"AI\2":
        return "AppImage"  # a program with a squashfs behind it
    if not head.startswith(_UNSUPPORTED):
        return ""
    return next(name for magic, name in UNSUPPORTED.items() if head.startswith(magic))


def mistaken_for_tar(head: bytes) -> bool:
    """Return whether clamscan takes a file of another format for a tar."""
    return head[257:262] == b"ustar"


def mistaken_for_disk(head: bytes) -> bool:
    """Return whether clamscan takes a file of another format for a disk."""
    return head[512:520] == b"EFI PART"


def is_program(head: bytes) -> bool:
    """Return whether some system runs what begins like this."""
    return head.startswith(_PROGRAMS)


def may_embed_archives(head: bytes) -> bool:
    """Return whether archives may lie behind what begins like this: a program, a script, an rpm.

    A script needs no `#!`: a shell runs it without, and other systems have none.
    """
    return is_program(head) or head.startswith(_RPM) or _is_text(head)


def _is_text(head: bytes) -> bool:
    """Return whether it begins with a line of text, or with enough of one, in any alphabet.

    The first letter is ASCII: a script begins with a word or a mark of its language.
    """
    begin = head.removeprefix(codecs.BOM_UTF8)[:_SCRIPT]
    line, newline, _ = begin.partition(b"\n")
    whole = bool(newline) or len(begin) == _SCRIPT
    return whole and line[:1].isascii() and not line.translate(None, _TEXT)


_TEXT = bytes({*range(256)} - {*_CONTROLS})


def end_of_program(file: BinaryIO) -> int:
    """Return where a program ends by its own headers, or a script by its last line of text.

    What lies behind is an overlay. 0 means that nothing is known.
    """
    file.seek(0)
    head = file.read(4096)
    try:
        if head.startswith(b"MZ"):
            return _end_of_pe(file, head)
        if head.startswith(b"\x7fELF"):
            return _end_of_elf(file, head)
    except struct.error:
        return 0
    return 0 if is_program(head) and not head.startswith(b"#!") else _end_of_script(file)


def _end_of_pe(file: BinaryIO, head: bytes) -> int:
    """Find the end of the last section (Microsoft's "PE Format")."""
    (at,) = struct.unpack_from("<I", head, 60)
    headers = read_at(file, at, 64 << 10)
    count, optional = struct.unpack_from("<H12xH", headers, 6)
    if not headers.startswith(b"PE\0\0"):
        return 0
    sections = (24 + optional + 40 * number for number in range(count))
    ends: list[int] = [sum(struct.unpack_from("<II", headers, each + 16)) for each in sections]
    return max(ends, default=0)


def _end_of_elf(file: BinaryIO, head: bytes) -> int:
    """Find the end of the segments and of the table of sections (elf(5))."""
    order = "<" if head[5] == 1 else ">"
    wide = head[4] == 2  # noqa: PLR2004 - 64 bits
    offsets, counts = (("QQ", 32), ("HHHH", 54)) if wide else (("II", 28), ("HHHH", 42))
    segments, sections = struct.unpack_from(order + offsets[0], head, offsets[1])
    length, count, section, number = struct.unpack_from(order + counts[0], head, counts[1])
    table = read_at(file, segments, min(length * count, _TABLE))
    form, at = (order + "Q16xQ", 8) if wide else (order + "I8xI", 4)
    ends: list[int] = [sections + section * number]
    ends += [sum(struct.unpack_from(form, table, length * each + at)) for each in range(count)]
    return max(ends)


def _end_of_script(file: BinaryIO) -> int:
    """Find the first line that has a control character in it."""
    size = file.seek(0, SEEK_END)
    position = begin = 0
    while position < size:
        file.seek(position)
        data = file.read(CHUNK)
        text = len(data)
        if len(data.translate(None, _CONTROLS)) < text:
            text = min(found for each in _CONTROLS if (found := data.find(each)) >= 0)
        newline = data.rfind(b"\n", 0, text)
        begin = position + newline + 1 if newline >= 0 else begin
        if text < len(data):
            return begin
        position += len(data)
    return 0
