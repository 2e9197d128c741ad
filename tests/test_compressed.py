"""Compressed files and ar: the profile, and the problems of files outside of it."""

from __future__ import annotations

import gzip
import lzma
import zlib
from contextlib import suppress

import pytest
from support.examine import content, items, read
from support.samples import Compression, ar, compress, deb, gzipped

from avscan.archives import ar as ars
from avscan.archives import compressed, registry
from avscan.archives.reader import UNREADABLE, Member, Reader

READERS: dict[str, Reader] = {reader.name: reader for reader in registry.READERS}
OF: dict[Compression, Reader] = {
    "gz": READERS["gzip"],
    "bz2": READERS["bzip2"],
    "xz": READERS["xz"],
}
OLD_GZIP = READERS["old formats of gzip"]
OLD = lzma.compress(b"x" * 99, format=lzma.FORMAT_ALONE)


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
@pytest.mark.parametrize("padding", [0, 99])
def test_unpacking(compression: Compression, size: int, padding: int) -> None:
    data = bytes(size) + b"the end"
    assert read(OF[compression], compress(data, compression) + bytes(padding)) == ({"": data}, [])


@pytest.mark.parametrize("rest", [b"\x1f\x8b", b"\x1f\x8b\x08", gzipped(b"x")[:9]])
def test_a_header_that_is_cut_short_is_damage(rest: bytes) -> None:
    with pytest.raises(EOFError, match="cut short"):
        read(OF["gz"], gzipped(b"one") + rest)


def test_lzma() -> None:
    assert read(READERS["lzma"], OLD) == ({"": b"x" * 99}, [])


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_data_behind_the_end_are_a_member_and_a_problem(compression: Compression) -> None:
    packed = compress(b"x", compression)
    for zeros in (0, 8):
        members, problems = read(OF[compression], packed + bytes(zeros) + b"behind")
        assert members == {"": b"x", "(behind the end)": b"behind"}
        assert problems == [f"data behind the end at byte {len(packed) + zeros}"]


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_the_first_of_several_streams_is_a_member_too(compression: Compression) -> None:
    packed = compress(b"one", compression) + compress(b"two", compression)
    assert read(OF[compression], packed) == ({"": b"onetwo", "(the first stream)": b"one"}, [])


@pytest.mark.parametrize(
    ("compression", "is_partial"), [("gz", False), ("bz2", True), ("xz", True)]
)
def test_only_gzip_is_never_cut_into_streams(compression: Compression, *, is_partial: bool) -> None:
    """Of a gzip a cut first stream is a problem, since the launcher installs it."""
    packed = compress(b"one", compression) + compress(b"two", compression)
    partial = {}
    for item in items(OF[compression], packed):
        assert isinstance(item, Member)
        partial[content(item)] = item.is_partial
    assert partial == {b"onetwo": False, b"one": is_partial}


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"x", mtime=0),
        gzipped(b"x", flags=8, fields=b"name\0"),
        gzipped(b"x", flags=4 | 8 | 16, fields=b"\6\0AB\2\0xyname\0comment\0"),
        gzipped(
            b"x",
            flags=2,
            fields=(zlib.crc32(b"\x1f\x8b\x08\2" + bytes(6)) & 0xFFFF).to_bytes(2, "little"),
        ),
    ],
)
def test_headers_of_gzip(packed: bytes) -> None:
    assert read(OF["gz"], packed) == ({"": b"x"}, [])


@pytest.mark.parametrize(
    ("packed", "problem"),
    [
        (gzipped(b"x", flags=0x20), "reserved flags in the stream at byte 0"),
        (gzipped(b"x", flags=0xE0), "reserved flags in the stream at byte 0"),
        (gzipped(b"x", method=7), "method 7 in the stream at byte 0"),
        (
            gzipped(b"x", flags=4, fields=b"\4\0XX\xff\xff"),
            "a malformed extra field in the stream at byte 0",
        ),
        (
            gzipped(b"x", flags=2, fields=b"no"),
            "a wrong checksum of the header in the stream at byte 0",
        ),
        (gzipped(b"x", trailer=bytes(8)), "a wrong checksum or size in the stream at byte 0"),
    ],
)
def test_what_only_some_readers_of_gzip_reject_is_a_problem(packed: bytes, problem: str) -> None:
    assert OF["gz"].recognise(packed)
    assert read(OF["gz"], packed) == ({"": b"x"}, [problem])


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damage_is_found(compression: Compression, damage: str) -> None:
    packed = bytearray(compress(bytes(range(256)) * 99, compression))
    if damage == "cut":
        packed = packed[:-20]
    else:
        packed[len(packed) // 2] ^= 0xFF
    with suppress(*UNREADABLE):
        assert read(OF[compression], bytes(packed))[1]


def test_xz_may_not_allocate_much_memory() -> None:
    data = bytearray(compress(b"x", "xz"))
    data[16] = 37  # a dictionary of 1.5 GiB, by the first block's header (5.3.1 of its format)
    checksum = 12 + 4 * data[12]
    data[checksum : checksum + 4] = zlib.crc32(data[12:checksum]).to_bytes(4, "little")
    with pytest.raises(UNREADABLE, match=r"[Mm]emory"):
        read(OF["xz"], bytes(data))


def test_a_name_without_an_end() -> None:
    with pytest.raises(UNREADABLE, match="name"):
        read(OF["gz"], gzipped(b"x", flags=8, fields=b"x" * 100_000))


def test_the_proof_is_longer_than_a_sector() -> None:
    assert compressed.PROVEN > 512


# Old formats that gzip opens.


def test_a_file_of_pack() -> None:
    assert read(OLD_GZIP, b"\x1f\x1e\0\0\0\x08\1\0A\0\x80") == ({"": b"A" * 8}, [])


@pytest.mark.parametrize("magic", [b"\x1f\x1e", b"\x1f\xa0", b"\x1f\x9d"])
@pytest.mark.parametrize("rest", [b"", b"no more than the magic"])
def test_an_old_magic_by_chance_is_not_reported(magic: bytes, rest: bytes) -> None:
    assert OLD_GZIP in registry.recognise(magic + rest)
    assert read(OLD_GZIP, magic + rest)[1] == []


# Ar.


def test_ar() -> None:
    packed = ar([("odd", b"x"), ("even", b"xy"), ("slash/", b"")])
    assert read(ars.READER, packed) == ({"odd": b"x", "even": b"xy", "slash": b""}, [])
    assert [*read(ars.READER, deb(b"x"))[0]] == ["debian-binary", "control.tar.gz", "data.tar.xz"]


def test_long_names_of_ar() -> None:
    gnu = ar([("//", b"a-very-long-name.o/\n"), ("/0", b"x")])
    assert read(ars.READER, gnu) == ({"": b"a-very-long-name.o/\n", "/0": b"x"}, [])
    bsd = ar([("#1/8", b"long.o\0\0content")])
    assert read(ars.READER, bsd) == ({"long.o": b"content"}, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"1         `", b"-1        `"),
        (b"1         `", b"nonsense  `"),
        (b"x               0", b"#1/100000       0"),  # a name that would be read into memory
    ],
)
def test_an_ar_with_an_unusual_header(field: bytes, value: bytes) -> None:
    packed = ar([("w", b"w1"), ("x", b"x")]).replace(field, value)
    members, problems = read(ars.READER, packed)
    assert problems == ["an unusual header at byte 70"]
    assert members == {"w": b"w1", "(from byte 70)": packed[70:]}


def test_an_ar_that_is_cut_short() -> None:
    packed = ar([("x", b"x")]).replace(b"1         `", b"99        `")
    assert read(ars.READER, packed) == ({"x": b"x\n"}, ["the member at byte 8 is cut short"])
