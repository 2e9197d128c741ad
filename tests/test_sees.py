"""What avscan sees, with the real clamscan: none of these may end clean.

Clamscan's defaults call every one of them `OK`, but for the smallest.
"""

from __future__ import annotations

import base64
import io
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.examine import examined
from support.images import IMAGES
from support.packed import CAB, ISO, NSIS, RAR_ENCRYPTED, SEVENZIP, SEVENZIP_BZIP2, SQUASHFS
from support.quine import quine
from support.samples import (
    EICAR,
    HASHED,
    MIB,
    Compression,
    compress,
    cpio,
    deb,
    encrypted_beside,
    gzip_bomb,
    large_tar_gz,
    nested,
    pack,
    signatures,
    sparse,
    swarm,
    tar,
    zip_of_unknown_length,
    zstd,
)

from avscan.archives.bounds import Bounds
from avscan.clamav.clamscan import Clamscan
from avscan.clamav.program import MAX_FILE_SIZE
from avscan.findings import Examination, Findings

NAME = "Eicar-Test-Signature"
GIB = 1024 * MIB
DEFAULT = Bounds()


@dataclass
class Eyes:
    """The real engine, and how much of the disk it was ever given at once."""

    engine: Clamscan
    workspace: Path
    folder: Path
    most: int = 0

    @property
    def end_mark(self) -> bytes:
        return self.engine.end_mark

    def submit(self, path: Path) -> None:
        self.most = max(self.most, sum(file.stat().st_size for file in self._members()))
        self.engine.submit(path)

    def collect(self) -> Findings:
        return self.engine.collect()

    def see(self, sample: bytes | Path, bounds: Bounds = DEFAULT) -> Examination:
        if isinstance(sample, bytes):
            (path := self.workspace / "artifact").write_bytes(sample)
        else:
            path = sample
        examination = examined(path, engine=self, workspace=self.workspace, bounds=bounds)
        path.unlink()
        assert not [*self._members()]
        return examination

    def _members(self) -> Iterator[Path]:
        return self.workspace.glob("member-*")


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eyes]:
    folder = tmp_path_factory.mktemp("sees").resolve()
    workspace = folder / "work"
    workspace.mkdir()
    with Clamscan(
        program="clamscan", workspace=workspace, database=signatures(folder / "signatures")
    ) as engine:
        yield Eyes(engine, workspace, folder)


def places(examination: Examination) -> list[str]:
    """Return the members in which a signature was found."""
    return [sighting.member for sighting in examination.sightings]


def test_the_ceiling_is_the_limit_of_clamscan() -> None:
    assert DEFAULT.ceiling == MAX_FILE_SIZE


@pytest.mark.slow
def test_a_file_of_150_mb(eyes: Eyes) -> None:
    assert places(eyes.see(sparse(eyes.workspace / "x", 150 * MIB, EICAR))) == [""]


@pytest.mark.slow
def test_a_small_zip_with_a_member_of_150_mb(eyes: Eyes) -> None:
    assert places(eyes.see(pack([("big.pak", bytes(150 * MIB) + EICAR)])))


@pytest.mark.slow
def test_a_zip_of_20000_files(eyes: Eyes) -> None:
    members = [(f"{number}.txt", b"%d" % number) for number in range(20_000)]
    assert places(eyes.see(pack([*members, ("last", EICAR)])))


def base_256() -> bytes:
    """Write a tar with a size in base 256."""
    data = bytearray(tar([("e.gz", inner := compress(EICAR, "gz"))]))
    data[124:136] = b"\x80" + len(inner).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


GZ = compress(EICAR, "gz")  # what is packed is seen only if it is unpacked
LZMA = pack([("e", EICAR)], zipfile.ZIP_LZMA)
SCRIPT = b"#!/bin/sh\ntail -n +3 $0 | base64 -d | tar x; exit\n"
SEEN = {
    "40 nested zips": (nested(40, EICAR), ""),
    "a tar.gz in a zip in a tar": (
        tar([("out.zip", pack([("in.tar.gz", tar([("x", b"x"), ("e.exe", EICAR)], "gz"))]))]),
        "out.zip/in.tar.gz/e.exe",
    ),
    "a deb": (deb(EICAR), "data.tar.xz/./usr/games/game"),
    "a tar.zst": (zstd(tar([("e.gz", GZ)])), "e.gz"),
    "a tar.zst in a tar.gz": (tar([("t.zst", zstd(tar([("e.gz", GZ)])))], "gz"), "t.zst/e.gz"),
    "a zip packed by bzip2": (pack([("e", EICAR)], zipfile.ZIP_BZIP2), "e"),
    "a zip packed by LZMA": (LZMA, "e"),
    "a zip packed by LZMA in a zip": (pack([("in.zip", LZMA)]), "in.zip/e"),
    "a zip written as a stream": (zip_of_unknown_length(b"e", bytes(3000) + EICAR), "e"),
    "a zip behind a picture in a tar.gz": (
        tar([("./a", b""), ("./p.png", b"\x89PNG" + bytes(99) + LZMA)], "gz"),
        "./p.png/e",
    ),
    "two bzip2 streams": (compress(b"x", "bz2") + compress(EICAR, "bz2"), ""),
    "a tar with a size in base 256": (base_256(), "e.gz"),
    "a tar that begins like a PDF": (tar([("%PDF-1.4", b"x"), ("e.gz", GZ)]), "e.gz"),
    "a whole file in a tar.gz": (tar([("./", b""), ("./x", b"x"), ("./e", HASHED)], "gz"), "./e"),
    "a tar.gz in a program in a tar.gz": (
        tar([("./", b""), ("./a.exe", b"MZ" + bytes(99) + tar([("e", HASHED)], "gz"))], "gz"),
        "./a.exe/(at byte 101)/e",
    ),
    "an NSIS installer packed as a whole by zlib": (
        b"MZ" + bytes(98) + NSIS,
        "(at byte 100)/$TEMP/h.txt",
    ),
    "base64 in a script": (
        SCRIPT + base64.encodebytes(tar([("./", b""), ("./h", HASHED)])),
        f"(at byte {len(SCRIPT)})/./h",
    ),
    "an AppImage": (
        b"\x7fELF\2\1\1\0AI\2".ljust(4096, b"\0") + SQUASHFS,
        "(at byte 4096)/z.exe",
    ),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_is_seen(eyes: Eyes, name: str) -> None:
    sample, place = SEEN[name]
    examination = eyes.see(sample)
    assert place in places(examination)
    assert not examination.errors
    assert not examination.opaque


def test_encrypted_beside_eicar(eyes: Eyes) -> None:
    examination = eyes.see(encrypted_beside(EICAR))
    assert places(examination)
    assert examination.opaque == ("encrypted: secret.bin",)


@pytest.mark.parametrize("first", ["GIF", "FWS", "%PDF-1.4", "070701", "Game"])
@pytest.mark.parametrize("compression", ["", "gz"])
def test_a_hash_signature_in_a_tar_that_begins_like_something_else(
    eyes: Eyes, first: str, compression: Compression
) -> None:
    data = tar([(first, b"EFI PART"), ("e", HASHED)], compression)
    assert {found.member for found in eyes.see(data).sightings} == {"e"}


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", ""])
@pytest.mark.parametrize(
    "program", ["MZ", "\x7fELF", "#!/bin/sh\n", "@echo off, and more text\r\n"]
)
def test_an_archive_behind_a_program_or_a_script(
    eyes: Eyes, program: str, compression: Compression
) -> None:
    front = program.encode().ljust(99, b" ")
    examination = eyes.see(front + tar([("e.gz", compress(EICAR, "gz"))], compression))
    assert "(at byte 99)/e.gz" in places(examination)
    assert not examination.errors
    assert not examination.opaque


def test_a_program_with_a_7z_that_clamscan_cannot_unpack(eyes: Eyes) -> None:
    assert eyes.see(b"MZ" + bytes(98) + SEVENZIP_BZIP2) == Examination()


def test_an_archive_in_the_middle_of_a_program(eyes: Eyes) -> None:
    for packed in (pack([("d/h", HASHED)], zipfile.ZIP_LZMA), tar([("d/h", HASHED)], "xz")):
        examination = eyes.see(b"MZ" + bytes(98) + packed + bytes(3000))
        assert any(place.endswith("d/h") for place in places(examination))


@pytest.mark.parametrize("front", ["", "MZ", "#!/bin/sh\n"])
@pytest.mark.parametrize("command", ["zstd", "lz4", "lzop", "compress", "lzip"])
def test_files_compressed_by_other_programs(
    eyes: Eyes, tmp_path: Path, command: str, front: str
) -> None:
    (tmp_path / "h").write_bytes(HASHED)
    lzip = "tar --use-compress-program=lzip -cf x h"
    line = lzip if command == "lzip" else f"bsdtar --{command} -cf x h"
    subprocess.run(line.split(), cwd=tmp_path, check=True)
    packed = (tmp_path / "x").read_bytes()
    program = Path("/bin/true").read_bytes() if front == "MZ" else front.encode()
    examination = eyes.see(program + packed)
    assert (f"(at byte {len(program)})/h" if front else "h") in places(examination)
    assert not examination.errors
    assert not examination.opaque


@pytest.mark.parametrize("command", ["7zz a -t7z -m0=PPMd", "7zz a -twim"])
def test_what_7_zip_packs(eyes: Eyes, tmp_path: Path, command: str) -> None:
    (tmp_path / "h").write_bytes(HASHED)
    subprocess.run([*command.split(), "x.bin", "h"], cwd=tmp_path, capture_output=True, check=True)
    packed = (tmp_path / "x.bin").read_bytes()
    for front in (b"", b"MZ" + bytes(98)):
        assert any(place.endswith("h") for place in places(eyes.see(front + packed)))


@pytest.mark.parametrize("name", sorted({*IMAGES} - {"MSI"}))
def test_an_image_of_a_disk(eyes: Eyes, name: str) -> None:
    examination = eyes.see(IMAGES[name])
    assert any(place.endswith("z.exe") for place in places(examination))
    assert not examination.errors
    assert not examination.opaque


def test_an_installer_for_windows(eyes: Eyes) -> None:
    assert any(place.endswith(".cab") for place in places(eyes.see(IMAGES["MSI"])))


def test_an_encrypted_rar(eyes: Eyes) -> None:
    assert eyes.see(RAR_ENCRYPTED) == Examination(opaque=("encrypted",))


def test_an_rpm(eyes: Eyes) -> None:
    """Its payload is a cpio, which clamscan opens."""
    lead = b"\xed\xab\xee\xdb" + bytes(92)
    assert places(eyes.see(lead + compress(cpio("e", EICAR), "xz"))) == ["(at byte 96)"]
    assert eyes.see(lead + compress(cpio("e", b"x"), "xz")) == Examination()
    assert eyes.see(lead + b"nothing that is known") == Examination(opaque=("rpm",))


def test_what_clamscan_cannot_open_in_what_only_it_opens(eyes: Eyes) -> None:
    noted = {"zip-lzma", "zstd"}
    assert {*eyes.see(CAB).opaque} == noted
    for wrapped in (pack([("d/x", CAB)]), tar([("./", b""), ("d/x", CAB)], "gz")):
        assert {*eyes.see(wrapped).opaque} == {f"{name}: d/x" for name in noted}


@pytest.mark.parametrize("packed", [SEVENZIP, ISO], ids=["7z", "ISO"])
def test_what_clamscan_cannot_open_in_what_7_zip_opens(eyes: Eyes, packed: bytes) -> None:
    for whole in (packed, pack([("d/x", packed)]), tar([("./", b""), ("d/x", packed)], "gz")):
        assert not eyes.see(whole).opaque


@pytest.mark.slow
def test_a_gzip_bomb_of_6_gb(eyes: Eyes) -> None:
    eyes.most = 0
    bounds = Bounds(unpacked_bytes=GIB)
    [line] = eyes.see(gzip_bomb(eyes.workspace / "x", 6 * GIB), bounds).errors
    assert line == f"cannot be scanned whole: more than {GIB} bytes unpacked"
    assert eyes.most <= GIB


def test_a_zip_that_contains_itself(eyes: Eyes) -> None:
    data = quine()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read(archive.namelist()[0]) == data
    [line] = eyes.see(data).errors
    assert line.endswith("cannot be scanned whole: more than 48 containers within one another")


@pytest.mark.slow
def test_endless_zips_in_zips(eyes: Eyes) -> None:
    examination = eyes.see(swarm(4, 12), Bounds(members=2000))
    assert any("more than 2000 members" in line for line in examination.errors)


def test_zips_nested_too_deeply(eyes: Eyes) -> None:
    examination = eyes.see(nested(120, EICAR))
    assert examination.errors


@pytest.mark.slow
def test_a_gzip_bomb_of_6_gb_within_the_real_bounds(eyes: Eyes) -> None:
    eyes.most = 0
    sample = gzip_bomb(eyes.workspace / "x", 6 * GIB)
    assert eyes.see(sample) == Examination(oversize=(f"{6 * GIB} bytes",))
    assert eyes.most <= MAX_FILE_SIZE


@pytest.mark.slow
def test_a_tar_gz_of_half_a_gb(eyes: Eyes) -> None:
    sample = large_tar_gz(eyes.workspace / "x", [256 * MIB, 256 * MIB], EICAR)
    assert places(eyes.see(sample)) == ["game/1.pak"]


@pytest.mark.xdist_group("large")
@pytest.mark.slow
def test_a_tar_gz_beyond_the_limit_of_clamscan(eyes: Eyes) -> None:
    sample = large_tar_gz(eyes.workspace / "x", [900 * MIB, 900 * MIB, 900 * MIB, 9], EICAR)
    examination = eyes.see(sample)
    assert places(examination) == ["game/3.pak"]
    assert not examination.errors


@pytest.mark.xdist_group("large")
@pytest.mark.slow
def test_a_member_beyond_the_limit_of_clamscan(eyes: Eyes) -> None:
    eyes.most = 0
    sample = large_tar_gz(eyes.workspace / "x", [2500 * MIB], EICAR)
    assert places(eyes.see(sample)) == ["game/0.pak"]
    assert eyes.most <= MAX_FILE_SIZE


@pytest.mark.xdist_group("large")
@pytest.mark.slow
def test_a_member_beyond_the_limit_of_clamscan_is_never_just_clean(eyes: Eyes) -> None:
    sample = large_tar_gz(eyes.workspace / "x", [2500 * MIB], b"the end")
    assert eyes.see(sample) == Examination(oversize=(f"game/0.pak: {2500 * MIB + 7} bytes",))
