"""The archives of Electron, Godot and Ren'Py: their members, and what is refused."""

from __future__ import annotations

import json
import pickle
import resource
import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examine import examined, read
from support.samples import EICAR, HASHED, ar, signatures, tar
from support.walk import ROOMY, FakeEngine, look

from avscan.archives import asar, pck, plain_pickle, registry, rpa
from avscan.archives.bounds import Bounds
from avscan.archives.reader import HEAD, UNREADABLE, DamagedError, Reader
from avscan.clamav.clamscan import Clamscan

Files = Iterable[tuple[str, bytes]]

PROGRAM = b"MZ" + bytes(94)


def framed(header: object) -> bytes:
    """Frame a header as Chromium's pickles do."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    string = struct.pack("<I", len(text)) + text + bytes(-len(text) % 4)
    content = struct.pack("<I", len(string)) + string
    return struct.pack("<2I", 4, len(content)) + content


def make_asar(files: Files, beside: dict[str, object] | None = None) -> bytes:
    """Pack an asar; `beside` are entries of its header without content."""
    root: dict[str, object] = dict(beside or {})
    body = b""
    for path, content in files:
        *folders, name = path.split("/")
        here = root
        for folder in folders:
            node = here.setdefault(folder, {"files": {}})
            assert isinstance(node, dict)
            here = node["files"]
        here[name] = {"size": len(content), "offset": str(len(body))}
        body += content
    return framed({"files": root}) + body


def make_pck(
    files: Files, version: int = 2, flags: int = 2, start: int = 0, encrypted: str = ""
) -> bytes:
    """Pack a pck that Godot opens `start` bytes behind a file's beginning."""
    godot = {0: (2, 1, 6), 1: (3, 5, 3), 2: (4, 2, 1)}.get(version, (4, 5, 0))
    head = struct.pack("<4s4I", b"GDPC", version, *godot)
    entries, body = b"", b""
    names = [(f"res://{name}".encode(), name, content) for name, content in files]
    padded = [name + bytes(-len(name) % 4) for name, _, _ in names]
    length = 4 + sum(4 + len(name) + 32 + 4 * (version >= 2) for name in padded)
    fixed = len(head) + 64 + (12 if version >= 2 else 0) + (8 if version >= 3 else 0)
    begin = fixed + (length if version < 3 else 0)
    absolute = start if version < 3 and not flags & 2 else 0
    base = 0 if version < 2 else begin + absolute
    for name, (_, plain, content) in zip(padded, names, strict=True):
        offset = len(body) + (begin + start if version < 2 else 0)
        entries += struct.pack("<I", len(name)) + name
        entries += struct.pack("<2Q16s", offset, len(content), bytes(16))
        entries += struct.pack("<I", plain == encrypted) if version >= 2 else b""
        body += content + bytes(-len(content) % 16)
    directory = struct.pack("<I", len(names)) + entries
    if version >= 2:
        head += struct.pack("<IQ", flags, base)
    if version >= 3:
        return head + struct.pack("<Q", fixed + len(body)) + bytes(64) + body + directory
    return head + bytes(64) + directory + body


def behind_program(version: int, flags: int, files: Files) -> bytes:
    """Put a pck behind a program, as Godot's export does."""
    packed = make_pck(files, version, flags, start=len(PROGRAM))
    return PROGRAM + packed + struct.pack("<Q", len(packed)) + b"GDPC"


def make_rpa(
    files: Files, version: str = "3.0", protocol: int = 2, prefix: int | None = 0
) -> bytes:
    """Pack an rpa, `prefix` bytes of each file in the index; None is the short form without."""
    key = 0 if version == "2.0" else 0xDEADBEEF
    index, body = {}, b""
    begin = {"2.0": 25, "3.0": 34, "3.2": 43}[version]
    for name, content in files:
        place = ((begin + len(body)) ^ key, len(content) ^ key)
        index[name] = [place if prefix is None else (*place, content[:prefix])]
        body += content[prefix or 0 :]
    head = f"RPA-{version} {begin + len(body):016x}"
    head += {"2.0": "", "3.0": f" {key:08x}", "3.2": f" 00000000 {key:08x}"}[version]
    return head.encode() + b"\n" + body + zlib.compress(pickle.dumps(index, protocol))


FILES = [("a", b"first"), ("d/b.txt", b"second"), ("d/e", EICAR)]
LAST = "d/e"

SAMPLES: list[tuple[str, Reader, bytes]] = [
    ("asar", asar.READER, make_asar(FILES)),
    *((f"pck {n}", pck.READER, make_pck(FILES, n)) for n in range(5)),
    ("pck 2 absolute", pck.READER, make_pck(FILES, 2, 0)),
    *((f"rpa {n}", rpa.READER, make_rpa(FILES, n)) for n in ("2.0", "3.0", "3.2")),
    *((f"rpa pickled {n}", rpa.READER, make_rpa(FILES, protocol=n)) for n in range(6)),
    ("rpa with prefixes", rpa.READER, make_rpa(FILES, prefix=3)),
    ("rpa without prefixes", rpa.READER, make_rpa(FILES, prefix=None)),
]
every_sample = pytest.mark.parametrize(
    ("reader", "data"), [each[1:] for each in SAMPLES], ids=[each[0] for each in SAMPLES]
)
each_format = pytest.mark.parametrize(
    ("reader", "data"),
    [(asar.READER, SAMPLES[0][2]), (pck.READER, make_pck(FILES)), (rpa.READER, make_rpa(FILES))],
    ids=["asar", "pck", "rpa"],
)


def plain(name: str) -> str:
    return name.removeprefix("res://")


# Members.


@every_sample
def test_all_members_are_listed(reader: Reader, data: bytes) -> None:
    members, problems = read(reader, data)
    assert {plain(name): content for name, content in members.items()} == dict(FILES)
    assert not problems


@every_sample
def test_the_format_is_recognised(reader: Reader, data: bytes) -> None:
    assert registry.recognise(data[:HEAD]) == [reader]


@every_sample
def test_each_member_is_shown_and_the_last_is_found(
    tmp_path: Path, reader: Reader, data: bytes
) -> None:
    scanned = look(tmp_path, data, ROOMY, FakeEngine())
    assert [plain(member) for member in scanned.members if member] == [LAST]
    assert {*scanned.engine.shown} == {data, *(content for _, content in FILES)}
    assert not scanned.examination.errors
    assert not scanned.examination.opaque


@pytest.mark.parametrize("make", [make_asar, make_pck, make_rpa])
def test_archives_in_them_are_opened(tmp_path: Path, make: Callable[[Files], bytes]) -> None:
    inner = [("a", b"x"), ("in.tar.gz", tar([("x", b"x"), ("e", EICAR)], "gz"))]
    scanned = look(tmp_path, make(inner), ROOMY, FakeEngine())
    assert [plain(member) for member in scanned.members] == ["in.tar.gz/e"]


def test_the_real_clamscan_finds_what_only_a_whole_member_shows(tmp_path: Path) -> None:
    (workspace := tmp_path / "work").mkdir()
    files = [("a", b"x"), ("e", HASHED)]
    with Clamscan(
        program="clamscan", workspace=workspace, database=signatures(tmp_path / "signatures")
    ) as engine:
        for data in (make_asar(files), make_pck(files), make_rpa(files, prefix=4)):
            (path := tmp_path / "artifact").write_bytes(data)
            found = examined(path, engine=engine, workspace=workspace, bounds=Bounds()).sightings
            assert [plain(each.member) for each in found] == ["e"]


# Damage.

DAMAGED = [
    make_asar(FILES).replace(b'"size"', b'"SIZE"'),
    make_asar(FILES).replace(b'"0"', b'"x"'),
    make_asar(FILES)[:-1],
    make_asar(FILES) + b"x",
    make_asar(FILES, {"again": {"size": 3, "offset": "1"}}),
    make_asar([], {"link": {"size": 3, "offset": -1}}),
    make_asar([], {"deep": {"files": []}}),
    framed(b'{"files": {"a": {}, "a": {}}}'),
    framed(b'{"files": {'),
    framed(b'{"files": {}, "more": ' + b"[" * 1500),
    framed(b"{}"),
    framed({"files": {}})[:20],
    struct.pack("<4I", 4, (1 << 30) + 8, (1 << 30) + 4, 1 << 30) + b"{",
    struct.pack("<3I", 4, 2016, 12) + bytes(2000) + struct.pack("<I", 2) + b"{}" + bytes(6),
    make_pck(FILES)[:40],
    make_pck(FILES)[:100],
    make_pck(FILES, 3)[:-9],
    make_pck(FILES)[:-90],
    make_pck(FILES).replace(b"GDPC\2", b"GDPC\5"),
    make_pck(FILES, 1).replace(b"\x08\0\0\0res:", b"\x08\0\0\x7fres:"),
    make_rpa(FILES)[:-9],
    make_rpa(FILES).replace(b"RPA-3.0 00", b"RPA-3.0 0x"),
    make_rpa(FILES).replace(b"\n", b" more\n", 1),
    make_rpa(FILES)[:30] + b"x" + make_rpa(FILES)[31:],
    make_rpa(FILES).replace(b"RPA-3.0 0", b"RPA-3.0 f"),
    make_rpa([("a", b"x")]).replace(b"deadbeef", b"00000000"),
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_archive_is_an_error_or_unsupported_content_inside_of_another(
    tmp_path: Path, data: bytes
) -> None:
    alone = look(tmp_path, data, ROOMY, FakeEngine())
    assert alone.examination.errors
    assert not alone.examination.opaque
    assert data in alone.engine.shown
    inside = look(tmp_path, ar([("game", data)]), ROOMY, FakeEngine())
    assert not inside.examination.errors
    assert any(line.endswith(": game") or ": game/" in line for line in inside.examination.opaque)


@each_format
@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 400), wrong=st.binary(max_size=9), cut=st.integers(0, 40))
def test_no_damage_raises_anything_unexpected(
    reader: Reader, data: bytes, place: int, wrong: bytes, cut: int
) -> None:
    damaged = data[:place] + wrong + data[place + len(wrong) :]
    with suppress(*UNREADABLE):
        read(reader, damaged[: len(damaged) - cut])


# Asar.


def test_what_lies_beside_an_asar_and_links_are_no_members() -> None:
    others: dict[str, object] = {
        "native.node": {"size": 9, "unpacked": True},
        "link": {"link": "a"},
        "empty": {"files": {}},
    }
    assert read(asar.READER, make_asar(FILES, others)) == (dict(FILES), [])


def test_an_entry_that_is_a_link_with_content_is_a_member() -> None:
    data = make_asar([("e", EICAR)], {"l": {"link": "x", "size": len(EICAR), "offset": "0"}})
    assert read(asar.READER, data) == ({"l": EICAR, "e": EICAR}, [])


@pytest.mark.parametrize(
    ("offset", "problem"), [("0", "its files overlap"), ("9", "2 bytes behind its last file")]
)
def test_bytes_that_belong_to_two_files_or_to_none(offset: str, problem: str) -> None:
    nodes = {"a": {"size": 9, "offset": "0"}, "b": {"size": 2, "offset": offset}}
    members, problems = read(asar.READER, framed({"files": nodes}) + bytes(9 + 2 * 2))
    assert members.keys() == {"a", "b"}
    assert problem in problems


@pytest.mark.parametrize("name", ["n" * 5000, "n" * 2500 + "/" + "n" * 2500])
def test_a_path_longer_than_any_system_allows_is_refused(name: str) -> None:
    with pytest.raises(DamagedError, match="unusual entry"):
        read(asar.READER, make_asar([(name, b"x")]))


# Pck.


@pytest.mark.parametrize(("version", "flags"), [(1, 0), (2, 0), (2, 2), (3, 2), (4, 2)])
def test_a_pck_at_the_end_of_a_program(tmp_path: Path, version: int, flags: int) -> None:
    data = behind_program(version, flags, FILES)
    members, problems = read(pck.READER, data)
    assert members.pop("(in front)") == PROGRAM
    assert {plain(name): content for name, content in members.items()} == dict(FILES)
    assert not problems
    assert [plain(each) for each in look(tmp_path, data, ROOMY, FakeEngine()).members if each] == [
        LAST
    ]


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_pck_in_a_program_with_a_certificate_behind(tmp_path: Path, version: int) -> None:
    scanned = look(
        tmp_path, behind_program(version, 2, FILES) + b"certificate", ROOMY, FakeEngine()
    )
    assert f"(at byte 96)/res://{LAST}" in scanned.members
    assert not scanned.examination.opaque


@pytest.mark.parametrize("begin", [b"GDPC", b"GDPC" + bytes(96), b"GDPC\x48\x8b\x05" + bytes(20)])
def test_the_magic_in_the_code_of_a_program_is_no_pck(tmp_path: Path, begin: bytes) -> None:
    data = PROGRAM + begin + tar([("e", EICAR)], "gz")
    scanned = look(tmp_path, data, ROOMY, FakeEngine())
    assert f"(at byte {96 + len(begin)})/e" in scanned.members
    assert not scanned.examination.opaque


def test_a_pck_of_an_unusual_version_of_godot_is_opened(tmp_path: Path) -> None:
    data = bytearray(behind_program(2, 2, FILES) + b"certificate")
    data[len(PROGRAM) + 8 : len(PROGRAM) + 20] = b"\xff" * 12
    for part in (data, data[len(PROGRAM) :]):
        scanned = look(tmp_path, bytes(part), ROOMY, FakeEngine())
        assert scanned.members[-1].endswith(LAST)


def test_a_damaged_pck_in_a_program_is_noted(tmp_path: Path) -> None:
    scanned = look(tmp_path, PROGRAM + make_pck(FILES)[:150], ROOMY, FakeEngine())
    assert "pck: it is cut short: (at byte 96)" in scanned.examination.opaque


def test_an_encrypted_pck_in_a_program_is_noted(tmp_path: Path) -> None:
    data = behind_program(3, 3, FILES) + b"certificate"
    scanned = look(tmp_path, data, ROOMY, FakeEngine())
    assert scanned.examination.opaque == ("encrypted: (at byte 96)",)


def test_what_is_encrypted_in_a_pck_is_noted(tmp_path: Path) -> None:
    one = look(tmp_path, make_pck(FILES, encrypted="a"), ROOMY, FakeEngine())
    assert one.examination.opaque == ("encrypted: res://a",)
    assert one.members == [f"res://{LAST}"]
    whole = look(tmp_path, make_pck(FILES, flags=3), ROOMY, FakeEngine())
    assert whole.examination.opaque == ("encrypted",)


def test_the_files_of_a_sparse_pck_lie_beside_it() -> None:
    assert read(pck.READER, make_pck(FILES, 3, 6)) == ({}, [])
    assert read(pck.READER, make_pck(FILES, 2, 6))[0]


# Rpa.


def test_a_file_of_several_parts() -> None:
    index = zlib.compress(pickle.dumps({"e": [(25, 3, "M"), (27, 2), (27, 1, "Z")]}, 2))
    data = b"RPA-2.0 %016x\nabcd" % 29 + index
    assert read(rpa.READER, data) == ({"e": b"Mab" + b"cd" + b"Z"}, [])


@pytest.mark.parametrize(
    "entry", [7, [7], [(1,)], [(1, "x")], [(1, 1, 1)], [(1, 0, b"longer")], [(-1, 1)]]
)
def test_an_unusual_entry_does_not_hide_the_others(entry: object) -> None:
    index = zlib.compress(pickle.dumps({"a": entry, "e": [(25, 4)]}, 2))
    members, problems = read(rpa.READER, b"RPA-2.0 %016x\nabcd" % 29 + index)
    assert members == {"e": b"abcd"}
    assert problems == ["a has an unusual entry in the index"]


def test_an_index_that_is_not_a_dict_or_is_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = b"RPA-2.0 %016x\n" % 25 + zlib.compress(pickle.dumps([1]))
    with pytest.raises(DamagedError, match="no dict"):
        read(rpa.READER, data)
    monkeypatch.setattr(rpa, "INDEX", 50)
    with pytest.raises(DamagedError, match="more than 50 bytes"):
        read(rpa.READER, make_rpa(FILES))


# Pickles.

KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
VALUES = st.recursive(
    KEYS | st.just(1 << 4000) | st.binary(min_size=256, max_size=300),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | inner.map(lambda shared: [shared, shared])
    ),
)


@given(value=VALUES, protocol=st.integers(0, 5))
def test_pickles_of_plain_values_are_loaded_as_python_does(value: object, protocol: int) -> None:
    assert plain_pickle.loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb"S'it\'s \x00\n\\'" + b"\n.", b"it's \0\n\\"),
        (b'S"it\'s"\n.', b"it's"),
        (b"U\3abc.", b"abc"),
        (b"T\3\0\0\0abc.", b"abc"),
        (b"(S'a'\np0\nI1\nd.", {b"a": 1}),
        (b"(dS'a'\n(lp1\nL12L\nasg1\n0.", {b"a": [12]}),
        (b"K\1(K\2K\0031.", 1),
        (b"K\1(0.", 1),
        (b"K\0012\x86.", (1, 1)),
    ],
)
def test_pickles_of_other_writers(data: bytes, value: object) -> None:
    assert plain_pickle.loads(data) == value


HOSTILE = [
    pickle.dumps(print),
    pickle.dumps(Path()),
    pickle.dumps(print, 0),
    b"cos\nsystem\n(S'id'\ntR.",
    b"(S'id'\nios\nsystem\n.",
    b"(cos\nsystem\nS'id'\no.",
    b"c_codecs\nencode\nN}S'x'\nK\1s\x86b.",  # sets an attribute
    b"c_codecs\nencode\n}S'x'\nK\1sb.",
    b"c_codecs\nencode\n)\x81.",
    b"c_codecs\nencode.__class__\n.",
    b"c_codecs\nencode\n(V\\u20ac\nVlatin1\ntR.",
    b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
    b"c__builtin__\nbytes\n(K\x09tR.",
    b"Pid\n.",
    b"\x82\1.",
    b"K\1K\1a.",
    b"K\1K\1K\1s.",
    b"}(K\1u.",
    b"}]K\1s.",
    b"g0\n.",
    b"S'a\n.",
    b"S'\\q'\n.",
    b"I1",
    b"t.",
    b".",
    b"",
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_a_pickle_of_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain_pickle.loads(data)


def test_a_pickle_may_be_deep() -> None:
    deep = plain_pickle.loads(b"K\1" + b"\x85" * 200_000 + b".")
    assert isinstance(deep, tuple)


def test_a_name_that_is_not_text_does_not_hide_the_others() -> None:
    deep = b"K\1" + b"\x85" * 5000  # `repr` and `str` of it would recurse too deeply
    index = b"}" + deep + b"](K\x19K\4tasX\1\0\0\0e](K\x19K\4tas."
    data = b"RPA-2.0 %016x\nabcd" % 29 + zlib.compress(index)
    assert read(rpa.READER, data) == ({"(no text)": b"abcd", "e": b"abcd"}, [])


OPERATIONS = st.lists(
    st.sampled_from([bytes([code]) for code in b"(.012aesultdcRpgqrhjNIJKLMSTUVX])}BC"])
    | st.sampled_from([b"\x80\2", b"\x85", b"\x86", b"\x87", b"\x94", b"\x8a\1\1", b"q\0", b"h\0"])
    | st.sampled_from([b"c_codecs\nencode\n", b"Vlatin1\n", b"Vx\n", b"I1\n", b"K\1", b"U\1x"])
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(data=st.binary() | OPERATIONS.map(lambda data: data + b"."))
def test_no_bytes_raise_anything_unexpected(data: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, hard))  # as in an inspector, which has more
    try:
        with suppress(ValueError, MemoryError):  # the walk ends where memory is short
            plain_pickle.loads(data)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
