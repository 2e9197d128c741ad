"""Small members that are shown to clamscan together, and files that are shown ahead of its answers."""

from __future__ import annotations

import io
import tarfile
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examine import OneByOne, examined
from support.samples import EICAR, HASHED, Compression, signatures, tar

from avscan.archives.bounds import Account, Bounds
from avscan.archives.bundle import END, Bundle
from avscan.archives.pipeline import MOST_FILES, Pipeline
from avscan.clamav.clamscan import Clamscan
from avscan.findings import Examination, Findings, Sighting

EICAR_NAME = "Eicar-Test-Signature.UNOFFICIAL"
HASH_NAME = "Hash-Test-Signature.UNOFFICIAL"
BOUNDS = Bounds(reserve=0)
MARK = b"m" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (folder := tmp_path / "work").mkdir()
    return folder


@pytest.fixture
def clamscan(folder: Path, tmp_path: Path) -> Iterator[Clamscan]:
    database = signatures(tmp_path / "signatures")
    with Clamscan(program="clamscan", workspace=folder, database=database) as engine:
        yield engine


def look(data: bytes, engine: object, folder: Path) -> Examination:
    (path := folder / "artifact").write_bytes(data)
    examination = examined(path, engine=engine, workspace=folder, bounds=BOUNDS)
    assert not [*folder.glob("member-*")]
    return examination


def scripts(*odd: bytes) -> list[tuple[str, bytes]]:
    """Return two hundred small files, with the `odd` ones in the middle."""
    plain = [b"print(%d)\n" % number for number in range(200)]
    contents = [*plain[:100], *odd, *plain[100:]]
    return [(f"{number}.lua", content) for number, content in enumerate(contents)]


@given(st.lists(st.binary(max_size=2000)))
def test_a_bundle_is_a_tar_of_its_members(contents: list[bytes]) -> None:
    bundle = Bundle(MARK)
    for content in contents:
        bundle.add(content, lambda _: None)
    with tarfile.open(fileobj=io.BytesIO(bundle.tar())) as archive:
        files = [archive.extractfile(each) for each in archive]
        assert [file.read() for file in files if file] == [b"", *contents, MARK]


def test_a_finding_in_a_bundle_is_reported_for_its_member(clamscan: Clamscan, folder: Path) -> None:
    """A hash matches only a whole file: so each member was scanned as one."""
    forms: tuple[Compression, ...] = ("gz", "xz")
    for form in forms:
        assert set(look(tar(scripts(EICAR, HASHED), form), clamscan, folder).sightings) == {
            Sighting(signature=EICAR_NAME, member="100.lua"),
            Sighting(signature=HASH_NAME, member="101.lua"),
        }


HEADER = tar([("x", b"x")])[:512]


@pytest.mark.parametrize(
    "odd",
    [
        b"EFI PART" + bytes(600),
        bytes(600) + b"EFI PART",
        bytes(1024),
        bytes(5000),
        HEADER[:300],
        b"\0" + HEADER[1:400],
        b"GIF89a" + bytes(600),
        b"%PDF-1.4\n",
        b"MSCF" + bytes(100),
        b"\xff" * 511,
        MARK,
        b"<html>\0" + bytes(9),
    ],
)
def test_clamscan_scans_the_members_behind_any_content(
    clamscan: Clamscan, folder: Path, odd: bytes
) -> None:
    found = look(tar(scripts(odd, HASHED), "gz"), clamscan, folder)
    assert Sighting(signature=HASH_NAME, member="101.lua") in found.sightings


def test_a_match_across_members_is_no_finding(clamscan: Clamscan, folder: Path) -> None:
    """The member ends at a block, after 'X5O': the rest begins behind the next header."""
    padded = bytes(512 - 30) + EICAR[:30]
    assert look(tar(scripts(padded, EICAR[30:]), "gz"), clamscan, folder) == Examination()


class Forgetful(OneByOne):
    """Reports no end of a bundle, as if it had stopped before."""

    def __init__(self, answer: Findings) -> None:
        super().__init__()
        self.shown: list[bytes] = []
        self._answer = answer

    def submit(self, path: Path) -> None:
        data = path.read_bytes()
        self.shown.append(data)
        self._answers.append(self._answer if self.end_mark in data else Findings())


@pytest.mark.parametrize(
    "answer",
    [
        Findings(),
        Findings(unopened=(END,), errors=("no",)),
        Findings(unopened=(END,), limits=("MaxFiles",)),
        Findings(unopened=(END,), signatures=("Worm",)),
        Findings(unopened=(END, "zstd")),
    ],
)
def test_each_member_of_a_bundle_that_is_not_clean_is_shown_alone(
    folder: Path, answer: Findings
) -> None:
    engine = Forgetful(answer)
    assert look(tar([("a", b"aa"), ("b", b"bb")], "gz"), engine, folder) == Examination()
    assert engine.shown[1:] == [b"aa", b"bb"]


class Slow:
    """Answers only in `collect`, with the file's name."""

    end_mark = MARK

    def __init__(self) -> None:
        self.ahead: deque[str] = deque()
        self.most = 0

    def submit(self, path: Path) -> None:
        self.ahead.append(path.name)
        self.most = max(self.most, len(self.ahead))

    def collect(self) -> Findings:
        return Findings(signatures=(self.ahead.popleft(),))


@given(st.lists(st.integers(0, 3), max_size=40))
def test_each_file_gets_its_own_answer_and_few_files_are_ahead(waits: list[int]) -> None:
    engine = Slow()
    answers: list[tuple[str, ...]] = []
    pipeline = Pipeline(engine, Path(), Account(BOUNDS, Path()), ceiling=1 << 20)

    def note(asked: str, findings: Findings) -> None:
        answers.append((asked, *findings.signatures))

    for number, wait in enumerate(waits):
        ticket = pipeline.show(Path(f"{number}"), 1)
        ticket.then(partial(note, f"{number}"))
        if not wait:
            assert pipeline.wait(ticket) == Findings(signatures=(f"{number}",))
    pipeline.finish()
    assert pipeline.done
    assert answers == [(f"{number}", f"{number}") for number in range(len(waits))]
    assert engine.most <= MOST_FILES


def test_a_file_without_room_on_the_disk_waits_for_those_ahead(folder: Path) -> None:
    """Files that are shown ahead take room on the disk, which must not lead to an error."""
    engine = Slow()
    account = Account(BOUNDS, folder)
    pipeline = Pipeline(engine, folder, account, ceiling=1 << 20)
    pipeline.show(Path("0"), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account, "_free", lambda: 0 if engine.ahead else 100)
        account.keep(10)
    assert pipeline.done
