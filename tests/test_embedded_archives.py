"""Archives inside of programs, scripts and rpms, and data that only look like one."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examine import content, read
from support.packed import SEVENZIP, SEVENZIP_BZIP2
from support.samples import Compression, compress, pack, tar, zstd

from avscan.archives import compressed, streams
from avscan.archives.embedded import archives, contains_archives
from avscan.archives.executables import end_of_program
from avscan.archives.reader import UNREADABLE
from avscan.archives.registry import READERS, recognise, recognise_end

SCRIPT = b"#!/bin/sh\ntail -n +3 $0 | tar xz\nexit\n"
CONTENT = random.Random(1).randbytes(3 * compressed.PROVEN)
# Their first blocks, by the formats' descriptions.
RAR4_HEAD = b"\x73\0\0\x0d\0" + bytes(6)
RAR4 = b"Rar!\x1a\x07\0" + struct.pack("<H", zlib.crc32(RAR4_HEAD) & 0xFFFF) + RAR4_HEAD
RAR5_HEAD = b"\x0a\1\5\6\0\5\1\1\x80\x80\0"
RAR5 = b"Rar!\x1a\x07\1\0" + struct.pack("<I", zlib.crc32(RAR5_HEAD)) + RAR5_HEAD
INNO = b"rDlPtS\xcd\xe6\xd7\x7b\x0b\x2a\1\0\0\0"
NOISE = b"\x89PNG" + bytes(508)


def found(data: bytes) -> dict[str, bytes | str]:
    """Return the content of each archive, or the reason why it cannot be inspected."""
    members: dict[str, bytes | str] = {}
    for archive in archives(io.BytesIO(data)):
        if archive.reader is None:
            members[archive.name] = archive.closed
            continue
        with suppress(*UNREADABLE):
            inner, problems = read(archive.reader, content(archive))
            for name, each in inner.items():
                members[f"{archive.name}/{name}".rstrip("/")] = each
            members |= dict.fromkeys(problems, "damaged")
            continue
        members[archive.name] = "damaged"
    return members


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("size", [1, 3 * compressed.PROVEN])
@pytest.mark.parametrize("before", [SCRIPT, b"MZ" + bytes(streams.CHUNK)])
@pytest.mark.parametrize("after", [b"", b"more", bytes(9)])
def test_a_compressed_file(
    compression: Compression, size: int, before: bytes, after: bytes
) -> None:
    data = before + compress(CONTENT[:size], compression) + after
    assert found(data) == {f"(at byte {len(before)})": CONTENT[:size]}


@pytest.mark.parametrize("before", [SCRIPT, NOISE])
def test_a_small_gzip_without_its_checksum(before: bytes) -> None:
    """7-Zip unpacks it."""
    packed = compress(CONTENT[:100], "gz")[:-5]
    assert f"(at byte {len(before)})" in found(before + packed)


def test_a_magic_across_two_chunks() -> None:
    packed = compress(CONTENT, "gz")
    for short in range(20):
        before = b"MZ" + bytes(streams.CHUNK - short - 2)
        assert found(before + packed) == {f"(at byte {len(before)})": CONTENT}


def test_one_archive_after_another() -> None:
    packed = compress(CONTENT, "gz")
    assert list(found(b"MZ" + (packed + b"code") * 3).values()) == [CONTENT] * 3


def test_the_file_itself_is_not_embedded() -> None:
    assert found(compress(CONTENT, "xz")) == {}


@pytest.mark.parametrize("after", [b"", b"more"])
def test_a_tar(after: bytes) -> None:
    data = SCRIPT + tar([("a", b"a"), ("b", CONTENT)]) + after
    place = f"(at byte {len(SCRIPT)})"
    assert found(data) == {f"{place}/a": b"a", f"{place}/b": CONTENT}


@pytest.mark.parametrize("after", [b"", b"more", bytes(70_000)])
@pytest.mark.parametrize("before", [SCRIPT, NOISE, b"MZ" + bytes(70_000)])
def test_a_zip_in_the_middle(before: bytes, after: bytes) -> None:
    data = before + pack([("a", b"a"), ("b", CONTENT)]) + after
    place = f"(at byte {len(before)})"
    assert found(data) == {f"{place}/a": b"a", f"{place}/b": CONTENT}


def test_a_tar_behind_any_data() -> None:
    assert found(NOISE + tar([("a", b"a")])) == {"(at byte 512)/a": b"a"}
    far = NOISE + bytes(2 << 20)
    assert found(far + tar([("a", b"a")])) == {f"(at byte {len(far)})/a": b"a"}
    assert found(far + b"no whole block" + tar([("a", b"a")])) == {}


def test_a_tar_without_a_magic_behind_a_block_of_any_data() -> None:
    """GNU tar skips any blocks in front of the first header."""
    oldest = bytearray(tar([("a", b"a")]))
    oldest[257:265] = bytes(8)
    oldest[148:156] = b" " * 8
    oldest[148:156] = b"%06o\0 " % sum(oldest[:512])
    for front in (SCRIPT.ljust(512, b"\n"), b"MZ" + bytes(510), bytes(512)):
        assert found(front + oldest) == {"(at byte 512)/a": b"a"}


def test_a_tar_whose_first_header_is_unusual() -> None:
    """7-Zip skips any bytes in front, and accepts any version."""
    data = tar([("a", b"a")])
    unusual = bytearray(data)
    unusual[263:265] = b"01"
    unusual[148:156] = b"%06o\0 " % (int(data[148:154], 8) + 1)
    assert "a header with an unusual magic at byte 0" in found(b"\x890" + unusual)


def test_an_archive_behind_a_few_bytes_of_any_data() -> None:
    assert found(b"\x890" + compress(CONTENT, "gz")) == {"(at byte 2)": CONTENT}


@pytest.mark.parametrize("after", [b"", bytes(600)])
def test_an_unsupported_format(after: bytes) -> None:
    assert found(SCRIPT + INNO + after) == {f"(at byte {len(SCRIPT)})": "Inno Setup"}


@pytest.mark.parametrize("packed", [RAR4 + b"data", RAR5 + b"data"])
def test_a_rar_that_does_not_open_is_noted(packed: bytes) -> None:
    assert "damaged" in found(SCRIPT + packed).values()


@pytest.mark.parametrize("after", [b"", b"code", bytes(600)])
@pytest.mark.parametrize("packed", [SEVENZIP, SEVENZIP_BZIP2])
def test_a_7z(packed: bytes, after: bytes) -> None:
    members = found(SCRIPT + packed + after)
    assert len(members) in {2, 40}
    assert "damaged" not in members.values()


def test_zstd_and_what_only_has_its_magic() -> None:
    content = CONTENT * 20
    packed = zstd(content)
    place = f"(at byte {len(SCRIPT)})"
    assert found(SCRIPT + packed) == {place: content}
    assert found(SCRIPT + packed + b"code") == {place: content}
    assert found(b"MZ" + packed[:4] + b"code" * 99) == {}
    assert found(SCRIPT + zstd(b"a") + zstd(b"b") + b"code") == {place: b"ab"}
    assert found(b"MZ" + packed[:-1]) == {}


@pytest.mark.parametrize("after", [b"", b"EOF\n", b"more text\n"])
@pytest.mark.parametrize("content", [CONTENT, CONTENT[:950]])
@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", ""])
def test_base64_in_a_script(compression: Compression, content: bytes, after: bytes) -> None:
    packed = compress(content, compression) if compression else tar([("./a", content)])
    text = base64.encodebytes(packed)
    assert found(SCRIPT + text + after) == {f"(at byte {len(SCRIPT)})": packed}


@pytest.mark.parametrize("rest", [b"A!!!", b"=AAA", b"AB\xff\xff", b""])
def test_base64_that_goes_on_as_something_else_is_recognised(rest: bytes) -> None:
    first = base64.encodebytes(compress(CONTENT, "gz")).splitlines(keepends=True)[0]
    assert [reader.name for reader in recognise(first + rest)] == ["base64"]


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_what_is_damaged_further_on_is_noted(compression: Compression) -> None:
    packed = compress(CONTENT * 100, compression)
    assert "damaged" in found(SCRIPT + packed[: len(packed) * 3 // 4]).values()


def test_a_damaged_tar_is_noted() -> None:
    data = tar([("a", b"a"), ("b", CONTENT)])[:4000]
    assert "damaged" in found(SCRIPT + data).values()


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08\0" * 99,
        b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(99),
        compress(CONTENT, "gz")[:60],
        compress(b"", "gz"),
        b"BZh91AY&SY" * 9,
        b"\xfd7zXZ\0" * 9,
        b"Rar!\x1a\x07\0Rar!\x1a\x07\1\0" * 99,
        b"7z\xbc\xaf\x27\x1c\0\4" * 99,
        b"ustar\x0000" * 200,
        b"\x28\xb5\x2f\xfd" * 99,
        b"rDlPtS" * 99,
        b"\nH4sI" * 99,
        b"\nLi9" + b"A" * 73 + b"\n",
        b"PK\3\4PK\5\6PK\1\2" * 99,
    ],
)
def test_a_magic_alone_is_no_archive(data: bytes) -> None:
    assert found(b"MZ" + data) == {}


@given(st.binary(max_size=300), st.sampled_from([RAR4, RAR5, SEVENZIP, INNO]), st.data())
def test_damage_raises_nothing_unexpected(front: bytes, packed: bytes, data: st.DataObject) -> None:
    damaged = bytearray(front + packed)
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    found(bytes(damaged))


def test_a_magic_within_another_one_is_found() -> None:
    assert CONTENT in found(b"MZ\x1f\x8b\x08" + compress(CONTENT, "gz")).values()


@given(st.binary(max_size=99), st.binary(min_size=1, max_size=20_000))
def test_any_content_is_found(front: bytes, content: bytes) -> None:
    assert content in found(b"MZ" + front + compress(content, "gz")).values()


# Where a program ends.


def pe(*sections: tuple[int, int]) -> bytes:
    table = b"".join(bytes(16) + struct.pack("<II", size, at) + bytes(16) for at, size in sections)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    return head + b"PE\0\0" + struct.pack("<2xH12xH2x", len(sections), 0) + table


def elf(bits: int, *segments: tuple[int, int]) -> bytes:
    wide = bits == 64
    head = b"\x7fELF" + bytes([2 if wide else 1, 1])
    form = "<QQ4xHHHHHH" if wide else "<II4xHHHHHH"
    at = 64 if wide else 52
    length = 56 if wide else 32
    head = head.ljust(32 if wide else 28, b"\0")
    head += struct.pack(form, at, 0, at, length, len(segments), 0, 0, 0)
    each = "<8xQ16xQ" if wide else "<4xI8xI"
    return head + b"".join(struct.pack(each, *pair).ljust(length, b"\0") for pair in segments)


@pytest.mark.parametrize(
    ("program", "end"),
    [
        (pe((512, 100), (1024, 512)), 1536),
        (pe(), 0),
        (b"MZ", 0),
        (b"MZ" + bytes(99), 0),
        (elf(64, (0, 100), (4096, 500)), 4596),
        (elf(32, (0, 100), (4096, 500)), 4596),
        (b"\x7fELF\2\1", 0),
        (b"\x7fELF", 0),
        (SCRIPT + b"\x1f\x9d\x90", len(SCRIPT)),
        (SCRIPT + b"text and " * streams.CHUNK + b"\n\0", len(SCRIPT) + 9 * streams.CHUNK + 1),
        (SCRIPT, 0),
        (b"\xca\xfe\xba\xbe", 0),
    ],
)
def test_the_end_of_a_program(program: bytes, end: int) -> None:
    assert end_of_program(io.BytesIO(program)) == end


@pytest.mark.parametrize("magic", [b"\x1f\x9d\x90", b"\x89LZO\0\r\n\x1a\n", b"\x04\x22\x4d\x18"])
def test_formats_that_are_tried_at_the_end_of_a_program(magic: bytes) -> None:
    for program in (SCRIPT, pe((512, 100)).ljust(612, b"\0")):
        assert next(iter(found(program + magic + CONTENT))) == f"(at byte {len(program)})"


@given(
    st.lists(
        st.sampled_from(
            [
                SCRIPT,
                b"MZ",
                b"\x7fELF",
                b"H4sI" + b"A" * 72 + b"\n",
                b"text\n",
                bytes(300),
                tar([("a", b"a")]),
                compress(CONTENT[:99], "gz"),
            ]
            + [
                bytes(max(0, reader.magic_at)) + magic
                for reader in READERS
                for magic in reader.magics
            ]
        )
        | st.binary(max_size=20)
    ).map(b"".join)
)
def test_the_quick_check_of_a_small_file_misses_no_archive(content: bytes) -> None:
    file = io.BytesIO(content)
    assert contains_archives(content) == bool(recognise_end(file) or any(archives(file)))
