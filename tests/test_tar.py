"""Tars: the profile, and the problems and members of tars outside of it."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examine import content, items, read
from support.samples import tar

from avscan.archives.reader import Member
from avscan.archives.tar import READER
from avscan.archives.tar_fields import BLOCK, find_headers

END = bytes(2 * BLOCK)
Edit = Callable[[bytearray], None]


def header(
    name: str = "e",
    size: int = 0,
    kind: bytes = b"0",
    *,
    magic: bytes = b"ustar\x0000",
    at: dict[int, bytes] | None = None,
) -> bytes:
    """Return a header with the right checksum."""
    block = bytearray(BLOCK)
    block[:100] = name.encode().ljust(100, b"\0")
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[257:265] = magic
    for offset, value in (at or {}).items():
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def entry(data: bytes, name: str = "e", kind: bytes = b"0") -> bytes:
    return header(name, len(data), kind) + padded(data)


def pax(*records: tuple[str, str], kind: bytes = b"x") -> bytes:
    payload = b""
    for key, value in records:
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 2
        length += len(str(length)) - 2
        payload += str(length).encode() + rest
    return entry(payload, "x", kind)


def found(data: bytes) -> tuple[dict[str, bytes], list[str]]:
    """Read a tar, and its members by their own readers, such as that of sparse files."""
    members: dict[str, bytes] = {}
    problems: list[str] = []
    for item in items(READER, data):
        if not isinstance(item, Member):
            problems.append(item.text)
            continue
        packed = content(item)
        members[item.name] = packed
        if item.reader is not None:
            inner, _ = read(item.reader, packed)
            members |= {
                f"{item.name}/{name}": each
                for name, each in inner.items()
                if isinstance(each, bytes)
            }
    return members, problems


# The profile.


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_types(form: int) -> None:
    out = io.BytesIO()
    names = ["a", "d/" + "x" * 60 + "/" + "y" * 60, "ü/я"]
    names += [] if form == tarfile.USTAR_FORMAT else ["l" * 300]
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("../../etc/passwd")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    assert found(out.getvalue()) == (dict.fromkeys(names, b"abc"), [])


@pytest.mark.parametrize("end", [END, bytes(BLOCK), b"", bytes(10240)])
def test_the_end(end: bytes) -> None:
    assert found(entry(b"abc") + end) == ({"e": b"abc"}, [])


def test_a_size_in_base_256() -> None:
    data = header(at={124: b"\x80" + bytes(10) + b"\3"}) + padded(b"abc")
    assert found(data) == ({"e": b"abc"}, [])


def test_the_oldest_header_and_a_label() -> None:
    old = header(size=3, kind=b"\0", magic=bytes(8)) + padded(b"abc")
    label = header("Backup", kind=b"V", at={124: bytes(12)})
    assert found(label + old + END) == ({"e": b"abc"}, [])


def test_headers_for_all() -> None:
    data = pax(("comment", "a commit"), kind=b"g") + pax(("path", "p")) + entry(b"abc")
    assert found(data) == ({"p": b"abc"}, [])


def test_a_pax_header_may_repeat_the_size() -> None:
    assert found(pax(("size", "3")) + entry(b"abc")) == ({"e": b"abc"}, [])


def test_a_size_that_only_a_pax_header_can_express() -> None:
    data = pax(("size", str(9 << 30))) + header() + b"abc"
    first = next(items(READER, data))
    assert isinstance(first, Member)
    assert content(first) == b"abc"


DATA = b"x" * BLOCK + b"y" * 4
MAP = ((1000, BLOCK), (3000, 4))
HOLES = bytes(1000) + DATA[:BLOCK] + bytes(1488) + DATA[BLOCK:]


def sparse(version: str, *more: tuple[str, str]) -> bytes:
    """Write a sparse file, with more records in its pax header."""
    numbers = [str(number) for piece in MAP for number in piece]
    size = [("GNU.sparse.size", str(len(HOLES))), ("GNU.sparse.numblocks", "2")]
    name = ("GNU.sparse.name", "e")
    if version == "old":
        fields = b"".join(b"%011o\0" % number for piece in MAP for number in piece)
        at = {386: fields, 483: b"%011o\0" % len(HOLES)}
        return header(size=len(DATA), kind=b"S", magic=b"ustar  \0", at=at) + padded(DATA)
    if version == "0.0":
        keys = ("GNU.sparse.offset", "GNU.sparse.numbytes")
        pairs = [(keys[at % 2], number) for at, number in enumerate(numbers)]
        return pax(*size, *pairs, *more) + entry(DATA)
    if version == "0.1":
        return pax(*size, name, ("GNU.sparse.map", ",".join(numbers)), *more) + entry(DATA)
    said = (("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), name)
    table = padded("\n".join(["2", *numbers, ""]).encode())
    return pax(*said, ("GNU.sparse.realsize", str(len(HOLES))), *more) + entry(table + DATA)


@pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
def test_a_sparse_file_is_shown_packed_and_expanded(version: str) -> None:
    members, problems = found(sparse(version) + END)
    assert not problems
    assert members["e/"] == HOLES
    assert members["e"].endswith(DATA)


# Outside of the profile.


def edited(edit: Edit) -> bytes:
    block = bytearray(header(size=3))
    edit(block)
    return bytes(block) + padded(b"abc")


def lie(version: str, old: bytes, new: bytes) -> bytes:
    data = sparse(version)
    assert data.count(old) == 1
    return data.replace(old, new)


ODD = {
    "a directory with 1,024 bytes of content at byte 0": header("d/", 1024, b"5"),
    "a symbolic link with 1,024 bytes of content at byte 0": header(size=1024, kind=b"2"),
    "a hard link with 1,024 bytes of content at byte 0": header(size=1024, kind=b"1"),
    "a device with 1,024 bytes of content at byte 0": header(size=1024, kind=b"3"),
    "a fifo with 1,024 bytes of content at byte 0": header(size=1024, kind=b"6"),
    "a directory with 3 bytes of content at byte 0": header("name/", 3) + padded(b"abc"),
    "an entry of the unusual type 'X' at byte 0": entry(b"11 size=3\n", kind=b"X"),
    "an entry of the unusual type 'D' at byte 0": entry(b"x", kind=b"D"),
    "an entry of the unusual type 'x' at byte 0": header(kind=b"x", magic=bytes(8)),
    "a header with an unusual magic at byte 0": header(magic=b"ustar\0 \0"),
    "a header with a wrong sum at byte 0": edited(lambda block: block.__setitem__(0, 7)),
    "a header with an unusual number: 0000000000z\\x00 at byte 0": header(at={124: b"0000000000z"}),
    "a header with an unusual number: -00000000001 at byte 0": header(at={124: b"-00000000001"}),
    "an entry of 3 bytes, or 9 by its pax header at byte 1024": pax(("size", "9")) + entry(b"abc"),
    "an entry of 0 bytes, or 9 by its pax header at byte 1024": pax(("size", "9"))
    + header()
    + padded(b"123456789"),
    "an entry of 0 bytes, or 9,663,676,416 by its pax header at byte 1024": pax(
        ("size", str(9 << 30))
    )
    + header()
    + entry(b"in it"),
    "a size for all entries at byte 0": pax(("size", "3"), kind=b"g") + entry(b"abc"),
    "a pax header that repeats itself at byte 1024": pax(("size", "3"), ("size", "3"))
    + entry(b"abc"),
    "a malformed pax header at byte 0": entry(b"no record", kind=b"x"),
    "a header of type 'x' out of order at byte 1024": pax(("a", "b")) * 2 + entry(b"abc"),
    "a header of type 'x' with 2,000,000 bytes at byte 0": header(size=2_000_000, kind=b"x"),
    "a header within a header of type 'L' at byte 0": entry(entry(b"in it"), kind=b"L"),
    "a header within a header of type 'g' at byte 0": entry(entry(b"in it"), kind=b"g"),
    "a long name with a zero at byte 0": entry(b"a\0b", kind=b"L"),
    "it is cut short at byte 1024": pax(("a", "b")),
    "a header of type 'g' that is cut short at byte 0": pax(("a", "b"), kind=b"g")[:-1],
    "the entry at byte 0 is cut short": header(size=9) + b"abc",
    "the entry at byte 512 is cut short": header("d/", kind=b"5") + entry(b"abc")[:-1],
    "data behind the end at byte 2048": entry(b"abc") + END + entry(b"more"),
    "a sparse file of an unusual kind at byte 1024": pax(("SCHILY.realsize", "9")) + entry(b"abc"),
    "a sparse file whose map is out of order at byte 1024": lie(
        "0.1", b"1000,512,3000,4", b"4000,512,3000,4"
    ),
    "a sparse file whose map does not fit its data at byte 1024": lie(
        "0.1", b"1000,512,3000,4", b"1000,512,3000,3"
    ),
    "a sparse file with an unusual map at byte 1024": lie("0.1", b"numblocks=2", b"numblocks=3"),
    "a pax header with an unusual number at byte 1024": lie("0.1", b"3000,4", b"3000,x"),
    "a header with data behind its fields at byte 0": header(at={510: b"x"}),
}


@pytest.mark.parametrize("problem", ODD)
def test_what_readers_disagree_about_is_a_problem(problem: str) -> None:
    assert READER.recognise(ODD[problem])
    assert problem in found(ODD[problem])[1]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pax(("SUN.holesdata", " 0 3")) + entry(b"abc"), id="the holes of Solaris"),
        pytest.param(pax(("GNU.sparse.map", "0,3")) + entry(b"abc"), id="a lone map"),
        pytest.param(pax(("GNU.sparse.minor", "0")) + entry(b"abc"), id="a lone version"),
        pytest.param(sparse("0.0", ("GNU.sparse.size", "9999")), id="two sizes"),
        pytest.param(sparse("0.1", ("GNU.sparse.realsize", "9999")), id="a size of another kind"),
        pytest.param(sparse("0.1", ("GNU.sparse.major", "1")), id="two versions"),
        pytest.param(sparse("1.0", ("GNU.sparse.map", "0,3")), id="two maps"),
        pytest.param(lie("1.0", b"major=1", b"major=2"), id="an unknown version"),
        pytest.param(pax(("GNU.sparse.size", "9")) + sparse("old"), id="two kinds"),
    ],
)
def test_a_sparse_file_that_only_some_readers_recognise(data: bytes) -> None:
    assert "a sparse file of an unusual kind at byte 1024" in found(data)[1]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            header(magic=b"ustar  \0", at={386: b"0" * 96, 483: b"00000000011"}), id="a map"
        ),
        pytest.param(header(at={508: b"tar\0"}), id="the magic of star"),
        pytest.param(header(kind=b"\0", magic=bytes(8), at={345: b"x"}), id="a prefix"),
    ],
)
def test_data_behind_the_fields_that_a_header_of_its_kind_has(data: bytes) -> None:
    assert found(data)[1] == ["a header with data behind its fields at byte 0"]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(b"%06o\0 ", id="usual"),
        pytest.param(b"%7o\0", id="blanks"),
        pytest.param(b"%06o\0x", id="junk behind a zero"),
        pytest.param(b"%06o\0007", id="a digit behind a zero"),
        pytest.param(b"+%06o\0", id="a sign, as tar-rs and tarfile read it"),
        pytest.param(b"0o%o\0", id="a prefix, as tarfile reads it"),
        pytest.param(b"\t%06o\0", id="a tabulator"),
        pytest.param(b"\0%06o\0", id="a zero in front"),
    ],
)
def test_a_checksum_that_some_reader_accepts_makes_a_header(form: bytes) -> None:
    block = bytearray(header(size=3))
    block[148:156] = (form % int(block[148:154], 8)).ljust(8, b"\0")
    assert READER.recognise(bytes(block))
    block[257:265] = bytes(8)
    block[148:156] = (form % (sum(block) - sum(block[148:156]) + 256)).ljust(8, b"\0")
    assert READER.recognise(bytes(block))
    assert list(find_headers(io.BytesIO(bytes(BLOCK) + block))) == [BLOCK]


def test_checksums_of_signed_bytes_and_in_base_256() -> None:
    block = bytearray(header(magic=bytes(8), at={0: b"\xff" * 9}))
    total = int(block[148:154], 8)
    for field in (b"%06o\0 " % (total - 9 * 256), b"\x80" + total.to_bytes(7, "big")):
        block[148:156] = field
        assert list(find_headers(io.BytesIO(block))) == [0]


@pytest.mark.parametrize("seed", [12981, 21810, 25932])
def test_random_data_with_a_digit_that_is_the_sum_of_their_signed_bytes_are_no_tar(
    seed: int,
) -> None:
    assert not READER.recognise(random.Random(seed).randbytes(BLOCK))


def hidden_from_tarfile() -> bytes:
    """Write a tar from which the launcher unpacks `e`, and tarfile a file of junk.

    A directory has 1,024 bytes of content: the header of a file that reaches over all that follows,
    and a block of junk.
    """
    real = entry(b"the real one")
    junk = b"junk".ljust(BLOCK, b"\xff")
    decoy = header("decoy", BLOCK + len(real)) + junk
    return header("d/", len(decoy), b"5") + decoy + real + END


def test_both_readings_of_a_directory_with_content_are_found() -> None:
    members, problems = found(hidden_from_tarfile())
    assert problems == ["a directory with 1,024 bytes of content at byte 0"]
    assert b"the real one" in members.values()
    assert any(each.startswith(b"junk") for each in members.values())


def test_tarfile_does_not_see_what_is_hidden_from_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(hidden_from_tarfile())) as archive:
        assert archive.getnames() == ["d", "decoy"]


@pytest.mark.parametrize(
    "data",
    [
        pax(("size", "9")) + header() + padded(b"the thing"),
        pax(("size", "2")) + entry(b"the thing"),
        b"junk".ljust(BLOCK, b"\xff") + entry(b"the thing"),
        header("d/", 1536, b"5") + entry(b"the thing") + bytes(BLOCK),
        entry(entry(b"the thing"), kind=b"L") + entry(b"x"),
        entry(b"x") + bytes(BLOCK) + entry(b"the thing"),
        entry(b"x") + END + b"no whole block" + entry(b"the thing"),
    ],
)
def test_each_reading_is_found(data: bytes) -> None:
    members, _ = found(entry(b"first") + data + END)
    assert any(b"the thing" in each for each in members.values())


@given(st.data())
def test_damage_raises_nothing_unexpected(data: st.DataObject) -> None:
    whole = bytearray(tar([("a", b"a" * 600), ("b" * 200, b"b")]) + sparse("1.0") + sparse("old"))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    found(bytes(whole))
