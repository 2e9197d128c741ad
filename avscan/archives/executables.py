"""Programs and scripts: how they begin, and where their own content ends."""

from __future__ import annotations

import codecs
import struct
from os import SEEK_END
from typing import BinaryIO

from avscan.archives.streams import CHUNK, read_at
from avscan.archives.unsupported import RPM

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
_TEXT = bytes({*range(256)} - {*_CONTROLS})
_TABLE = 4 << 20  # bytes of a table of segments, at the most
_SCRIPT = 32  # bytes of text that a script begins with, at least, or a shorter line


def is_program(head: bytes) -> bool:
    """Return whether an operating system runs a file that begins with `head`."""
    return head.startswith(_PROGRAMS)


def may_embed_archives(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a program, a script or an rpm.

    A script needs no `#!`: a shell runs it without, and Windows has no such line.
    """
    return is_program(head) or head.startswith(RPM) or _is_text(head)


def _is_text(head: bytes) -> bool:
    """Return whether a file begins with a line of text, or with 32 bytes of text, in any alphabet.

    The first character is ASCII: a script begins with a word or a mark of its language.
    """
    begin = head.removeprefix(codecs.BOM_UTF8)[:_SCRIPT]
    line, newline, _ = begin.partition(b"\n")
    is_complete = bool(newline) or len(begin) == _SCRIPT
    return is_complete and line[:1].isascii() and not line.translate(None, _TEXT)


def end_of_program(file: BinaryIO) -> int:
    """Return where a program ends by its headers, or a script by its last line of text.

    The bytes behind this offset are an overlay. Return 0 if the end is unknown.
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
    """Return the end of the last section (Microsoft's "PE Format")."""
    (at,) = struct.unpack_from("<I", head, 60)
    headers = read_at(file, at, 64 << 10)
    count, optional = struct.unpack_from("<H12xH", headers, 6)
    if not headers.startswith(b"PE\0\0"):
        return 0
    sections = (24 + optional + 40 * number for number in range(count))
    ends: list[int] = [sum(struct.unpack_from("<II", headers, each + 16)) for each in sections]
    return max(ends, default=0)


def _end_of_elf(file: BinaryIO, head: bytes) -> int:
    """Return the end of the segments and of the table of sections (elf(5))."""
    order = "<" if head[5:6] == b"\1" else ">"
    wide = head[4:5] == b"\2"  # 64 bits
    offsets, counts = (("QQ", 32), ("HHHH", 54)) if wide else (("II", 28), ("HHHH", 42))
    segments, sections = struct.unpack_from(order + offsets[0], head, offsets[1])
    length, count, section, number = struct.unpack_from(order + counts[0], head, counts[1])
    table = read_at(file, segments, min(length * count, _TABLE))
    form, at = (order + "Q16xQ", 8) if wide else (order + "I8xI", 4)
    ends: list[int] = [sections + section * number]
    ends += [sum(struct.unpack_from(form, table, length * each + at)) for each in range(count)]
    return max(ends)


def _end_of_script(file: BinaryIO) -> int:
    """Return the beginning of the first line that has a control character; 0 if there is none."""
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
