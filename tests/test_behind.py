"""Archives behind programs, scripts and an rpm's headers; and what only looks like one."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.samples import pack, squeezed, tar, zstd
from test_sevenzip import BZIP2, LZMA

from avscan.archives import behind, streams
from avscan.archives.behind import archives
from avscan.archives.containers import Member

SCRIPT = b"#!/bin/sh\ntail -n +3 $0 | tar xz\nexit\n"
CONTENT = random.Random(1).randbytes(3 * behind.PROVEN)
# Their first blocks, by the formats' descriptions.
RAR4_HEAD = b"\x73\0\0\x0d\0" + bytes(6)
RAR4 = b"Rar!\x1a\x07\0" + struct.pack("<H", zlib.crc32(RAR4_HEAD) & 0xFFFF) + RAR4_HEAD
RAR5_HEAD = b"\x0a\1\5\6\0\5\1\1\x80\x80\0"
RAR5 = b"Rar!\x1a\x07\1\0" + struct.pack("<I", zlib.crc32(RAR5_HEAD)) + RAR5_HEAD
INNO = b"rDlPtS\xcd\xe6\xd7\x7b\x0b\x2a\1\0\0\0"


def found(data: bytes) -> dict[str, bytes | str]:
    """Give what each member holds, or why nobody can look into it."""

    def each() -> Iterator[tuple[str, bytes | str]]:
        for member in archives(io.BytesIO(data), lambda: None):
            yield member.name, read(member) or member.closed

    return dict(each())


def read(member: Member) -> bytes:
    if member.open is None:
        return b""
    stream = member.open()
    return b"".join(iter(lambda: stream.some(5000), b""))


@pytest.mark.parametrize("squeeze", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("size", [1, 3 * behind.PROVEN])
@pytest.mark.parametrize("before", [SCRIPT, b"MZ" + bytes(streams.CHUNK)])
@pytest.mark.parametrize("after", [b"", b"more", bytes(9)])
def test_what_is_compressed(squeeze: str, size: int, before: bytes, after: bytes) -> None:
    data = before + squeezed(CONTENT[:size], squeeze) + after  # type: ignore[arg-type] # one of them
    assert found(data) == {f"(at byte {len(before)})": CONTENT[:size]}


def test_a_magic_across_two_chunks() -> None:
    packed = squeezed(CONTENT, "gz")
    for short in range(20):
        before = bytes(streams.CHUNK - short)
        assert found(before + packed) == {f"(at byte {len(before)})": CONTENT}


def test_one_archive_after_another() -> None:
    packed = squeezed(CONTENT, "gz")
    assert list(found(b"MZ" + (packed + b"code") * 3).values()) == [CONTENT] * 3


def test_the_file_itself_is_not_behind_it() -> None:
    assert found(squeezed(CONTENT, "xz")) == {}


def test_a_tar_gives_its_members() -> None:
    data = SCRIPT + tar([("a", b"a"), ("b", CONTENT)]) + b"more"
    place = f"(at byte {len(SCRIPT)})"
    assert found(data) == {f"{place}/a": b"a", f"{place}/b": CONTENT}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (RAR4 + b"data", "rar"),
        (RAR5 + b"data", "rar"),
        (BZIP2, "7z bzip2"),
        (INNO, "Inno Setup"),
    ],
)
def test_what_nobody_opens(data: bytes, said: str) -> None:
    assert found(SCRIPT + data.ljust(600, b"\0")) == {f"(at byte {len(SCRIPT)})": said}


def test_what_clamscan_opens_is_its_own() -> None:
    assert found(SCRIPT + LZMA) == {}
    assert found(SCRIPT + pack([("x", b"x")])) == {}


def test_zstd_and_what_only_has_its_magic() -> None:
    packed = zstd(CONTENT * 20)
    expected: bytes | str = CONTENT * 20 if streams.zstd_decoder else "zstd"
    assert found(SCRIPT + packed) == {f"(at byte {len(SCRIPT)})": expected}
    assert found(SCRIPT + packed + b"code") == {f"(at byte {len(SCRIPT)})": expected}
    assert found(SCRIPT + packed[:4] + b"code" * 99) == {}
    assert f"(at byte {len(SCRIPT)})" in found(SCRIPT + zstd(b"a") + zstd(b"b") + b"code")
    assert found(SCRIPT + packed[:-1]) == {}


@pytest.mark.parametrize("squeeze", ["gz", "bz2", "xz"])
def test_what_is_damaged_further_on_is_noted(squeeze: str) -> None:
    content = CONTENT * 100
    packed = squeezed(content, squeeze)  # type: ignore[arg-type] # one of them
    members = archives(io.BytesIO(SCRIPT + packed[: len(packed) * 3 // 4]), lambda: None)
    first = next(members)
    assert content.startswith(read(first))
    assert [member.closed.partition(" ")[0] for member in members] == ["damaged"]


def test_a_damaged_tar_is_noted() -> None:
    data = tar([("a", b"a"), ("b", CONTENT)])[:4000]
    assert "damaged tar" in found(SCRIPT + data).values()


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08\0" * 99,
        b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(99),
        squeezed(CONTENT, "gz")[:60],
        squeezed(b"", "gz"),
        b"BZh91AY&SY" * 9,
        b"\xfd7zXZ\0" * 9,
        b"Rar!\x1a\x07\0Rar!\x1a\x07\1\0" * 99,
        b"7z\xbc\xaf\x27\x1c\0\4" * 99,
        b"ustar\x0000" * 200,
        b"\x28\xb5\x2f\xfd" * 99,
        b"rDlPtS" * 99,
    ],
)
def test_what_only_has_the_magic(data: bytes) -> None:
    assert found(SCRIPT + data) == {}


@given(st.binary(max_size=300), st.sampled_from([RAR4, RAR5, BZIP2, LZMA, INNO]), st.data())
def test_damage_does_no_harm(front: bytes, packed: bytes, data: st.DataObject) -> None:
    damaged = bytearray(front + packed)
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    found(bytes(damaged))


def test_a_decoder_is_not_asked_again_after_its_damage() -> None:
    damaged = bytearray(BZIP2)
    damaged[102] = 0
    assert "damaged bzip2" in found(bytes(damaged)).values()


def test_a_magic_within_another_is_seen() -> None:
    assert CONTENT in found(b"MZ\x1f\x8b\x08" + squeezed(CONTENT, "gz")).values()


@given(st.binary(max_size=99), st.binary(min_size=1, max_size=20_000))
def test_whatever_is_in_it_is_found(front: bytes, content: bytes) -> None:
    assert content in found(b"MZ" + front + squeezed(content, "gz")).values()


def test_a_search_that_finds_nothing_can_be_ended() -> None:
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        next(archives(io.BytesIO(bytes(10)), stop))
