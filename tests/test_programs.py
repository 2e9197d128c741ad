"""Formats that programs open. The samples are packed here, by the same programs and others."""

from __future__ import annotations

import gzip
import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.examine import examined
from support.samples import EICAR

from avscan.archives.bounds import Bounds
from avscan.findings import Examination, Findings

BOUNDS = Bounds(unpacked_bytes=50_000_000, reserve=0)
NOISE = random.Random(1).randbytes(300_000)
BESIDE = gzip.compress(b"x" * 3000)


@dataclass
class Engine:
    """Finds EICAR in bytes as they are."""

    shown: list[bytes] = field(default_factory=list)

    def scan(self, path: Path) -> Findings:
        self.shown.append(data := path.read_bytes())
        return Findings(signatures=("Eicar",) if data.startswith(EICAR) else ())


Look = Callable[..., Examination]
Packed = Callable[..., bytes]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Examine bytes, and check that nothing is left in the workspace."""
    (workspace := tmp_path / "work").mkdir()

    def look(data: bytes, bounds: Bounds = BOUNDS) -> Examination:
        (path := tmp_path / "artifact").write_bytes(data)
        examination = examined(path, engine=Engine(), workspace=workspace, bounds=bounds)
        assert not [*workspace.iterdir()]
        return examination

    return look


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """Run a command that packs three files; `%` is the archive."""
    (folder := tmp_path / "files").mkdir()
    (folder / "a.txt").write_bytes(b"x" * 5000)
    (folder / "b.txt").write_bytes(NOISE)
    (folder / "z.exe").write_bytes(EICAR)

    def packed(command: str, *files: str, name: str = "archive.bin") -> bytes:
        path = folder.parent / name
        files = files or ("a.txt", "b.txt", "z.exe")
        arguments = [part.replace("%", str(path)) for part in command.split()]
        subprocess.run([*arguments, *files], cwd=folder, check=True, capture_output=True)
        return path.read_bytes()

    return packed


def found(examination: Examination) -> list[str]:
    assert not examination.errors
    assert not examination.opaque
    return [sighting.member for sighting in examination.sightings]


def rar(*members: tuple[str, bytes]) -> bytes:
    """Store files in a rar of version 4 (technote.txt)."""

    def block(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
        rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest + data

    def file(name: str, data: bytes) -> bytes:
        sizes = (len(data), len(data), 3, zlib.crc32(data), 0, 20, 0x30, len(name), 0o100644)
        return block(0x74, 0x8000, struct.pack("<IIBIIBBHI", *sizes) + name.encode(), data)

    files = b"".join(file(*member) for member in members)
    return b"Rar!\x1a\x07\0" + block(0x73, 0, bytes(6)) + files + block(0x7B, 0x4000, b"")


def rar5(*members: tuple[str, bytes], flags: int = 0) -> bytes:
    """Store files in a rar of version 5."""

    def vint(number: int) -> bytes:
        data = bytearray()
        while number > 0x7F:
            data.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes([*data, number])

    def block(*numbers: int, body: bytes = b"", data: bytes = b"") -> bytes:
        rest = b"".join(map(vint, numbers)) + body
        rest = vint(len(rest)) + rest
        return struct.pack("<I", zlib.crc32(rest)) + rest + data

    def file(name: str, data: bytes) -> bytes:
        body = vint(4) + vint(len(data)) + vint(0o100644)
        body += struct.pack("<I", zlib.crc32(data)) + vint(0) + vint(1) + vint(len(name))
        return block(2, 2, len(data), body=body + name.encode(), data=data)

    files = b"".join(file(*member) for member in members)
    return b"Rar!\x1a\x07\1\0" + block(1, 0, flags) + files + block(5, 0, 0)


FILES = (("a.txt", b"x" * 5000), ("b.txt", NOISE), ("z.exe", EICAR))
METHODS = ("LZMA", "LZMA2", "BZip2", "Deflate", "Deflate64", "PPMd", "Copy")
COMMANDS = [
    *(f"7zz a -t7z -m0={method} %" for method in METHODS),
    "7zz a -t7z -m0=Delta:4 -m1=LZMA %",
    "7zz a -t7z -m0=BCJ2 -m1=LZMA -m2=LZMA -m3=LZMA %",
    "7zz a -twim %",
    "bsdtar --format=xar -cf %",
    "bsdtar --format=iso9660 -cf %",
    *(f"bsdtar --{method} -cf %" for method in ("zstd", "lz4", "compress", "lzop")),
    "tar --use-compress-program=lzip -cf %",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_member_is_found(look: Look, packed: Packed, command: str) -> None:
    assert found(look(packed(command))) == ["z.exe"]
