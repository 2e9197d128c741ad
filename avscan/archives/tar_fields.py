"""The fields of a tar's headers: numbers and checksums, and the search for headers by checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from avscan.archives.reader import DamagedError
from avscan.archives.streams import CHUNK

BLOCK = 512
MOST = 1 << 20
"""Bytes of each header in front of an entry, and of a map of a sparse file, at the most."""

SUM = slice(148, 156)
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_BASE_256 = 0x80

_DIGITS = b"01234567"
# What some reader accepts as a part of a number: base 256, blanks, signs, and Python's notations.
_SIGNS = b"\x80\0 \t\n\v\f\r+-_oO"
_IS_DIGIT = bytes(byte in _DIGITS + b"\x80" for byte in range(256))
_FITS = bytes(byte in _DIGITS + _SIGNS for byte in range(256))
_NO_DIGITS = bytes({*range(256)} - {*_DIGITS})
_ASCII = bytes(range(128))


def octal(digits: bytes) -> int:
    """Parse a number in octal. Raise ValueError if it is malformed."""
    if (match := _OCTAL.fullmatch(digits)) is None:
        raise ValueError(ascii(digits)[2:-1])
    return int(match[1], 8)


def number(digits: bytes) -> int:
    """Parse a number in octal, or in base 256 as GNU tar writes large ones."""
    if digits[0] != _BASE_256:
        return octal(digits)
    if (value := int.from_bytes(digits[1:], "big")) >= 1 << 62:
        raise ValueError(ascii(digits)[2:-1])
    return value


def decimal(digits: bytes) -> int:
    """Parse a number of a pax record. Raise DamagedError if it is malformed."""
    if re.fullmatch(rb"[0-9]{1,18}", digits) is None:
        raise DamagedError("a pax header with an unusual number")
    return int(digits)


def has_sum(block: bytes) -> bool:
    """Return whether the checksum of a header is right to any reader."""
    digits = block[SUM]
    values = {int.from_bytes(digits[1:], "big")} if digits[:1] == b"\x80" else set()
    if (first := re.search(rb"[0-7]+", digits)) is not None:
        values |= {int(first[0], 8), int(digits.translate(None, _NO_DIGITS), 8)}
    if not values or (total := sum_of(block)) in values:
        return bool(values)
    # Some readers add signed bytes: random data often have so small a sum. None of these readers
    # accepts a number with anything else in it.
    if digits[:-2].translate(None, _DIGITS + _SIGNS):
        return False
    large = len(block.translate(None, _ASCII)) - len(digits.translate(None, _ASCII))
    return abs(total - 256 * large) in values


def sum_of(block: bytes) -> int:
    """Return the checksum of a header: the sum of its bytes, with blanks for the checksum itself."""
    return sum(block) - sum(block[SUM]) + 8 * ord(" ")


def offsets(data: bytes) -> Iterator[int]:
    """Iterate over the multiples of 512 bytes where a header is."""
    if not (rows := len(data) // BLOCK):
        return
    fits, digits = int.from_bytes(b"\1" * rows, "big"), 0
    for column in range(SUM.start, SUM.stop - 2):  # of all blocks at once
        values = data[column::BLOCK][:rows]
        fits &= int.from_bytes(values.translate(_FITS), "big")
        digits |= int.from_bytes(values.translate(_IS_DIGIT), "big")
    marks = (fits & digits).to_bytes(rows, "big")
    row = marks.find(1)
    while row >= 0:
        if has_sum(data[row * BLOCK : (row + 1) * BLOCK]):
            yield row * BLOCK
        row = marks.find(1, row + 1)


def find_headers(file: BinaryIO) -> Iterator[int]:
    """Iterate over the offsets of a file, in whole blocks, where a header is."""
    position = 0
    while True:
        file.seek(position)
        data = file.read(CHUNK)
        yield from (position + offset for offset in offsets(data))
        if len(data) < CHUNK:
            return
        position += CHUNK
