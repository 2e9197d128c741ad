"""Formats that programs open. The same programs and others pack most of the samples."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import packed as samples
from support.examine import OneByOne, examined
from support.images import IMAGES
from support.packed import SQUASHFS
from support.processes import children
from support.samples import EICAR, pack, tar, zstd
from support.takeover import as_nobody

from avscan.archives import disks, extents, process, programs, registry, sevenzip
from avscan.archives import rar as rars
from avscan.archives.bounds import Account, Bounds, ExceededError
from avscan.archives.reader import HEAD, Archive, FileReader
from avscan.findings import Examination, Findings

BOUNDS = Bounds(unpacked_bytes=50_000_000, reserve=0)
NOISE = random.Random(1).randbytes(300_000)


@dataclass
class Engine(OneByOne):
    """Finds EICAR at the beginning of a file."""

    shown: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def scan(self, path: Path) -> Findings:
        self.shown.append(data := path.read_bytes())
        return Findings(signatures=("Eicar",) if data.startswith(EICAR) else ())


Look = Callable[..., Examination]
Packed = Callable[..., bytes]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Examine bytes, and check that nothing is left in the workspace."""
    (workspace := tmp_path / "work").mkdir()

    def look(data: bytes, bounds: Bounds = BOUNDS, engine: Engine | None = None) -> Examination:
        (path := tmp_path / "artifact").write_bytes(data)
        examination = examined(path, engine=engine or Engine(), workspace=workspace, bounds=bounds)
        assert not [*workspace.iterdir()]
        return examination

    return look


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """Run a command that packs three files, or a function of ours; `%` is the archive."""
    (folder := tmp_path / "files").mkdir()
    (folder / "a.txt").write_bytes(b"x" * 5000)
    (folder / "b.txt").write_bytes(NOISE)
    (folder / "z.exe").write_bytes(EICAR)

    def packed(command: str, *files: str, name: str = "archive.bin") -> bytes:
        if command in RARS:
            return RARS[command](*FILES)
        path = folder.parent / name
        files = files or ("a.txt", "b.txt", "z.exe")
        arguments = [part.replace("%", str(path)) for part in command.split()]
        subprocess.run([*arguments, *files], cwd=folder, check=True, capture_output=True)
        return path.read_bytes()

    return packed


def found(examination: Examination) -> list[str]:
    assert not examination.errors
    assert not examination.opaque
    return [sighting.member for sighting in examination.sightings]


def rar(*members: tuple[str, bytes]) -> bytes:
    """Store files in a rar of version 4 (technote.txt)."""

    def block(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
        rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest + data

    def file(name: str, data: bytes) -> bytes:
        sizes = (len(data), len(data), 3, zlib.crc32(data), 0, 20, 0x30, len(name), 0o100644)
        return block(0x74, 0x8000, struct.pack("<IIBIIBBHI", *sizes) + name.encode(), data)

    files = b"".join(file(*member) for member in members)
    return b"Rar!\x1a\x07\0" + block(0x73, 0, bytes(6)) + files + block(0x7B, 0x4000, b"")


def rar5(*members: tuple[str, bytes], flags: int = 0, extra: bytes = b"") -> bytes:
    """Store files in a rar of version 5; `extra` are records of each file."""

    def vint(number: int) -> bytes:
        data = bytearray()
        while number > 0x7F:
            data.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes([*data, number])

    def block(*numbers: int, body: bytes = b"", data: bytes = b"") -> bytes:
        rest = b"".join(map(vint, numbers)) + body
        rest = vint(len(rest)) + rest
        return struct.pack("<I", zlib.crc32(rest)) + rest + data

    def file(name: str, data: bytes) -> bytes:
        body = vint(4) + vint(len(data)) + vint(0o100644)
        body += struct.pack("<I", zlib.crc32(data)) + vint(0) + vint(1) + vint(len(name))
        body += name.encode() + extra
        if extra:
            return block(2, 3, len(extra), len(data), body=body, data=data)
        return block(2, 2, len(data), body=body, data=data)

    files = b"".join(file(*member) for member in members)
    return b"Rar!\x1a\x07\1\0" + block(1, 0, flags) + files + block(5, 0, 0)


_KEY = b"\x15\4\0\0\0\x0f" + bytes(16)  # a block of type 4: version, flags, rounds, salt
RAR5_ENCRYPTED_HEADERS = b"Rar!\x1a\x07\1\0" + struct.pack("<I", zlib.crc32(_KEY)) + _KEY + NOISE
FILES = (("a.txt", b"x" * 5000), ("b.txt", NOISE), ("z.exe", EICAR))


def lha(*members: tuple[str, bytes]) -> bytes:
    """Store files in an lha, with headers of level 0."""

    def crc(data: bytes) -> int:  # CRC-16/ARC
        value = 0
        for byte in data:
            value ^= byte
            for _ in range(8):
                value = value >> 1 ^ (0xA001 if value & 1 else 0)
        return value

    def file(name: str, data: bytes) -> bytes:
        sizes = struct.pack("<III", len(data), len(data), 0)
        rest = b"-lh0-" + sizes + b"\x20\0" + bytes([len(name)]) + name.encode()
        rest += struct.pack("<H", crc(data))
        return bytes([len(rest), sum(rest) & 0xFF]) + rest + data

    return b"".join(file(*member) for member in members) + b"\0"


RARS: dict[str, Callable[..., bytes]] = {"rar": rar, "rar5": rar5}
METHODS = ("LZMA", "LZMA2", "BZip2", "Deflate", "Deflate64", "PPMd", "Copy")
COMMANDS = [
    *(f"7zz a -t7z -m0={method} %" for method in METHODS),
    "7zz a -t7z -m0=Delta:4 -m1=LZMA %",
    "7zz a -t7z -m0=BCJ2 -m1=LZMA -m2=LZMA -m3=LZMA %",
    "7zz a -twim %",
    "bsdtar --format=xar -cf %",
    "bsdtar --format=iso9660 -cf %",
    *(f"bsdtar --{method} -cf %" for method in ("zstd", "lz4", "compress", "lzop")),
    "tar --use-compress-program=lzip -cf %",
    *RARS,
]
each_rar = pytest.mark.parametrize("pack_rar", RARS.values(), ids=RARS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_member_is_found(look: Look, packed: Packed, command: str) -> None:
    assert found(look(packed(command))) == ["z.exe"]


@each_rar
def test_a_rar_inside(look: Look, pack_rar: Callable[..., bytes]) -> None:
    assert found(look(b"MZ" + bytes(98) + pack_rar(*FILES))) == ["(at byte 100)/z.exe"]
    assert found(look(pack([("in.rar", pack_rar(*FILES))]))) == ["in.rar/z.exe"]


@pytest.mark.parametrize(
    ("data", "names", "sizes"),
    [
        (samples.RAR_COMPRESSED, 2, {5, 16}),
        (samples.RAR5_COMPRESSED, 1, {1200}),
        (samples.RAR5_SOLID, 4, {4096}),
    ],
)
def test_a_rar_of_real_packers(look: Look, data: bytes, names: int, sizes: set[int]) -> None:
    engine = Engine()
    assert look(data, engine=engine) == Examination()
    assert {len(shown) for shown in engine.shown[1:]} == sizes
    assert len(engine.shown[1:]) == names


def test_an_lha(look: Look) -> None:
    data = lha(("a.txt", b"x" * 5000), ("z.exe", EICAR))
    assert found(look(data)) == ["z.exe"]
    assert look(data[:-20]).errors
    damaged = bytearray(data)
    damaged[1000] ^= 1
    assert look(bytes(damaged)).errors


def test_an_app_image(look: Look) -> None:
    """Links that lead out of it are not followed, and no problem."""
    assert found(look(SQUASHFS)) == ["z.exe"]
    program = b"\x7fELF\2\1\1\0AI\2".ljust(4096, b"\0")
    assert found(look(program + SQUASHFS)) == ["(at byte 4096)/z.exe"]


def test_a_zip_in_a_7z(look: Look, packed: Packed, tmp_path: Path) -> None:
    (tmp_path / "files/in.zip").write_bytes(pack([("d/z.exe", EICAR)], zipfile.ZIP_LZMA))
    assert found(look(packed("7zz a -t7z %", "a.txt", "in.zip"))) == ["in.zip/d/z.exe"]


def test_a_single_file_is_compressed(look: Look, packed: Packed) -> None:
    assert found(look(zstd(EICAR))) == [""]
    assert found(look(zstd(EICAR[:9]) + zstd(EICAR[9:]))) == [""]
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"
    assert found(look(skipped + zstd(EICAR))) == [""]


def test_layers_are_opened_one_by_one(look: Look) -> None:
    text = b"#!/bin/sh\nbegin 644 x\n#0V%T\n`\nend\n"  # uuencoded: no program unpacks that too
    engine_sees = zstd(zstd(EICAR + text))
    assert found(look(engine_sees)) == [""]


def test_files_without_content_are_members(look: Look, packed: Packed, tmp_path: Path) -> None:
    (tmp_path / "files/empty").touch()
    for command in ("7zz a -t7z %", "bsdtar --format=xar -cf %"):
        assert look(packed(command, "empty", name=f"{command[4]}.bin")) == Examination()


def test_members_without_read_permission(look: Look, packed: Packed, tmp_path: Path) -> None:
    folder = tmp_path / "files/d"
    folder.mkdir()
    (folder / "z.exe").write_bytes(EICAR)
    (folder / "z.exe").chmod(0)
    folder.chmod(0o500)
    assert found(look(packed("7zz a -t7z %", "d"))) == ["d/z.exe"]


# Images of disks.


@pytest.mark.parametrize(
    ("name", "at", "magic"),
    [
        ("ISO", 32_768, b"\1CD001"),
        ("UDF", 34_816, b"\0BEA01\1\0"),
        ("DMG", -512, b"koly\0\0\0\4\0\0\2\0"),
        ("VHD", -512, b"conectix\0\0\0\2"),
        ("QCOW", 0, b"QFI\xfb\0\0\0\3"),
        ("VMDK", 0, b"KDMV\1\0\0\0"),
        ("GPT", 512, b"EFI PART\0\0\1\0"),
        ("MBR", 450, b"\x83" + bytes(3) + b"\1\0\0\0\1".ljust(510 - 454, b"\0") + b"\x55\xaa"),
        ("FAT", 54, b"FAT16   ".ljust(510 - 54, b"\0") + b"\x55\xaa"),
        ("NTFS", 3, b"NTFS    ".ljust(510 - 3, b"\0") + b"\x55\xaa"),
        ("ext", 1080, b"\x53\xef\1\0"),
        ("HFS", 1024, b"H+\0\4"),
    ],
)
def test_an_image_is_recognised(name: str, at: int, magic: bytes) -> None:
    data = bytearray(40_000)
    at %= len(data)
    data[at : at + len(magic)] = magic
    readers = registry.recognise(bytes(data[:HEAD]), io.BytesIO(data))
    assert [reader.name for reader in readers] == [name]


@pytest.mark.parametrize("name", sorted({*IMAGES} - {"UDF", "MSI"}))
def test_every_file_of_an_image_is_found(look: Look, name: str) -> None:
    [member] = found(look(IMAGES[name]))
    assert Path(member).name == "z.exe"


def test_both_file_systems_of_a_bridge_disc_are_read(look: Look) -> None:
    assert found(look(IMAGES["UDF"])) == ["Z.EXE", "z.exe"]


def test_the_boot_file_of_ntfs_is_no_disk() -> None:
    boot = b"\xeb\x52\x90NTFS    ".ljust(510, b"\0") + b"\x55\xaa" + bytes(8192 - 512)
    assert not registry.recognise(boot[:HEAD], io.BytesIO(boot))
    assert registry.recognise(boot[:HEAD], io.BytesIO(boot + bytes(512)))


def test_an_installer_for_windows(look: Look) -> None:
    """clamscan opens its cabinet."""
    engine = Engine()
    assert look(IMAGES["MSI"], engine=engine) == Examination()
    assert any(shown.startswith(b"MSCF") for shown in engine.shown)


def test_an_nsis_installer(look: Look) -> None:
    assert found(look(b"MZ" + bytes(98) + samples.NSIS)) == ["(at byte 100)/$TEMP/z.exe"]


@given(st.binary(max_size=2000))
def test_arbitrary_data_is_no_image(data: bytes) -> None:
    assert not any(recognise(io.BytesIO(data)) for recognise in disks.KINDS.values())


def test_7_zip_supports_each_kind_of_disk() -> None:
    formats = subprocess.run(["7zz", "i"], capture_output=True, text=True, check=True).stdout
    assert {kind.lower() for kind in disks.KINDS} <= {*formats.lower().split()}


def test_the_partitions_of_a_disk_are_opened(look: Look, packed: Packed) -> None:
    partition = packed("bsdtar --format=iso9660 -cf %")
    size = -(-len(partition) // 512)
    # 7-Zip 25 opens no table without addresses by cylinder, head and sector.
    table = struct.pack("<B3sB3sII", 0x80, b"\x20\x21\0", 0x0C, b"\xfe\xff\xff", 1, size)
    sector = bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"
    disk = sector + partition + bytes(-len(partition) % 512)
    assert [each.partition("/")[2] for each in found(look(disk))] == ["z.exe"]


@pytest.mark.parametrize(
    "entries",
    [
        b"",
        struct.pack("<B3xB3xII", 0x80, 0xEE, 1, 9),  # stands for a GPT
        struct.pack("<B3xB3xII", 0x12, 0x0C, 1, 9),
        struct.pack("<B3xB3xII", 0x80, 0x0C, 1, 1 << 20),
    ],
)
def test_the_magic_at_the_end_of_a_sector_is_no_table_of_partitions(entries: bytes) -> None:
    sector = bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa"
    assert not registry.recognise_end(io.BytesIO(sector + bytes(9000)))


# Archives that cannot be opened whole.


@pytest.mark.parametrize("arguments", ["-psecret", "-psecret -mhe=on"])
def test_what_is_encrypted_is_noted(look: Look, packed: Packed, arguments: str) -> None:
    data = packed(f"7zz a -t7z {arguments} %")
    assert look(data) == Examination(opaque=("encrypted",))


@pytest.mark.parametrize(
    "data",
    [
        samples.RAR_ENCRYPTED,
        samples.RAR_ENCRYPTED_IN_PART,
        samples.RAR_ENCRYPTED_HEADERS,
        rar5(("a.txt", NOISE), extra=b"\x30\1" + bytes(47)),
        RAR5_ENCRYPTED_HEADERS,
    ],
    ids=["rar", "rar, in part", "rar, headers", "rar5", "rar5, headers"],
)
def test_an_encrypted_rar_is_noted(look: Look, data: bytes) -> None:
    assert look(data) == Examination(opaque=("encrypted",))
    behind = Examination(opaque=("encrypted: (at byte 100)",))
    assert look(b"MZ" + bytes(98) + data) == behind


@pytest.mark.parametrize(
    "command",
    [
        "7zz a -t7z %",
        "7zz a -twim %",
        "bsdtar --format=xar -cf %",
        "bsdtar --zstd -cf %",
        "bsdtar --lz4 -cf %",
        "bsdtar --lzop -cf %",
        "tar --use-compress-program=lzip -cf %",
        *RARS,
    ],
)
def test_what_is_cut_short_is_an_error(look: Look, packed: Packed, command: str) -> None:
    data = packed(command)
    for size in (len(data) // 2, len(data) - 50):
        assert any("could not be opened whole" in line for line in look(data[:size]).errors)


def test_a_damaged_member_is_an_error(look: Look, packed: Packed) -> None:
    data = bytearray(packed("7zz a -t7z -m0=Copy %"))
    data[20_000] ^= 1
    assert "b.txt" in look(bytes(data)).errors[0]


def test_a_part_of_several_is_an_error(look: Look, packed: Packed, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        packed("7zz a -t7z -v100k %")
    assert look((tmp_path / "archive.bin.001").read_bytes()).errors


def test_a_part_of_a_rar_is_an_error(look: Look) -> None:
    line = "cannot be scanned whole: rar: a part of several"
    for part in (samples.RAR_PART, samples.RAR5_PART):
        assert line in look(part).errors
    assert line in look(rar5(*FILES, flags=1)).errors
    data = bytearray(rar(*FILES))
    data[10] |= 1
    data[7:9] = struct.pack("<H", zlib.crc32(data[9:20]) & 0xFFFF)
    assert line in look(bytes(data)).errors


@each_rar
def test_a_rar_that_ends_with_a_stored_zip(look: Look, pack_rar: Callable[..., bytes]) -> None:
    """If it got the file, bsdtar would open the zip, and not the rar."""
    data = pack_rar(("z.exe", EICAR), ("in.zip", pack([("a", b"x")])))
    assert found(look(data)) == ["z.exe"]


@each_rar
def test_data_behind_a_rar_are_an_error_and_opened(
    look: Look, pack_rar: Callable[..., bytes]
) -> None:
    hidden = pack([("e.exe", EICAR)], zipfile.ZIP_LZMA)
    examination = look(pack_rar(*FILES) + hidden)
    members = [sighting.member for sighting in examination.sightings]
    assert members == ["z.exe", "(behind the end)/e.exe"]
    assert examination.errors == ("cannot be scanned whole: rar: data behind the end",)
    behind_program = look(b"MZ" + bytes(98) + pack_rar(*FILES) + hidden)
    assert len(found(behind_program)) == 2


@given(st.sampled_from([rar(*FILES[::2]), rar5(*FILES[::2]), SQUASHFS[:200]]), st.data())
def test_an_extent_is_within_the_file_whatever_is_damaged(
    packed: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(packed[: data.draw(st.integers(20, len(packed)))])
    for at in data.draw(st.lists(st.integers(8, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    for extent in (
        rars.extent,
        extents.squashfs,
        extents.sevenzip,
        extents.zstd,
        extents.nsis,
        extents.base64,
    ):
        assert 0 <= extent(io.BytesIO(damaged), 0, len(damaged)) <= len(damaged)


def test_an_archive_without_members_is_an_error(look: Look) -> None:
    for data in (rar(), rar5()):
        assert look(data).errors == (
            "cannot be scanned whole: rar: could not be opened whole: no members",
        )


def test_data_behind_the_end_are_an_error_and_opened(look: Look, packed: Packed) -> None:
    examination = look(packed("7zz a -t7z %", "a.txt") + pack([("z.exe", EICAR)], zipfile.ZIP_LZMA))
    assert [sighting.member for sighting in examination.sightings] == ["(behind the end)/z.exe"]
    assert examination.errors == ("cannot be scanned whole: 7z: data behind the end",)


def test_a_rar_that_may_be_an_image_of_a_disk_is_an_error(look: Look) -> None:
    """bsdtar would read the image, and not the rar."""
    data = rar(("a", bytes(32_769 - 54) + b"CD001"))
    at = data.index(b"CD001")
    data = rar(("a", bytes(32_769 - 54 + 32_769 - at - 1) + b"\1CD001"))
    assert data[32_768:32_774] == b"\1CD001"
    assert "rar: another format at the same time" in look(data).errors[0]


def test_a_document_that_is_no_archive_is_clean(look: Look) -> None:
    assert look(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)) == Examination()


@pytest.mark.parametrize("name", ["rar", "7z", "zstd", "lz4"])
def test_where_a_program_is_missing_its_formats_are_noted(
    look: Look, packed: Packed, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    command = {"7z": "7zz a -t7z %", "lz4": "bsdtar --lz4 -cf %"}.get(name, name)
    data = zstd(NOISE) if name == "zstd" else packed(command)
    assert not programs.missing()
    monkeypatch.setitem(process.ENVIRONMENT, "PATH", "/nowhere")
    assert {"bsdtar", "7zz"} <= {*programs.missing()}
    assert look(data) == Examination(opaque=(name,))
    assert look(tar([("a", data)], "gz")) == Examination(opaque=(f"{name}: a",))


def test_a_compressed_file_is_shown_as_it_is_if_its_program_is_missing(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(process.ENVIRONMENT, "PATH", "/nowhere")
    monkeypatch.setattr(Engine, "scan", lambda *_: Findings(signatures=("Eicar",)))
    assert look(zstd(NOISE)).sightings


# Bounds.


BOMBS = ["7zz a -t7z %", "bsdtar --zstd -cf %", "bsdtar --format=xar -cf %"]


@pytest.mark.parametrize("command", BOMBS)
def test_too_many_bytes_are_an_error_and_end_the_program(
    look: Look, packed: Packed, tmp_path: Path, command: str
) -> None:
    with (tmp_path / "files/bomb").open("wb") as file:
        file.truncate(60_000_000)
    before = children()
    examination = look(packed(command, "bomb"))
    assert examination.errors[0].endswith("more than 50000000 bytes unpacked")
    assert children() == before


def test_a_full_disk_ends_the_extraction(
    look: Look, packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files/bomb").write_bytes(bytes(40_000_000))
    data = packed("7zz a -t7z %", "bomb")
    killed: list[process.Run] = []
    monkeypatch.setattr(process.Run, "failure", killed.append)

    def keep(account: Account, size: int) -> None:
        if size > 1_000_000:
            raise ExceededError("needs more than there is")

    monkeypatch.setattr(Account, "keep", keep)
    before = children()
    assert look(data).errors == ("cannot be scanned whole: needs more than there is",)
    assert not killed
    assert children() == before


def test_too_many_files_are_an_error(
    look: Look, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sevenzip, "MOST_FILES", 1)
    assert look(packed("7zz a -t7z %")).errors == (
        "cannot be scanned whole: more than 1 files in one archive",
    )


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace the programs by one that executes a command."""
    (folder := tmp_path / "programs").mkdir()

    def install(command: str) -> None:
        for name in ("7zz", "bsdtar"):
            (folder / name).write_text(f"#!/bin/sh\nexec {command}\n")
            (folder / name).chmod(0o700)
        monkeypatch.setitem(process.ENVIRONMENT, "PATH", f"{folder}:{os.defpath}")

    return install


def test_a_program_that_writes_without_end_is_ended(
    look: Look, install: Callable[[str], None]
) -> None:
    install("cat /dev/zero")
    before = children()
    for data in (rar(*FILES), zstd(NOISE)):
        assert look(data).errors[0].endswith("more than 50000000 bytes unpacked")
    assert children() == before


def test_messages_without_end_are_an_error(look: Look, install: Callable[[str], None]) -> None:
    install("cat /dev/zero >&2")
    assert "its messages are endless" in look(SQUASHFS).errors[0]


def test_a_format_that_the_installed_7_zip_does_not_know_is_noted(
    look: Look, install: Callable[[str], None]
) -> None:
    install("sh -c 'echo ERROR: Unsupported archive type : SquashFS >&2; exit 7'")
    unknown = "a format that the installed 7-Zip does not know"
    assert look(SQUASHFS) == Examination(opaque=(unknown,))


def test_no_members_and_no_message_are_an_error(look: Look, install: Callable[[str], None]) -> None:
    install("true")
    line = "cannot be scanned whole: squashfs: could not be opened whole: no members"
    assert look(SQUASHFS).errors[0] == line


def test_a_reader_that_is_closed_early_leaves_nothing(packed: Packed, tmp_path: Path) -> None:
    """Files that were shown ahead, which others account for, may be removed meanwhile."""
    (path := tmp_path / "a").write_bytes(data := packed("7zz a -t7z %"))
    [reader] = registry.recognise(data[:HEAD])
    assert isinstance(reader, FileReader)
    account = Account(BOUNDS, tmp_path)
    account.keep(1000)
    before = {*tmp_path.iterdir()}
    with path.open("rb") as file:
        archive = Archive(path=path, file=file, size=len(data), workspace=tmp_path, account=account)
        items = reader.members(archive)
        next(items)
        assert {*tmp_path.iterdir()} != before
        account.drop(1000)
        del items
    assert {*tmp_path.iterdir()} == before
    assert account.on_disk == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_works_within_the_limits_of_the_inspector(packed: Packed, command: str) -> None:
    """7-Zip starts threads for chains of methods, despite its option for one thread."""
    data = packed(command)
    code = f"""
class Engine(OneByOne):
    def scan(self, path):
        print("EICAR" * path.read_bytes().startswith({EICAR!r}), end="")
        return Findings()
folder = Path(tempfile.mkdtemp())
readable = confine.readable_paths("/usr/bin/clamscan", Path("/nowhere"), None)
(folder / "artifact").write_bytes(sys.stdin.buffer.read())
confine.confine(parent=os.getppid(), folder=folder, readable=readable, memory=1 << 30)
process.set_limit(confine.program_limits(confine.PROGRAM_MEMORY, 1 << 30, threads=True))
unpack.examine(
    folder / "artifact", engine=Engine(), workspace=folder, bounds=Bounds(), report=print
)
"""
    assert set(as_nobody(code, data).split("EICAR")) == {""}  # by each reader of the format


def test_the_limit_is_called_in_the_programs_process(look: Look, tmp_path: Path) -> None:
    called = tmp_path / "called"

    def limit() -> None:
        called.write_text(str(os.getpid()))

    process.set_limit(limit)
    try:
        assert found(look(rar(*FILES))) == ["z.exe"]
    finally:
        process.set_limit(None)
    assert called.read_text() != str(os.getpid())
