"""Archives that two programs read in two ways: none may be clean because of clamscan's reading."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.examine import examined
from support.samples import EICAR, HASHED, gzipped, pack, signatures, tar

from avscan.archives.bounds import Bounds
from avscan.clamav.clamscan import Clamscan
from avscan.findings import Examination

CENTRAL, END = b"PK\1\2", b"PK\5\6"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clamscan, Path]]:
    folder = tmp_path_factory.mktemp("disguises").resolve()
    (workspace := folder / "work").mkdir()
    with Clamscan(
        program="clamscan", workspace=workspace, database=signatures(folder / "signatures")
    ) as clamscan:
        yield clamscan, workspace


def see(engine: tuple[Clamscan, Path], sample: bytes) -> Examination:
    clamscan, workspace = engine
    (path := workspace / "artifact").write_bytes(sample)
    return examined(path, engine=clamscan, workspace=workspace, bounds=Bounds())


def told_of(headers: Mapping[str, str], everybody: Mapping[str, str] | None = None) -> bytes:
    """Write EICAR into a tar whose pax headers have false values."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=everybody or {}
    ) as archive:
        member = tarfile.TarInfo("e")
        member.size, member.pax_headers = len(EICAR), dict(headers)
        archive.addfile(member, io.BytesIO(EICAR))
    return buffer.getvalue()


def with_an_empty_header(kind: bytes) -> bytes:
    """Put an empty global header in front of a member that only a hash signature matches."""
    plain = tar([("./", b""), ("./a", b"x"), ("./e", HASHED)])
    at = plain.index(b"./e\0")
    empty = tarfile.TarInfo("./x")
    empty.type = kind
    return gzip.compress(plain[:at] + empty.tobuf() + plain[at:])


def hidden_behind_data() -> bytes:
    """Write a zip whose entry covers another one that the directory does not list."""
    shown, hidden = pack([("a.txt", b"x" * 99)]), pack([("e.exe", EICAR)], zipfile.ZIP_STORED)
    within = hidden[: hidden.index(CENTRAL)]
    central, end = shown.index(CENTRAL), shown.index(END)
    size = struct.unpack_from("<I", shown, 18)[0] + len(within)
    local = bytearray(shown[:central])
    directory, record = bytearray(shown[central:end]), bytearray(shown[end:])
    struct.pack_into("<I", local, 18, size)
    struct.pack_into("<I", directory, 20, size)
    struct.pack_into("<I", record, 16, central + len(within))
    return bytes(local + within + directory + record)


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(pack([("a" * 227 + "ustar", b"x"), ("e", EICAR)]), id="a zip like a tar"),
        pytest.param(
            gzipped(EICAR, flags=8, fields=b"a" * 502 + b"EFI PART\0"), id="a gzip like a disk"
        ),
        pytest.param(
            gzipped(EICAR, flags=8, fields=b"a" * 247 + b"ustar\0"), id="a gzip like a tar"
        ),
        pytest.param(told_of({"size": "1"}), id="a tar's size"),
        pytest.param(told_of({}, {"size": "1"}), id="a tar's size for all"),
        pytest.param(told_of({"GNU.sparse.realsize": "0"}), id="a tar's real size"),
        pytest.param(
            told_of({"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"}), id="a tar's holes"
        ),
        pytest.param(with_an_empty_header(tarfile.XHDTYPE), id="an empty pax header"),
        pytest.param(with_an_empty_header(tarfile.XGLTYPE), id="an empty global header"),
        pytest.param(hidden_behind_data(), id="an entry within another"),
        pytest.param(
            "@rem Установщик игры\r\n".encode("cp866") + gzip.compress(EICAR), id="a script of DOS"
        ),
        pytest.param(
            b"\x1f\x9d" + bytes(22) + tar([("e", HASHED)]), id="a tar behind an old gzip's magic"
        ),
        pytest.param(
            gzip.compress(tar([("e", EICAR * 200)])[:1000]) + gzip.compress(b"x" * 9000),
            id="a first stream that ends within an entry",
        ),
    ],
)
def test_what_is_read_in_two_ways_is_not_clean(
    engine: tuple[Clamscan, Path], sample: bytes
) -> None:
    assert see(engine, sample) != Examination()


@pytest.mark.parametrize(
    "sample", [bytes(256) + b"\xff" * 256 + b"a table", b"\x89PNG\r\n" + bytes(999)]
)
def test_what_only_looks_like_an_archive_is_clean(
    engine: tuple[Clamscan, Path], sample: bytes
) -> None:
    assert see(engine, sample) == Examination()
    assert see(engine, tar([("lut.bin", sample)], "gz")) == Examination()
