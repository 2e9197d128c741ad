"""Formats by a file's first bytes or its end, and files that may embed archives."""

from __future__ import annotations

import io
import lzma

import pytest
from support.samples import compress, deb, pack, tar

from avscan.archives.executables import is_program, may_embed_archives
from avscan.archives.reader import HEAD
from avscan.archives.registry import READERS, recognise
from avscan.archives.unsupported import unsupported

OLD = lzma.compress(b"x" * 99, format=lzma.FORMAT_ALONE)
SOME = pack([("x", b"x")])


def names(data: bytes) -> list[str]:
    return [reader.name for reader in recognise(data[:HEAD], io.BytesIO(data))]


@pytest.mark.parametrize(
    ("data", "formats"),
    [
        (compress(b"x", "gz"), ["gzip"]),
        (compress(b"x", "bz2"), ["bzip2"]),
        (compress(b"", "bz2"), ["bzip2"]),
        (compress(b"x", "xz"), ["xz"]),
        (OLD, ["lzma"]),
        (tar([("x", b"x")]), ["tar"]),
        (tar([("BZh91AY&SY", b"x")]), ["bzip2", "tar"]),
        (deb(b"x"), ["ar"]),
        (SOME, ["zip"]),
        (pack([]), ["zip"]),
        (b"\x89PNG" + SOME, ["zip"]),
        (tar([("in.zip", SOME)]), ["tar"]),
        (b"\x89PNG" + SOME + b"more", []),
        (b"", []),
        (bytes(HEAD), []),
        (b"\x1f\x8b\x07\xff", []),
        (b"BZh9 is no magic yet", []),
        (b"]\0\0\0\0 is no magic either", []),
        (tar([("x", b"x")])[:300], []),
        (b"MZ", []),
        (b"PK\5\6" + bytes(18) + b"x", ["zip"]),
        (b"xPK\5\6" + bytes(18), []),
    ],
)
def test_formats(data: bytes, formats: list[str]) -> None:
    assert names(data) == formats


def test_every_magic_is_long_enough_to_be_searched_for() -> None:
    assert all(len(magic) > 2 for reader in READERS for magic in reader.magics)


def test_unsupported_formats() -> None:
    assert unsupported(b"\x1f\x9d\x90") == "compress"
    assert unsupported(b"\x7fELF\2\1\1\0AI\2") == "AppImage"
    assert unsupported(b"\x7fELF\2\1\1\0\0\0\0") == ""
    assert unsupported(b"anything") == ""


def test_programs() -> None:
    assert is_program(b"MZ\x90")
    assert is_program(b"#!/bin/sh")
    assert not is_program(b"PK\3\4")


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
def test_a_script_may_embed_archives(text: str) -> None:
    assert may_embed_archives(text.encode() + compress(b"x", "gz"))


@pytest.mark.parametrize("data", [b"", b"text", bytes(99), b"\x89PNG\r\n\x1a\n", b"\xffa\n" * 30])
def test_other_files_embed_no_archives(data: bytes) -> None:
    assert not may_embed_archives(data)


def test_a_program_for_several_processors_may_embed_archives() -> None:
    assert may_embed_archives(b"\xca\xfe\xba\xbf" + bytes(99))
