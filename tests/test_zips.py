"""Zips: the profile, what clamscan scans by itself, and the problems of zips outside of the profile."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examine import items, read
from support.quine import quine
from support.samples import encrypted_beside, pack, zip_of_unknown_length

from avscan.archives import zip_records
from avscan.archives.reader import DamagedError, Member, Problem
from avscan.archives.zips import READER

PLAIN = pack([("x", b"x" * 99), ("y", b"y")])
STORED = pack([("x", b"the first"), ("y", b"the other")], zipfile.ZIP_STORED)
WHOLE = {"x": b"x" * 99, "y": b"y"}
CENTRAL, END = b"PK\1\2", b"PK\5\6"


class Pipe(io.BytesIO):
    """A file without `seek`, so that descriptors are written."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def piped(content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        archive.writestr("x", content)
    return pipe.getvalue()


def commented(comment: bytes) -> bytes:
    out = io.BytesIO(PLAIN)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = comment
    return out.getvalue()


def zip64(data: bytes, *, claimed: int = 0) -> bytes:
    """Put the two records of zip64 in front of the end record."""
    at = len(data) - 22
    _, _, _, number, _, size, offset, _ = struct.unpack("<4s4H2IH", data[at:])
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, number, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, claimed or at, 1)
    return data[:at] + record + locator + data[at:]


def scanned(data: bytes) -> bool:
    """Return whether clamscan scans all members by itself."""
    members = [item for item in items(READER, data) if isinstance(item, Member)]
    return bool(members) and all(each.already_scanned for each in members)


# The profile.


@pytest.mark.parametrize("data", [PLAIN, pack([("x", b"x" * 99), ("y", b"y")], 0)])
def test_clamscan_scans_the_members_of_a_plain_zip(data: bytes) -> None:
    assert read(READER, data) == (WHOLE, [])
    assert scanned(data)


def test_magics_that_only_busybox_skips() -> None:
    odd = PLAIN.replace(b"PK\3\4", b"PK\7\x08").replace(b"PK\1\2", b"PK\5\5")
    assert READER.recognise(odd)
    assert read(READER, odd)[1]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_clamscan_does_not_scan_members_of_other_methods(method: int) -> None:
    data = pack([("x", b"x" * 99), ("y", b"y")], method)
    assert read(READER, data) == (WHOLE, [])
    assert not scanned(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_descriptors(method: int) -> None:
    assert read(READER, piped(b"content", method)) == ({"x": b"content"}, [])
    assert scanned(piped(b"content", method))


@pytest.mark.parametrize(
    "data",
    [
        commented(b"a comment"),
        PLAIN + bytes(99),
        zip64(PLAIN),
        zip_of_unknown_length(b"x", b"x" * 99),
    ],
)
def test_zips_in_the_profile_that_clamscan_does_not_scan(data: bytes) -> None:
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    members, problems = read(READER, data)
    assert members["x"] == b"x" * 99
    assert not problems
    assert not scanned(data)


@pytest.mark.parametrize("shift", [0, 70])
def test_a_prefix_is_a_member(shift: int) -> None:
    data = bytearray(b"MZ" + b"p" * 68 + PLAIN)
    if shift:  # offsets that count from the file's beginning, as `zip -A` has it
        for at, field in ((data.rindex(END), 16), (data.index(CENTRAL), 42)):
            (value,) = struct.unpack_from("<I", data, at + field)
            struct.pack_into("<I", data, at + field, value + shift)
        second = data.rindex(CENTRAL) + 42
        (value,) = struct.unpack_from("<I", data, second)
        struct.pack_into("<I", data, second, value + shift)
    members, problems = read(READER, bytes(data))
    assert members == WHOLE | {"(in front)": b"MZ" + b"p" * 68}
    assert not problems


def test_an_empty_zip() -> None:
    assert read(READER, pack([])) == ({}, [])


def test_a_zip_that_contains_itself_is_in_the_profile() -> None:
    data = quine()
    assert list(read(READER, data)[0].values()) == [data]


def test_encrypted_members_are_closed() -> None:
    members, problems = read(READER, encrypted_beside(b"x"))
    assert members == {"secret.bin": "encrypted", "game.exe": b"x"}
    assert not problems


@pytest.mark.parametrize(
    ("method", "name", "seen"),
    [(9, "deflate64", True), (6, "imploded", False), (98, "zip method 98", False)],
)
def test_methods_that_are_not_opened_are_named(method: int, name: str, *, seen: bool) -> None:
    data = bytearray(pack([("a", b"a" * 99)]))
    data[8] = data[data.index(CENTRAL) + 10] = method
    assert list(read(READER, bytes(data))[0].values()) == [name]
    assert scanned(bytes(data)) == seen


# Outside of the profile.


def changed(data: bytes, magic: bytes, field: int, value: bytes) -> bytes:
    """Overwrite a field of the last header with a magic."""
    at = data.rindex(magic) + field
    return data[:at] + value + data[at + len(value) :]


def two_directories() -> bytes:
    """Write an end record whose offset refers to another directory than the one in front of it."""
    other = pack([("z", b"the hidden")], zipfile.ZIP_STORED)
    return other + STORED[: STORED.rindex(END)] + changed(STORED, END, 16, other[-6:-2])[-22:]


def in_front() -> bytes:
    """Put the directory in front of the entries."""
    central, end = STORED.index(CENTRAL), STORED.rindex(END)
    directory = STORED[central:end]
    return directory + STORED[:central] + changed(STORED, END, 16, bytes(4))[-22:]


def unlisted() -> bytes:
    """Hide an entry between the last one and the directory."""
    central = STORED.index(CENTRAL)
    hidden = pack([("z", b"the hidden")])
    hidden = hidden[: hidden.index(CENTRAL)]
    data = STORED[:central] + hidden + STORED[central:]
    return changed(data, END, 16, struct.pack("<I", central + len(hidden)))


def false_descriptor() -> bytes:
    front = b"the shown"
    fake = struct.pack("<4s3I", b"PK\7\x08", zlib.crc32(front), len(front), len(front))
    return piped(front + fake + STORED[: STORED.index(CENTRAL)])


def unsigned_descriptor() -> bytes:
    """Omit the magic of a descriptor, which readers that start from the front search for."""
    data = piped(b"content")
    at = data.index(b"PK\7\x08")
    data = data[:at] + data[at + 4 :]
    return changed(data, END, 16, struct.pack("<I", data.index(CENTRAL)))


ODD = {
    "the two headers of y disagree": changed(PLAIN, b"PK\3\4", 8, b"\0"),
    "another size or checksum than the header says": changed(
        changed(STORED, CENTRAL, 16, b"abcd"), b"PK\3\4", 14, b"abcd"
    ),
    "y is not where the directory says": changed(PLAIN, CENTRAL, 42, b"\5"),
    "data behind the end record": PLAIN + b"more",
    "a second end record": commented(PLAIN[-22:-2] + b"\0\0"),
    "a second directory": two_directories(),
    "a volume": changed(PLAIN, END, 4, b"\1"),
    "an end record that describes another directory": changed(zip64(PLAIN), END, 12, b"\1"),
    "a directory of another length": changed(PLAIN, END, 8, b"\1\0\1\0"),
    "x is on another volume": changed(pack([("x", b"x")]), CENTRAL, 34, b"\1"),
    "an unusual zip64 record": zip64(PLAIN).replace(b"PK\6\6\x2c", b"PK\6\6\x2d"),
    "a second zip64 record": zip64(b"PK\6\6" + PLAIN, claimed=1),
    "y has unusual flags": changed(changed(PLAIN, CENTRAL, 9, b"\x90"), b"PK\3\4", 7, b"\x90"),
    "a directory with content": pack([("x/", b"x")]),
    "bytes between y and what follows it": unlisted(),
    "x has a false descriptor": false_descriptor(),
    "12 bytes between x and what follows it": unsigned_descriptor(),
    "it has no directory": PLAIN[:-30],
}


@pytest.mark.parametrize("problem", ODD)
def test_what_readers_disagree_about_is_a_problem(problem: str) -> None:
    try:
        _, problems = read(READER, ODD[problem])
    except DamagedError as error:
        problems = [str(error)]
    assert any(problem in each for each in problems)
    assert not scanned(ODD[problem]) or "checksum" in problem


def test_the_search_for_a_descriptor_ends_with_the_file() -> None:
    data = changed(unsigned_descriptor(), CENTRAL, 20, b"\xff\xff")  # a size beyond the end
    problems = [item.text for item in items(READER, data) if isinstance(item, Problem)]
    assert problems == ["-65,516 bytes between x and what follows it"]


@pytest.mark.parametrize("data", [two_directories(), in_front(), unlisted()])
def test_entries_that_are_not_listed_are_found(data: bytes) -> None:
    members, problems = read(READER, data)
    assert problems
    assert {*members.values()} & {b"the hidden", b"the first"}


def test_a_directory_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_records, "DIRECTORY", 70_000)
    data = pack((str(number), b"") for number in range(2000))
    assert "its directory has more than 70,000 bytes" in read(READER, data)[1]


@given(st.sampled_from([PLAIN, STORED, zip64(PLAIN), piped(b"x" * 99)]), st.data())
def test_damage_raises_nothing_unexpected(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    assert READER.recognise_end is not None
    READER.recognise_end(io.BytesIO(damaged))
    READER.extent(io.BytesIO(damaged), 0, len(damaged))
    assert [*items(READER, bytes(damaged))]
