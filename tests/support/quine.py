"""A zip whose one member is the zip itself, byte for byte.

Russ Cox showed how ("Zip Files All The Way Down", 2010). Deflated data is a program of two
instructions: print these bytes, and repeat the last bytes. Where each instruction takes as many
bytes as any other, a program of them can print what stands before it, itself, and what stands
behind it. The checksum stands in the zip as well, and a CRC is linear in each bit: so the one that
is right with itself comes out of 32 equations.
"""

from __future__ import annotations

import struct
import zlib

_UNIT = 5  # bytes of an instruction
_BEFORE = 60  # bytes of the header in front, with a name of 30
_BEHIND = 102  # bytes of the directory, and of the last block's end in front of it


class _Bits:
    """Bits as deflate has them: numbers begin with their lowest bit, codes with their highest."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def number(self, value: int, length: int) -> None:
        self.bits += [value >> at & 1 for at in range(length)]

    def code(self, value: int, length: int) -> None:
        self.bits += [value >> at & 1 for at in reversed(range(length))]

    def unit(self) -> bytes:
        value = sum(bit << at for at, bit in enumerate(self.bits))
        return value.to_bytes(_UNIT, "little")


def _print(size: int) -> bytes:
    """Print the next bytes: a stored block."""
    return struct.pack("<BHH", 0, size, size ^ 0xFFFF)


def _repeat(size: int) -> bytes:
    """Repeat the last bytes: 40 bits, which there are ways to for the three sizes that we need."""
    bits = _Bits()
    bits.number(0b010, 3)  # not the last block, fixed codes
    match size:
        case 20:
            for _ in range(2):  # ten bytes from 20 back, and again
                bits.code(264 - 256, 7)
                bits.code(8, 5)
                bits.number(20 - 17, 3)
            bits.code(0, 7)
        case 65:
            bits.code(276 - 256, 7)
            bits.number(65 - 59, 3)
            bits.code(12, 5)
            bits.number(65 - 65, 5)
            bits.code(0, 7)
            bits.number(0b010, 3)  # and an empty block, to fill
            bits.code(0, 7)
        case 107:
            bits.code(279 - 256, 7)
            bits.number(107 - 99, 4)
            bits.code(13, 5)
            bits.number(107 - 97, 5)
            bits.code(0, 7)
            bits.number(0b001, 3)  # and the beginning of the last block, which is stored
    return bits.unit()


def _zip(name: bytes, checksum: int) -> bytes:
    """Write the zip with a checksum that may be wrong."""
    program = 30 * _UNIT + _BEFORE + _BEHIND  # with what it prints, once
    packed, whole = program + 4, _BEFORE + program + _BEHIND
    common = struct.pack("<HHHHIIIHH", 0, 8, 0, 33, checksum, packed, whole, len(name), 0)
    before = b"PK\3\4\x14\0" + common + name
    behind = b"\0\0\xff\xff"  # what the last block holds: nothing
    behind += b"PK\1\2\x14\0\x14\0" + common + bytes(14) + name
    behind += struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 1, 1, 46 + len(name), _BEFORE + packed, 0)
    front, back = len(before) + _UNIT, len(behind) + _UNIT
    instructions = [
        *(_print(front), before, _print(front)),
        _repeat(front),
        *(_print(_UNIT), _repeat(front)),
        *(_print(_UNIT), _print(_UNIT)),
        *(_print(20), _repeat(front), _print(_UNIT), _print(_UNIT), _print(20)),
        _repeat(20),
        *(_print(20), _repeat(20), _print(20), _repeat(20), _print(20)),
        _repeat(20),
        *(_print(20), _repeat(20), _print(0), _print(0), _print(back)),
        _repeat(20),
        *(_print(0), _print(0)),
        *(_print(back), _repeat(back), behind),
        _repeat(back),
    ]
    return b"".join([before, *instructions, behind])


def quine() -> bytes:
    """Make the zip."""
    for number in range(100):  # not all names have an answer
        name = b"itself-and-nothing-else-%02d.zip" % number
        base = zlib.crc32(_zip(name, 0))
        # The checksum x of a zip that says x is linear in x: look for the x that it gives back.
        columns = [zlib.crc32(_zip(name, 1 << at)) ^ base ^ (1 << at) for at in range(32)]
        answer = _solve(columns, base)
        if answer is not None:
            return _zip(name, answer)
    raise AssertionError("no name has an answer")


def _solve(columns: list[int], wanted: int) -> int | None:
    """Choose among the columns those whose sum (without carry) is `wanted`, as bits."""
    basis: dict[int, tuple[int, int]] = {}
    for at, column in enumerate(columns):
        value, chosen = _reduce(basis, column)
        if value:
            basis[value.bit_length()] = (value, chosen ^ 1 << at)
    rest, chosen = _reduce(basis, wanted)
    return None if rest else chosen


def _reduce(basis: dict[int, tuple[int, int]], value: int) -> tuple[int, int]:
    chosen = 0
    while value and (row := basis.get(value.bit_length())):
        value, chosen = value ^ row[0], chosen ^ row[1]
    return value, chosen
