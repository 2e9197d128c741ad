"""Files that an operator lets through, and signatures of an operator's own, with the real clamscan.

The page docs/false-positives.md promises what is tested here.
"""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.backend import REPOSITORY, Backend
from support.examine import examined
from support.run import avscan
from support.samples import EICAR, pack, signatures, tar

from avscan.archives.bounds import Bounds
from avscan.clamav.clamscan import Clamscan
from avscan.errors import EngineError

# Two programs in which the same signature matches.
GOOD = b"a helper program " + EICAR + b" of a game"
BAD = b"malware " + EICAR + b" in the same game"
FINE = b"a game"
CHEAT = b"some cheat tool 0123456789"
NAME = "Eicar-Test-Signature.UNOFFICIAL"

Scan = Callable[..., list[tuple[str, str]]]


def allow(content: bytes) -> str:
    """Return the line of a `.sfp` file that lets a content through."""
    return f"{hashlib.sha256(content).hexdigest()}:{len(content)}:let-through\n"


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Return a function that examines a sample beside signature files of the operator's own."""
    workspace = tmp_path.resolve() / "work"
    workspace.mkdir()
    database = signatures(tmp_path / "signatures")

    def see(sample: bytes, **files: str) -> list[tuple[str, str]]:
        for ending, text in files.items():
            (database / f"local.{ending}").write_text(text)
        (artifact := workspace / "artifact").write_bytes(sample)
        with Clamscan(program="clamscan", workspace=workspace, database=database) as engine:
            found = examined(artifact, engine=engine, workspace=workspace, bounds=Bounds())
        assert not found.errors
        return [(sighting.signature, sighting.member) for sighting in found.sightings]

    return see


# -- one file, by its SHA-256 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "sample",
    [
        GOOD,
        tar([("good.exe", GOOD)], "gz"),
        pack([("good.exe", GOOD)]),
        tar([("inner.zip", pack([("good.exe", GOOD)]))], "gz"),
        tar([("inner.tar.gz", tar([("good.exe", GOOD)], "gz"))], "gz"),
    ],
    ids=["itself", "tar.gz", "zip", "zip in tar.gz", "tar.gz in tar.gz"],
)
def test_a_file_is_let_through_wherever_it_is(scan: Scan, sample: bytes) -> None:
    assert scan(sample)
    assert scan(sample, sfp=allow(GOOD)) == []


def test_other_members_are_still_found(scan: Scan) -> None:
    sample = tar([("good.exe", GOOD), ("bad.exe", BAD), ("fine.txt", FINE)], "gz")
    assert scan(sample) == [(NAME, "good.exe"), (NAME, "bad.exe")]
    assert scan(sample, sfp=allow(GOOD)) == [(NAME, "bad.exe")]


def test_other_members_of_a_zip_are_still_found(scan: Scan) -> None:
    sample = pack([("good.exe", GOOD), ("bad.exe", BAD)])
    assert scan(sample, sfp=allow(GOOD)) == [(NAME, "")]


def test_a_file_that_changed_is_found_again(scan: Scan) -> None:
    sample = tar([("good.exe", GOOD + b"!")], "gz")
    assert scan(sample, sfp=allow(GOOD)) == [(NAME, "good.exe")]


@pytest.mark.parametrize(
    "container",
    [tar([("good.exe", GOOD)]), pack([("good.exe", GOOD)], zipfile.ZIP_STORED)],
    ids=["tar", "zip"],
)
def test_a_container_that_holds_the_file_as_it_is_needs_its_hash_too(
    scan: Scan, container: bytes
) -> None:
    assert scan(container, sfp=allow(GOOD)) == [(NAME, "")]
    assert scan(container, sfp=allow(GOOD) + allow(container)) == []


@pytest.mark.parametrize(
    ("archive", "found"),
    [
        (tar([("bad.exe", BAD)], "gz"), [(NAME, "bad.exe")]),
        (tar([("bad.exe", BAD)]), [(NAME, "bad.exe")]),
        (pack([("bad.exe", BAD)]), []),
    ],
    ids=["tar.gz", "tar", "zip"],
)
def test_the_hash_of_an_archive_lets_its_members_through_only_in_a_zip(
    scan: Scan, archive: bytes, found: list[tuple[str, str]]
) -> None:
    assert scan(archive)
    assert scan(archive, sfp=allow(archive)) == found


def test_a_build_is_clean_after_the_documented_steps(backend: Backend, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "false-positives.md").read_text(encoding="utf-8")
    steps = page.partition("<!-- allow-file -->\n```sh\n")[2].partition("```")[0]
    game = tar([("bin/helper.exe", GOOD), ("game.txt", FINE)], "gz")
    build = backend.upload({"game.tar.gz": game})
    database = signatures(tmp_path / "signatures")
    env = backend.environment(SIGNATURE_DIR=str(database))
    assert avscan("run", env=env).code == 0
    assert backend.status_of(build) == "infected"
    assert f"found: {NAME} in bin/helper.exe" in avscan("history", build, env=env).out

    (tmp_path / "game.tar.gz").write_bytes(game)
    subprocess.run(["/bin/sh", "-ec", steps], cwd=tmp_path, check=True)
    (tmp_path / "local.sfp").rename(database / "local.sfp")
    assert avscan("rescan", build, env=env).code == 0
    assert avscan("run", env=env).code == 0
    assert backend.status_of(build) == "clean"


# -- one signature --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "line", "name"),
    [
        ("ndb", f"Own.Cheat:0:*:{CHEAT.hex()}\n", "Own.Cheat"),
        ("yar", 'rule Own_Cheat { strings: $a = "cheat" condition: $a }\n', "Own_Cheat"),
    ],
)
def test_a_signature_is_ignored_by_its_name(scan: Scan, ending: str, line: str, name: str) -> None:
    sample = tar([("cheat.exe", CHEAT), ("bad.exe", BAD)], "gz")
    assert len(scan(sample, **{ending: line})) == 2
    assert scan(sample, **{ending: line}, ign2=f"{name}\n") == [(NAME, "bad.exe")]


# -- signatures of the operator's own -------------------------------------------------------------

RULE = """rule Own_Cheat
{
    strings:
        $name = "CHEAT tool" nocase
        $bytes = { 30 31 ?? 33 }
    condition:
        all of them
}
"""


@pytest.mark.parametrize(
    ("ending", "text", "name"),
    [
        ("ndb", f"Own.Cheat:0:*:{b'cheat tool'.hex()}\n", "Own.Cheat.UNOFFICIAL"),
        (
            "hdb",
            f"{hashlib.md5(CHEAT).hexdigest()}:{len(CHEAT)}:Own.Cheat\n",
            "Own.Cheat.UNOFFICIAL",
        ),
        (
            "hsb",
            f"{hashlib.sha256(CHEAT).hexdigest()}:{len(CHEAT)}:Own.Cheat\n",
            "Own.Cheat.UNOFFICIAL",
        ),
        ("yar", RULE, "YARA.Own_Cheat.UNOFFICIAL"),
    ],
)
def test_a_signature_of_ones_own_finds_a_member(
    scan: Scan, ending: str, text: str, name: str
) -> None:
    sample = tar([("cheat.exe", CHEAT), ("fine.txt", FINE)], "gz")
    assert scan(sample) == []
    assert scan(sample, **{ending: text}) == [(name, "cheat.exe")]


def test_a_file_may_be_let_through_by_its_hash_past_a_rule_of_ones_own(scan: Scan) -> None:
    sample = tar([("cheat.exe", CHEAT)], "gz")
    assert scan(sample, yar=RULE, sfp=allow(CHEAT)) == []


@pytest.mark.parametrize(
    ("ending", "text"), [("sfp", f"\n{allow(GOOD)}"), ("ndb", "Own.Cheat:0\n"), ("hsb", "12:x\n")]
)
def test_a_malformed_file_ends_the_pass(scan: Scan, ending: str, text: str) -> None:
    with pytest.raises(EngineError, match=f"local.{ending}"):
        scan(FINE, **{ending: text})


def test_a_malformed_rule_is_skipped(scan: Scan) -> None:
    broken = RULE + "rule Broken { condition: }\n"
    found = scan(tar([("cheat.exe", CHEAT)], "gz"), yar=broken)
    assert found == [("YARA.Own_Cheat.UNOFFICIAL", "cheat.exe")]
