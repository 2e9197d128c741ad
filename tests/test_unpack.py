"""The walk, with an engine that scans small files as clamscan does, within small bounds."""

from __future__ import annotations

import io
import random
import resource
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.samples import (
    EICAR,
    Compression,
    ar,
    compress,
    deb,
    encrypted_beside,
    nested,
    pack,
    swarm,
    tar,
)
from support.walk import CEILING, NOTHING, ROOMY, SMALL, FakeEngine, Scanned, look

from avscan.archives.bounds import LITTLE, Account, Bounds, ExceededError
from avscan.archives.pipeline import MOST_FILES
from avscan.archives.scratch import Scratch
from avscan.archives.streams import Stream
from avscan.errors import EngineError, WorkspaceError
from avscan.findings import LINES, Examination, Findings, Sighting

Scan = Callable[..., Scanned]


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    def scan(data: bytes, bounds: Bounds = SMALL, **options: object) -> Scanned:
        return look(tmp_path, data, bounds, FakeEngine(), **options)

    return scan


def long(content: bytes, size: int = 3 * CEILING) -> bytes:
    return random.Random(1).randbytes(size) + content


# Findings and their places.


def test_a_plain_file_is_shown_as_it_is(scan: Scan) -> None:
    scanned = scan(b"game")
    assert scanned.examination == NOTHING
    assert scanned.engine.shown == [b"game"]


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (EICAR, ""),
        (tar([("a", b"x"), ("b/c", EICAR)], "gz"), "b/c"),
        (tar([("a", b"x"), ("b/c", EICAR)], "bz2"), "b/c"),
        (tar([("a", b"x"), ("b/c", EICAR)], "xz"), "b/c"),
        (compress(EICAR, "gz"), ""),
        (deb(EICAR), "data.tar.xz/./usr/games/game"),
        (
            tar([("t.zip", pack([("in.tar.gz", tar([("e", EICAR)], "gz"))]))], "gz"),
            "t.zip/in.tar.gz/e",
        ),
        (pack([("x", EICAR)], zipfile.ZIP_LZMA), "x"),
        (pack([("x", EICAR)], zipfile.ZIP_BZIP2), "x"),
    ],
)
def test_the_member_is_named(scan: Scan, data: bytes, member: str) -> None:
    scanned = scan(data)
    assert member in scanned.members
    assert not scanned.examination.errors


def test_members_stay_on_the_disk_until_they_are_answered(scan: Scan) -> None:
    """No more than may be shown ahead: a game may have 100,000 files."""
    contents = [bytes([n]) * 2000 for n in range(1, 40)]
    scanned = scan(tar([(str(n), content) for n, content in enumerate(contents)], "xz"))
    assert scanned.engine.shown == contents
    assert 1 < max(scanned.engine.beside) <= MOST_FILES


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_shown_member_by_member(scan: Scan, compression: Compression) -> None:
    artifact = tar([("./", b""), *((f"./{n}", b"%d" % n) for n in range(9))], compression)
    assert scan(artifact, ROOMY).engine.shown == [b"%d" % n for n in range(9)]


def test_a_tar_gz_beyond_the_ceiling_is_shown_member_by_member(scan: Scan) -> None:
    artifact = tar([(str(n), b"%d" % n * 999) for n in range(9)], "gz")
    assert scan(artifact).engine.shown == [b"%d" % n * 999 for n in range(9)]


def test_a_tar_larger_than_the_ceiling_is_walked(scan: Scan) -> None:
    scanned = scan(tar([(str(n), long(b"", 2000)) for n in range(9)] + [("e", EICAR)]))
    assert "e" in scanned.members
    assert not scanned.examination.oversize
    assert not scanned.examination.errors


def test_members_that_the_engine_has_scanned_are_not_shown_again(scan: Scan) -> None:
    data = pack([("a", b"a"), ("b", b"b" * 5000)])
    bounds = replace(SMALL, ceiling=CEILING)
    assert [len(shown) for shown in scan(pack([("a", b"a")]), bounds).engine.shown] == [
        len(pack([("a", b"a")]))
    ]
    assert len(scan(data, bounds).engine.shown) > 1  # b is cut by the engine


def test_a_limit_that_the_walk_makes_up_for_is_not_reported(tmp_path: Path) -> None:
    data = pack([("a", b"a"), ("b", b"b")])
    engine = FakeEngine(
        lambda shown: Findings(limits=("MaxFiles",)) if shown.startswith(b"PK") else None
    )
    scanned = look(tmp_path, data, SMALL, engine)
    assert scanned.examination == NOTHING
    assert engine.shown == [data, b"a", b"b"]


def test_a_limit_on_what_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    engine = FakeEngine(lambda _: Findings(limits=("MaxFileSize",)))
    scanned = look(tmp_path, tar([("a.cab", b"MSCF")], "gz"), SMALL, engine)
    assert scanned.examination.errors == (
        "a.cab: cannot be scanned whole: clamscan's limit MaxFileSize",
    )


def test_everything_that_the_engine_reports_is_kept(tmp_path: Path) -> None:
    engine = FakeEngine(
        lambda shown: (
            Findings(signatures=("A", "B"), opaque=("Encrypted.7Zip",), errors=("no",))
            if shown == b"m"
            else None
        )
    )
    scanned = look(tmp_path, tar([("m", b"m")], "xz"), SMALL, engine)
    assert scanned.examination == Examination(
        sightings=(Sighting(signature="A", member="m"), Sighting(signature="B", member="m")),
        errors=("m: no",),
        opaque=("Encrypted.7Zip: m",),
    )


def test_an_engine_that_does_not_work_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(_: bytes) -> Findings:
        raise EngineError("gone")

    with pytest.raises(EngineError):
        look(tmp_path, tar([("m", b"m")], "gz"), SMALL, FakeEngine(fail))
    assert not [*(tmp_path / "work").iterdir()]


# Files beyond the ceiling.


@pytest.mark.parametrize("at", [0, 1, CEILING - 30, CEILING, 2 * CEILING - 1000, 9000])
def test_a_file_beyond_the_ceiling_is_shown_in_windows(scan: Scan, at: int) -> None:
    noise = long(b"", 12000)
    data = noise[:at] + EICAR + noise[at:]
    inside, itself = scan(tar([("big.pak", data)], "gz")), scan(data)
    assert inside.members == ["big.pak"]
    assert inside.examination.oversize == (f"big.pak: {len(data)} bytes",)
    assert itself.members == [""]
    assert itself.examination.oversize == (f"{len(data)} bytes",)


def test_a_zip_beyond_the_ceiling_is_walked(scan: Scan) -> None:
    data = pack([("noise", long(b"", 3000)), ("more", long(b"", 2999)), ("e", EICAR)])
    scanned = scan(tar([("z.zip", data)], "gz"))
    assert "z.zip/e" in scanned.members
    assert not scanned.examination.oversize


def test_a_member_that_the_engine_cuts_is_shown_alone(scan: Scan) -> None:
    scanned = scan(pack([("a", b"a"), ("b", bytes(9000) + EICAR)]))
    assert scanned.members == ["b"]
    assert scanned.examination.oversize == ("b: 9068 bytes",)


def test_a_member_with_a_false_size_is_measured(scan: Scan) -> None:
    data = bytearray(pack([("b", bytes(9000) + EICAR)]))
    for at in (22, data.index(b"PK\1\2") + 24):
        data[at : at + 4] = (10).to_bytes(4, "little")
    assert scan(bytes(data)).members == ["b"]


# Unsupported content.


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"Rar!\x1a\x07\x01\0", "rar"),
        (b"hsqs", "squashfs"),
        (b"\x7fELF\2\1\1\0AI\2", "AppImage"),
    ],
)
def test_an_unsupported_format_is_named(scan: Scan, data: bytes, name: str) -> None:
    assert scan(data).examination.opaque == (name,)
    assert scan(pack([("a", data)])).examination.opaque == (f"{name}: a",)
    assert scan(tar([("d/a", data)], "gz")).examination.opaque == (f"{name}: d/a",)


def test_encryption_hides_nothing_beside_it(tmp_path: Path) -> None:
    engine = FakeEngine(
        lambda shown: (
            Findings(signatures=("Eicar",), opaque=("Encrypted.Zip",))
            if shown.startswith(b"PK")
            else None
        )
    )
    scanned = look(tmp_path, encrypted_beside(EICAR), SMALL, engine)
    assert scanned.examination.opaque == ("encrypted: secret.bin",)
    assert scanned.examination.sightings


def test_a_method_that_only_the_engine_opens(scan: Scan) -> None:
    data = bytearray(pack([("a", b"a")]))
    data[8] = data[data.index(b"PK\1\2") + 10] = 9
    assert scan(bytes(data)).examination == NOTHING
    data[0:0] = b"x"  # not plain any more
    assert scan(bytes(data)).examination.opaque == ("deflate64: a",)


# Damaged and hidden content.


NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz"}


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_what_is_cut_short_is_an_error(scan: Scan, compression: Compression) -> None:
    data = tar([("a", long(b"", 3000))], compression)
    for keep in (30, len(data) // 2, len(data) - 1):
        errors = scan(data[:keep]).examination.errors
        assert f"cannot be scanned whole: {NAMES[compression]}: it is cut short" in errors


def test_a_tar_that_is_cut_short_is_an_error(scan: Scan) -> None:
    data = tar([("a", long(b"", 2000))])
    assert scan(data[:1000]).examination.errors
    assert scan(data[:600] + bytes(100)).examination.errors


def test_one_damaged_container_does_not_hide_another(scan: Scan) -> None:
    broken = compress(long(b"", 500), "gz")[:-20]
    scanned = scan(tar([("a.gz", broken), ("b.gz", compress(EICAR, "gz"))], "gz"))
    assert scanned.members == ["b.gz"]
    assert scanned.examination.opaque == ("gzip: it is cut short: a.gz",)
    assert not scanned.examination.errors


SAFE = pack([("safe", b"safe")])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(compress(b"x", "gz") + compress(EICAR, "gz"), id="gzip members"),
        pytest.param(compress(b"x", "gz") + bytes(99) + compress(EICAR, "gz"), id="gzip padding"),
        pytest.param(compress(b"x", "gz") + tar([("e", EICAR)], "xz"), id="behind gzip"),
        pytest.param(compress(b"x", "bz2") + compress(EICAR, "bz2"), id="bzip2 streams"),
        pytest.param(compress(b"x", "xz") + bytes(8) + compress(EICAR, "xz"), id="xz streams"),
        pytest.param(tar([("x", b"x")]) + tar([("e", EICAR)], "gz"), id="behind tar"),
        pytest.param(
            tar([("x", b"x")])[:2000] + tar([("e", EICAR)], "gz"), id="behind a tar's end"
        ),
        pytest.param(ar([("x", b"x")]) + tar([("e", EICAR)], "gz"), id="behind ar"),
        pytest.param(pack([("e", EICAR)]) + SAFE, id="two zips"),
        pytest.param(SAFE + pack([("e", EICAR)]), id="two zips the other way round"),
        pytest.param(SAFE[: SAFE.index(b"PK\1\2")] + pack([("e", EICAR)]), id="prefix"),
        pytest.param(pack([("e", EICAR)])[:-30], id="no directory"),
        pytest.param(b"MZ" + bytes(99) + pack([("e", EICAR)], zipfile.ZIP_LZMA), id="program"),
        pytest.param(
            pack([("p", b"MZ" + bytes(99) + pack([("e", EICAR)], zipfile.ZIP_LZMA))]),
            id="program in a zip",
        ),
        pytest.param(
            pack([("p", b"\x89PNG" + bytes(99) + pack([("e", EICAR)], zipfile.ZIP_LZMA))]),
            id="behind a picture in a zip",
        ),
    ],
)
def test_content_hidden_from_some_readers_is_never_clean(scan: Scan, data: bytes) -> None:
    assert scan(data).examination.sightings


def test_headers_that_disagree_are_an_error(scan: Scan) -> None:
    for offset in (6, 8, 18):
        data = bytearray(pack([("e", b"x" * 99)]))
        data[offset] ^= 1
        assert any(
            "the two headers of e disagree" in line for line in scan(bytes(data)).examination.errors
        )


def test_links_and_devices_are_skipped(scan: Scan) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("../../etc/passwd")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    scanned = scan(out.getvalue())
    assert scanned.examination == NOTHING
    assert scanned.engine.shown == []


# Bounds.


def test_a_bomb_exceeds_the_bound(scan: Scan) -> None:
    scanned = scan(tar([("bomb", bytes(3_000_000))], "gz"))
    assert scanned.examination.errors == (
        "bomb: cannot be scanned whole: more than 2000000 bytes unpacked",
    )


def test_too_many_members(scan: Scan) -> None:
    [line] = scan(tar([(str(n), b"x") for n in range(1001)], "gz")).examination.errors
    assert line.endswith("more than 1000 members")


def test_too_deep(scan: Scan) -> None:
    [line] = scan(nested(14, b"x")).examination.errors
    assert line.endswith("more than 12 containers within one another")


def test_an_archive_that_contains_itself_exceeds_the_depth(scan: Scan) -> None:
    [line] = scan(swarm(6, 8)).examination.errors
    assert line.endswith("more than 1000 members")


class Disk:
    """A disk whose free bytes are different at each call."""

    def __init__(self, *free: int) -> None:
        self._free = list(free)

    def __call__(self, path: Path) -> Disk:
        return self

    @property
    def free(self) -> int:
        return self._free.pop(0) if len(self._free) > 1 else self._free[0]


def test_more_than_the_free_disk_is_an_error_of_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", Disk(9 * LITTLE, 9 * LITTLE, 1))
    account = Account(SMALL, tmp_path)
    account.keep(8 * LITTLE)
    with pytest.raises(ExceededError, match="bytes of free disk"):
        account.keep(2 * LITTLE)


def test_less_free_disk_than_at_the_beginning_is_no_error_of_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", Disk(9 * LITTLE, 9 * LITTLE, 1))
    account = Account(SMALL, tmp_path)
    account.keep(3 * LITTLE)
    with pytest.raises(WorkspaceError, match="is full"):
        account.keep(2 * LITTLE)


def test_a_disk_that_others_fill_is_no_error_of_the_artifact(
    scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", Disk(1 << 30, 0))
    with pytest.raises(WorkspaceError, match="is full"):
        scan(tar([("z", b"z")], "gz"))


def test_a_file_that_is_written_in_part_is_no_error_of_the_artifact(tmp_path: Path) -> None:
    """As on a disk that is full: the first call writes some bytes, and only the next one fails."""
    scratch = Scratch(tmp_path, Account(SMALL, tmp_path), number=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(WorkspaceError, match="can't be written: File too large"):
            scratch.fill(Stream(io.BytesIO(bytes(5000)).read))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_folder_that_cannot_be_written(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, *args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    data = tar([("z", b"z")], "gz")
    real = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, *a, **o: (fail if self.name.startswith("member") else real)(self, *a, **o),
    )
    with pytest.raises(WorkspaceError, match="is full"):
        scan(data)


# Lines.


def test_names_are_printable_and_short(scan: Scan) -> None:
    names = ["a\n\x1b[31m\u202eb", "я" * 300 + "/конец.exe", "\udcff"]
    scanned = scan(tar([(name, EICAR) for name in names], "gz"))
    assert scanned.members[0] == r"a\n\x1b[31m\u202eb"
    assert scanned.members[1].endswith("я/конец.exe")
    assert len(scanned.members[1]) == 120
    assert scanned.members[2] == r"\udcff"


def test_lines_are_limited(scan: Scan) -> None:
    scanned = scan(tar([(f"{n}.rar", b"Rar!\x1a\x07") for n in range(150)], "gz"))
    assert len(scanned.examination.opaque) == LINES + 1
    assert scanned.examination.opaque[-1] == "and 50 more"


def test_every_signature_is_reported(tmp_path: Path) -> None:
    engine = FakeEngine(
        lambda shown: (
            Findings(signatures=("Same", shown.decode())) if shown.startswith(b"S") else None
        )
    )
    data = tar([(str(n), b"S%d" % n) for n in range(300)], "xz")
    sightings = look(tmp_path, data, SMALL, engine).examination.sightings
    assert {sighting.signature for sighting in sightings} == {
        "Same",
        *(f"S{n}" for n in range(300)),
    }


# Properties.

WRAPS: list[Callable[[bytes], bytes]] = [
    lambda data: tar([("a", b"a"), ("b", data), ("c", b"c")]),
    lambda data: tar([("a", b"a"), ("b", data)], "gz"),
    lambda data: tar([("b", data), ("c", b"c" * 600)], "bz2"),
    lambda data: tar([("n" * 200, data)], "xz"),
    lambda data: compress(data, "gz"),
    lambda data: compress(data, "bz2"),
    lambda data: compress(data, "xz"),
    lambda data: pack([("a", b"a"), ("b", data)]),
    lambda data: pack([("a", data), ("b", b"b")], zipfile.ZIP_STORED),
    lambda data: pack([("a", data)], zipfile.ZIP_LZMA),
    lambda data: pack([("a", data)], zipfile.ZIP_BZIP2),
    lambda data: ar([("a", b"a"), ("b", data)]),
    lambda data: b"MZ" + bytes(50) + pack([("a", data)]),
]
TREES = st.tuples(
    st.lists(st.sampled_from(WRAPS), min_size=1, max_size=5),
    st.integers(0, 9000),
    st.integers(0, 9000),
)


def build(tree: tuple[list[Callable[[bytes], bytes]], int, int]) -> bytes:
    wraps, before, after = tree
    data = long(b"", before) + EICAR + long(b"", after)
    for wrap in wraps:
        data = wrap(data)
    return data


PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def look_once(data: bytes) -> Examination:
    with tempfile.TemporaryDirectory() as folder:
        return look(Path(folder), data, SMALL, FakeEngine()).examination


@PROPERTY
@given(TREES)
def test_eicar_is_found_in_any_combination_of_formats(
    tree: tuple[list[Callable[[bytes], bytes]], int, int],
) -> None:
    examination = look_once(build(tree))
    assert examination.sightings
    assert not examination.errors


@PROPERTY
@given(TREES, st.data())
def test_any_damage_ends_with_a_result(
    tree: tuple[list[Callable[[bytes], bytes]], int, int], data: st.DataObject
) -> None:
    damaged = bytearray(build(tree))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=5)):
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    look_once(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))


@PROPERTY
@given(st.sampled_from(WRAPS[1:11]), st.data())
def test_what_is_cut_is_never_clean(wrap: Callable[[bytes], bytes], data: st.DataObject) -> None:
    whole = wrap(long(EICAR, 2000))
    assert look_once(whole[: data.draw(st.integers(64, len(whole) - 1))]) != NOTHING
