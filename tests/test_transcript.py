"""The meaning of clamscan's lines: nothing is clean by mistake."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avscan.clamav.transcript import (
    LINE_LENGTH,
    LINES,
    EngineVersion,
    complaints,
    parse,
    parse_version,
)
from avscan.findings import Findings

PATH = Path("/srv/avscan-x/a1")
LIMIT = "Heuristics.Limits.Exceeded"

CLEAN = Findings()


@pytest.mark.parametrize(
    ("lines", "findings"),
    [
        ("@: OK", CLEAN),
        ("@: Empty file", CLEAN),
        ("LibClamAV Warning: something odd\n@: OK", CLEAN),
        ("LibClamAV Warning: something odd in @\n@: OK", CLEAN),
        ("some other line\n@: OK", CLEAN),
        ("/other: Eicar FOUND\n/other: broken ERROR\n@: OK", CLEAN),
        ("@: Eicar FOUND", Findings(signatures=("Eicar",))),
        ("@: B FOUND\n@: A FOUND\n@: B FOUND", Findings(signatures=("B", "A"))),
        ("@: Win.Foo: bar FOUND FOUND", Findings(signatures=("Win.Foo: bar FOUND",))),
        (f"@: {LIMIT}.MaxFileSize FOUND", Findings(limits=("MaxFileSize",))),
        (f"@: {LIMIT} FOUND", Findings(limits=("Limit",))),
        ("@: Heuristics.Encrypted.Zip FOUND", Findings(opaque=("Encrypted.Zip",))),
        ("@: Avscan.Opaque.zip-lzma.UNOFFICIAL FOUND", Findings(unopened=("zip-lzma",))),
        ("@: Avscan.Opaque.rar FOUND\n@: A FOUND", Findings(signatures=("A",), unopened=("rar",))),
        (
            "@: Heuristics.Phishing.Email.SpoofedDomain FOUND",
            Findings(signatures=("Heuristics.Phishing.Email.SpoofedDomain",)),
        ),
        (
            f"@: Eicar FOUND\n@: {LIMIT}.MaxFiles FOUND\n@: Heuristics.Encrypted.7Zip FOUND",
            Findings(signatures=("Eicar",), limits=("MaxFiles",), opaque=("Encrypted.7Zip",)),
        ),
        (
            f"@: {LIMIT}.MaxScanTime FOUND\n@: Virus(es) detected ERROR",
            Findings(limits=("MaxScanTime",)),
        ),
        (
            "@: Virus(es) detected ERROR",
            Findings(errors=("Virus(es) detected ERROR",)),
        ),
        ("", Findings(errors=("clamscan gave no verdict on the file",))),
        ("/other: OK", Findings(errors=("clamscan gave no verdict on the file",))),
        ("@.old: OK", Findings(errors=("the file.old: OK",))),
        (" @: OK", Findings(errors=("the file: OK",))),
        ("@: OK!", Findings(errors=("OK!",))),
        ("@: ok", Findings(errors=("ok",))),
        ("@: Excluded", Findings(errors=("Excluded",))),
        ("@: Excluded (/proc)", Findings(errors=("Excluded (/proc)",))),
        ("@: Access denied", Findings(errors=("Access denied",))),
        ("@: Symbolic link", Findings(errors=("Symbolic link",))),
        ("@: Can't read file ERROR", Findings(errors=("Can't read file ERROR",))),
        (
            "@: No such file or directory\nWARNING: @: Can't access file",
            Findings(errors=("No such file or directory", "WARNING: the file: Can't access file")),
        ),
        (
            "WARNING: Can't open file @: Permission denied",
            Findings(errors=("WARNING: Can't open file the file: Permission denied",)),
        ),
        (
            "LibClamAV Error: Can't create /srv/avscan-x/tmp/2026-scantemp.1\n@: OK",
            Findings(errors=("LibClamAV Error: Can't create a temporary file",)),
        ),
        (
            "LibClamAV Error: cli_writen: write error: File too large\n@: Can't write to file ERROR",
            Findings(limits=("TemporaryFileSize",)),
        ),
        ("ERROR: out of luck\n@: OK", Findings(errors=("ERROR: out of luck",))),
        (
            "@: Eicar FOUND\nLibClamAV Error: odd",
            Findings(signatures=("Eicar",), errors=("LibClamAV Error: odd",)),
        ),
        ("@: a\x1b[31m\x07\u202eb ERROR", Findings(errors=("a\\x1b[31m\\x07\\u202eb ERROR",))),
    ],
)
def test_lines(lines: str, findings: Findings) -> None:
    text = lines.replace("@", str(PATH)).encode()
    assert parse(text + b"\n", PATH, private=PATH.parent) == findings


def test_undecodable_bytes_are_replaced() -> None:
    assert parse(b"/a: \xff\xfe ERROR\n", Path("/a")).errors == ("\ufffd\ufffd ERROR",)


def test_a_long_line_is_cut() -> None:
    (error,) = parse(b"/a: " + b"x" * 100_000, Path("/a")).errors
    assert len(error) == LINE_LENGTH


def test_many_names_are_bounded() -> None:
    text = b"".join(b"/a: N%d FOUND\n" % number for number in range(10_000))
    assert len(parse(text, Path("/a")).signatures) == LINES


def test_complaints_are_the_error_lines() -> None:
    text = b"LibClamAV Error: x /w/t/1\nLoading\nLibClamAV Warning: y\nERROR: z\n"
    assert complaints(text, private=Path("/w")) == (
        "LibClamAV Error: x a temporary file",
        "ERROR: z",
    )


@pytest.mark.parametrize(
    ("text", "version", "words"),
    [
        (
            "ClamAV 1.4.6/27800/Mon Nov 23 09:22:01 2026\n",
            EngineVersion(
                engine="1.4.6",
                signatures=27800,
                date=datetime(2026, 11, 23, 9, 22, 1, tzinfo=UTC),
            ),
            "ClamAV 1.4.6, signatures 27800 of 2026-11-23",
        ),
        (
            "WARNING: odd\nClamAV 1.5.0-rc/1/Sun Nov  1 00:00:00 2026\n",
            EngineVersion(engine="1.5.0-rc", signatures=1, date=datetime(2026, 11, 1, tzinfo=UTC)),
            "ClamAV 1.5.0-rc, signatures 1 of 2026-11-01",
        ),
        (
            "ClamAV 1.4.6\n",
            EngineVersion(engine="1.4.6"),
            "ClamAV 1.4.6, signatures of unknown age",
        ),
        (
            "ClamAV 1.4.6/7/nonsense",
            EngineVersion(engine="1.4.6", signatures=7),
            "ClamAV 1.4.6, signatures 7 of unknown age",
        ),
    ],
)
def test_version(text: str, version: EngineVersion, words: str) -> None:
    assert parse_version(text) == version
    assert str(version) == words


@pytest.mark.parametrize("text", ["", "bash: clamscan: not found", "ClamAV"])
def test_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="no version in"):
        parse_version(text)


OWN = b"/w/1"
lines = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda tail: OWN + b": " + tail, st.binary(max_size=40)),
    st.sampled_from([b"/w/10: OK", b"/w/2: OK", b"LibClamAV Warning: x", b"OK", b": OK"]),
)


@given(st.lists(lines))
def test_nothing_without_its_own_ok_is_clean(some: list[bytes]) -> None:
    text = b"\n".join(some)
    evidence = {OWN + b": OK", OWN + b": Empty file"}
    if parse(text, Path("/w/1")).clean:
        assert evidence & set(text.split(b"\n"))


@given(st.binary())
def test_every_text_is_one_printable_line(noise: bytes) -> None:
    found = parse(OWN + b": " + noise + b" FOUND\n" + OWN + b": " + noise, Path("/w/1"))
    for text in (*found.signatures, *found.limits, *found.opaque, *found.errors):
        assert text
        assert text.isprintable()
        assert len(text) <= LINE_LENGTH


@given(st.binary(max_size=60).filter(lambda noise: b"\n" not in noise))
def test_lines_of_other_paths_do_not_matter(noise: bytes) -> None:
    forged = b"/w/2: " + noise
    if OWN not in forged:
        assert parse(forged + b"\n/w/1: OK\n", Path("/w/1")).clean
        assert not parse(forged + b"\n", Path("/w/1")).clean
