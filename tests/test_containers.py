"""What is recognised by its first bytes, and containers that nothing packs so."""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator

import pytest
from support.samples import Squeeze, ar, deb, pack, squeezed, tar, zstd

from avscan.archives import containers, plainzip, streams, zips
from avscan.archives.containers import (
    HEAD,
    UNREADABLE,
    Kind,
    NotWholeError,
    is_carrier,
    is_program,
    opaque,
    sniff,
)
from avscan.archives.plainzip import is_plain
from avscan.archives.streams import Stream

KINDS: dict[Squeeze, Kind] = {"gz": Kind.GZIP, "bz2": Kind.BZIP2, "xz": Kind.XZ}
OLD = lzma.compress(b"x" * 99, format=lzma.FORMAT_ALONE)


def source(data: bytes) -> Stream:
    return Stream(io.BytesIO(data).read)


def read(stream: Stream) -> bytes:
    return b"".join(iter(lambda: stream.some(700), b""))


def contents(members: Iterator[containers.Member]) -> dict[str, bytes]:
    return {member.name: read(member.open()) for member in members if member.open}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (squeezed(b"x", "gz"), Kind.GZIP),
        (squeezed(b"x", "bz2"), Kind.BZIP2),
        (squeezed(b"", "bz2"), Kind.BZIP2),
        (squeezed(b"x", "xz"), Kind.XZ),
        (OLD, Kind.LZMA),
        (tar([("x", b"x")]), Kind.TAR),
        (deb(b"x"), Kind.AR),
        (pack([("x", b"x")]), Kind.ZIP),
        (pack([]), Kind.ZIP),
        (zstd(b"x"), Kind.ZSTD if streams.zstd_decoder else None),
        (b"", None),
        (bytes(HEAD), None),
        (b"\x1f\x8b\x08\xff", None),
        (b"BZh9 is no magic yet", None),
        (b"]\0\0\0\0 is no magic either", None),
        (tar([("x", b"x")])[:300], None),
        (b"MZ", None),
    ],
)
def test_kinds(data: bytes, kind: Kind | None) -> None:
    assert sniff(data[:HEAD]) is kind


def test_what_is_opaque() -> None:
    assert opaque(b"\x1f\x9d\x90") == "compress"
    assert opaque(b"\x7fELF\2\1\1\0AI\2") == "AppImage"
    assert opaque(b"\x7fELF\2\1\1\0\0\0\0") == ""
    assert opaque(b"anything") == ""


def test_programs() -> None:
    assert is_program(b"MZ\x90")
    assert is_program(b"#!/bin/sh")
    assert not is_program(b"PK\3\4")


# Streams.


def test_a_stream_goes_forwards_only() -> None:
    stream = source(b"0123456789")
    assert stream.peek(3) == b"012"
    assert stream.read(4) == b"0123"
    assert stream.seek(6) == 6
    assert stream.tell() == 6
    with pytest.raises(ValueError, match="order"):
        stream.seek(1)
    stream.unread(b"ab")
    assert stream.read(99) == b"ab6789"
    assert stream.seek(99) == 10
    assert stream.some(0) == b""


@pytest.mark.parametrize("squeeze", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
def test_unpacking(squeeze: Squeeze, size: int) -> None:
    data = bytes(size) + b"the end"
    packed = source(squeezed(data, squeeze) + b"behind")
    assert contents(containers.members(KINDS[squeeze], packed)) == {
        "": data,
        containers.REST: b"behind",
    }


@pytest.mark.parametrize("squeeze", ["gz", "bz2", "xz"])
def test_bytes_come_a_few_at_a_time(squeeze: Squeeze) -> None:
    packed = io.BytesIO(squeezed(bytes(range(256)) * 99, squeeze))
    slow = Stream(lambda size: packed.read(min(size, 3)))
    assert contents(containers.members(KINDS[squeeze], slow)) == {"": bytes(range(256)) * 99}


def test_xz_may_not_ask_for_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CODER_MEMORY", 1 << 20)
    with pytest.raises(UNREADABLE, match=r"[Mm]emory"):
        contents(containers.members(Kind.XZ, source(squeezed(b"x", "xz"))))


# Ar.


def test_ar() -> None:
    packed = ar([("odd", b"x"), ("even", b"xy"), ("slash/", b"")])
    assert contents(containers.members(Kind.AR, source(packed))) == {
        "odd": b"x",
        "even": b"xy",
        "slash": b"",
    }


@pytest.mark.parametrize("size", [b"-1        ", b"nonsense  ", b"99        "])
def test_an_ar_with_a_wrong_size(size: bytes) -> None:
    packed = ar([("x", b"x")]).replace(b"1         `", size + b"`")
    with pytest.raises(UNREADABLE):
        contents(containers.members(Kind.AR, source(packed)))


def test_an_ar_with_a_wrong_header() -> None:
    packed = ar([("x", b"x")]) + b"y" * 70
    members = containers.members(Kind.AR, source(packed))
    assert next(members).name == "x"
    rest = next(members)
    assert rest.open is not None
    assert read(rest.open()) == b"y" * 70
    with pytest.raises(NotWholeError):
        next(members)


# Tar.


def test_a_sparse_member_is_read_with_its_holes() -> None:
    info = tarfile.TarInfo("holes")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "1000,4",
        "GNU.sparse.size": "2000",
    }
    info.size = 4
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"data"))
    [content] = contents(containers.members(Kind.TAR, source(out.getvalue()))).values()
    assert content == bytes(1000) + b"data" + bytes(996)


def test_a_pax_size_counts() -> None:
    info = tarfile.TarInfo("e")
    info.pax_headers = {"size": "3"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    data = out.getvalue()[:1536] + b"abc" + bytes(509 + 1024)
    assert contents(containers.members(Kind.TAR, source(data))) == {"e": b"abc"}


def test_too_many_global_headers() -> None:
    records = {f"key{number}": "x" for number in range(containers.GLOBALS + 1)}
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=records
    ) as archive:
        archive.addfile(tarfile.TarInfo("x"))
    with pytest.raises(NotWholeError, match="global"):
        contents(containers.members(Kind.TAR, source(out.getvalue())))


def test_a_zip_is_another_modules() -> None:
    with pytest.raises(NotWholeError):
        containers.members(Kind.ZIP, source(b""))


# Zip.


def test_a_directory_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (zips, plainzip):
        monkeypatch.setattr(module, "DIRECTORY", 70_000)
    data = pack((str(number), b"") for number in range(2000))
    with pytest.raises(NotWholeError, match="larger than"):
        [*zips.members(io.BytesIO(data))]


def test_an_entry_that_is_not_there() -> None:
    data = bytearray(pack([("x", b"x" * 99), ("y", b"y")]))
    at = data.index(b"PK\1\2") + 42
    data[at : at + 4] = (5).to_bytes(4, "little")
    with pytest.raises(NotWholeError, match="lies about x"):
        [*zips.members(io.BytesIO(bytes(data)))]
    members = zips.members(io.BytesIO(bytes(data)))
    assert [next(members).name, next(members).name] == ["y", "x (not in the directory)"]


def test_what_is_plain() -> None:
    plain = pack([("x", b"x"), ("y/", b""), ("я", b"y")])
    assert is_plain(io.BytesIO(plain))
    assert is_plain(io.BytesIO(pack([])))


def test_what_comes_as_a_stream_is_plain_too() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("x", b"x")
        archive.writestr("y", b"y")
    assert is_plain(io.BytesIO(pipe.getvalue()))


PLAIN = pack([("x", b"x" * 99), ("y", b"y")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"x" + PLAIN,
        PLAIN + b"x",
        PLAIN[:-22],
        PLAIN[: PLAIN.index(b"PK\1\2")] + b"hole" + PLAIN[PLAIN.index(b"PK\1\2") :],
        PLAIN.replace(b"PK\1\2", b"PK\1\3"),
        PLAIN.replace(b"PK\3\4\x14", b"PK\3\5\x14"),
        PLAIN[:26] + b"\2" + PLAIN[27:],
        PLAIN[:-6] + b"\xff" + PLAIN[-5:],
        PLAIN[:6] + b"\1" + PLAIN[7:],
    ],
)
def test_what_is_not(data: bytes) -> None:
    assert not is_plain(io.BytesIO(data))


@pytest.mark.parametrize(
    "text",
    [
        "tail -n +2 $0 | tar xz; exit\n",
        "\n#!/bin/sh\n",
        "\ufeff@echo off\r\n",
        "# Ausführbar ohne weitere Kopfzeile, und überall\n",
        "@echo off & rem cut in midst ofü, within the letter",
    ],
)
def test_a_script_may_carry_an_archive(text: str) -> None:
    assert is_carrier(text.encode() + squeezed(b"x", "gz"))


@pytest.mark.parametrize("data", [b"", b"text", bytes(99), b"\x89PNG\r\n\x1a\n", b"\xffa\n" * 30])
def test_what_is_no_script_carries_none(data: bytes) -> None:
    assert not is_carrier(data)


def test_a_program_for_several_processors_may_carry_an_archive() -> None:
    assert is_carrier(b"\xca\xfe\xba\xbf" + bytes(99))
