"""Samples for the tests, generated when they are needed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
HASHED = b"what only a signature of the whole file finds"
MIB = 1 << 20
_BLOCK = 64 * MIB

Members = Iterable[tuple[str, bytes]]
Compression = Literal["", "gz", "bz2", "xz"]


def signatures(folder: Path) -> Path:
    """Write signatures of EICAR anywhere in a file, and of HASHED as a whole file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n")
    digest = hashlib.md5(HASHED).hexdigest()
    (folder / "test.hdb").write_text(f"{digest}:{len(HASHED)}:Hash-Test-Signature\n")
    return folder


def tar(members: Members, compression: Compression = "") -> bytes:
    """Pack a tar, compressed or not."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return compress(out.getvalue(), compression)


def compress(content: bytes, compression: Compression) -> bytes:
    """Compress a stream."""
    match compression:
        case "gz":
            return gzip.compress(content, mtime=0)
        case "bz2":
            return bz2.compress(content)
        case "xz":
            return lzma.compress(content)
        case "":
            return content


def gzipped(
    content: bytes, *, method: int = 8, flags: int = 0, fields: bytes = b"", trailer: bytes = b""
) -> bytes:
    """Compress by gzip, with fields of a header (RFC 1952) or a trailer of the test's own."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    sums = struct.pack("<II", zlib.crc32(content), len(content))
    return b"\x1f\x8b" + bytes([method, flags]) + bytes(6) + fields + body + (trailer or sums)


def pack(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Pack a zip that does not depend on the time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def zip_of_unknown_length(name: bytes, content: bytes) -> bytes:
    """Pack a zip whose local header has its sizes in a zip64 field, as a stream's writer leaves it.

    Every byte is written here: versions of zipfile differ in when they write such fields.
    """
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = deflate.compress(content) + deflate.flush()
    checksum = zlib.crc32(content)
    zip64 = struct.pack("<HHQQ", 1, 16, len(content), len(packed))
    unknown = (2**32 - 1,) * 2
    common = (45, 0, zipfile.ZIP_DEFLATED, 0, 33, checksum)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", *common, *unknown, len(name), len(zip64))
    body = local + name + zip64 + packed
    sizes = (len(packed), len(content), len(name))
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 45, *common, *sizes, 0, 0, 0, 0, 0, 0) + name
    return body + entry + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(body), 0)


def ar(members: Members) -> bytes:
    """Pack an ar, as a `.deb` is one."""
    parts = [b"!<arch>\n"]
    for name, content in members:
        parts += [f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()]
        parts += [content, b"\n" * (len(content) % 2)]
    return b"".join(parts)


def deb(content: bytes) -> bytes:
    """Pack a Debian package that installs one file."""
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", tar([("./control", b"Package: game\n")], "gz")),
            ("data.tar.xz", tar([("./usr/games/game", content)], "xz")),
        ]
    )


def cpio(name: str, content: bytes) -> bytes:
    """Pack a cpio of one file, of the kind that an rpm holds (cpio(5), New ASCII Format)."""

    def entry(name: str, content: bytes) -> bytes:
        numbers = [1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % number for number in numbers)
        head += name.encode() + b"\0"
        return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)

    return entry(name, content) + entry("TRAILER!!!", b"")


def zstd(content: bytes) -> bytes:
    """Frame bytes as zstd without compressing them (RFC 8878: raw blocks of up to 128 KiB)."""
    parts = [b"\x28\xb5\x2f\xfd\xe0", struct.pack("<Q", len(content))]
    blocks = [content[at : at + 2**17] for at in range(0, len(content), 2**17)] or [b""]
    for block in blocks:
        header = len(block) << 3 | (block is blocks[-1])
        parts += [header.to_bytes(3, "little"), block]
    return b"".join(parts)


def nested(levels: int, content: bytes) -> bytes:
    """Put a zip into a zip into a zip."""
    for level in range(levels):
        content = pack([(f"{level}.zip", content)])
    return content


def swarm(levels: int, width: int) -> bytes:
    """Make a zip of `width` zips of `width` zips ...: small, and endless in practice."""
    content = b"x"
    for _ in range(levels):
        content = pack((f"{number}.zip", content) for number in range(width))
    return content


@cache
def _zeros_block() -> bytes:
    return gzip.compress(bytes(_BLOCK), 1, mtime=0)


def zeros_gz(size: int) -> Iterator[bytes]:
    """Return zeros as gzip members, which make one stream."""
    for _ in range(size // _BLOCK):
        yield _zeros_block()
    yield gzip.compress(bytes(size % _BLOCK), 1, mtime=0)


def tar_header(name: str, size: int) -> bytes:
    """Make a tar member's header."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def large_tar_gz(path: Path, sizes: Iterable[int], last: bytes) -> Path:
    """Write a `tar.gz` of members full of zeros; the last one ends with `last`."""
    sizes = list(sizes)
    with path.open("wb") as file:
        stream = _GzipStream(file)
        for number, size in enumerate(sizes):
            end = last if number == len(sizes) - 1 else b""
            stream.write(tar_header(f"game/{number}.pak", size + len(end)))
            stream.write_zeros(size)
            stream.write(end + bytes(-(size + len(end)) % tarfile.BLOCKSIZE))
        stream.write(bytes(2 * tarfile.BLOCKSIZE))
        stream.close()
    return path


class _GzipStream:
    """One stream of gzip, in which a long run of zeros is compressed once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._checksum = self._size = 0
        file.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")

    def write(self, content: bytes, deflated: bytes = b"") -> None:
        self._file.write(deflated or _deflated(content))
        self._checksum = zlib.crc32(content, self._checksum)
        self._size += len(content)

    def write_zeros(self, size: int) -> None:
        for _ in range(size // _BLOCK):
            self.write(bytes(_BLOCK), _zeros_deflated())
        self.write(bytes(size % _BLOCK))

    def close(self) -> None:
        end = struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF)
        self._file.write(b"\3\0" + end)  # an empty last block


def _deflated(content: bytes) -> bytes:
    """Deflate content so that anything can follow it in the same stream."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush(zlib.Z_FULL_FLUSH)


@cache
def _zeros_deflated() -> bytes:
    return _deflated(bytes(_BLOCK))


def gzip_bomb(path: Path, size: int) -> Path:
    """Write a gzip file that unpacks to `size` zeros."""
    with path.open("wb") as file:
        file.writelines(zeros_gz(size))
    return path


def sparse(path: Path, size: int, last: bytes) -> Path:
    """Write a sparse file of `size` bytes that ends with `last`."""
    with path.open("wb") as file:
        file.seek(size - len(last))
        file.write(last)
    return path


def encrypted_beside(content: bytes) -> bytes:
    """Pack a zip whose first member is marked as encrypted, and whose second one is not."""
    data = bytearray(pack([("secret.bin", b"not to be read"), ("game.exe", content)]))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)
