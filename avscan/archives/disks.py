"""Disk images: they are recognised by magics further on in a file, or at its end."""

from __future__ import annotations

import struct
from collections.abc import Callable
from os import SEEK_END
from typing import BinaryIO

from avscan.archives.streams import read_at

_LEAST = 512  # bytes of a disk: a sector


def _has(*magics: tuple[int, bytes]) -> Callable[[BinaryIO], bool]:
    """Return a check whether a file has any of the magics; offsets below 0 are from its end."""
    nearest = min(at + len(magic) if at >= 0 else -at for at, magic in magics)
    least = max(_LEAST, nearest)

    def recognise(file: BinaryIO) -> bool:
        size = file.seek(0, SEEK_END)
        return size >= least and any(
            read_at(file, at if at >= 0 else size + at, len(magic)) == magic for at, magic in magics
        )

    return recognise


def _all(*checks: Callable[[BinaryIO], bool]) -> Callable[[BinaryIO], bool]:
    return lambda file: all(check(file) for check in checks)


_SECTOR = 2048
is_iso = _has((16 * _SECTOR, b"\1CD001"))
_is_udf = _has(*((at * _SECTOR, b"\0BEA01\1\0") for at in range(16, 32)))
_is_fat = _all(
    _has((510, b"\x55\xaa")),
    _has((54, b"FAT12   "), (54, b"FAT16   "), (82, b"FAT32   ")),
)
_is_ext = _all(
    _has((1080, b"\x53\xef")),
    _has(*((1082, bytes([state, 0])) for state in range(8))),
    _has(*((1048, bytes([size, 0, 0, 0])) for size in range(7))),
)

_BOOT = 8192  # bytes of the file `$Boot` of NTFS, which begins as a disk of NTFS does
_begins_as_ntfs = _all(_has((3, b"NTFS    ")), _has((510, b"\x55\xaa")))
_is_ntfs = _all(_begins_as_ntfs, lambda file: file.seek(0, SEEK_END) > _BOOT)
_GPT_INSIDE = 0xEE  # the type of a partition that represents a GPT
_PARTITION = struct.Struct("<B3xB3xII")


def _is_mbr(file: BinaryIO) -> bool:
    """Return whether a file begins with a table of partitions that all lie in the file.

    The first sector of a file system ends with the same magic, and an ISO may have such a table.
    """
    sector = read_at(file, 0, 512)
    if sector[510:] != b"\x55\xaa" or is_iso(file) or _is_fat(file) or _begins_as_ntfs(file):
        return False
    size = file.seek(0, SEEK_END)
    entries = [entry for entry in _PARTITION.iter_unpack(sector[446:510]) if any(entry)]
    return bool(entries) and all(
        status in {0, 0x80}
        and kind not in {0, _GPT_INSIDE}
        and start > 0
        and (start + count) * 512 <= size
        for status, kind, start, count in entries
    )


KINDS = {
    "ISO": is_iso,
    "UDF": _is_udf,
    "DMG": _has((-512, b"koly\0\0\0\4\0\0\2\0")),
    "VHD": _has((-512, b"conectix\0\0\0\2")),
    "VHDX": _has((0, b"vhdxfile")),
    "QCOW": _has(*((0, b"QFI\xfb\0\0\0" + bytes([version])) for version in (1, 2, 3))),
    "VMDK": _has(*((0, b"KDMV" + bytes([version, 0, 0, 0])) for version in (1, 2, 3))),
    "VDI": _has((64, b"\x7f\x10\xda\xbe")),
    "GPT": _has((512, b"EFI PART\0\0\1\0")),
    "MBR": _is_mbr,
    "FAT": _is_fat,
    "NTFS": _is_ntfs,
    "ext": _is_ext,
    "HFS": _has((1024, b"H+\0\4"), (1024, b"HX\0\5")),
    "APFS": _has((32, b"NXSB\0")),
}
"""Disk images: the check for each format, by 7-Zip's name of it in any case of letters."""
