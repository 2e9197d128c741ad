"""The real clamscan with a small signature folder, and a fake one that misbehaves."""

from __future__ import annotations

import signal
import subprocess
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import fake_clamscan
from support.processes import children
from support.samples import sparse
from support.signatures import (
    EICAR,
    EICAR_NAME,
    SAMPLE_NAME,
    SAMPLES,
    write_official,
    write_signatures,
)

from avscan.archives.unsupported import UNSUPPORTED
from avscan.clamav import canary, clamscan, feed
from avscan.clamav import program as programs
from avscan.clamav import signatures as sets
from avscan.clamav.program import MAX_FILE_SIZE, Limits
from avscan.clamav.transcript import EngineVersion
from avscan.errors import EngineError
from avscan.findings import Findings

MANY = 3_000


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def signatures(tmp_path: Path) -> Path:
    return write_signatures(tmp_path / "signatures")


@pytest.fixture
def harmless(workspace: Path) -> Path:
    return write(workspace, b"nothing to see here")


class Clamscan(clamscan.Clamscan):
    def scan(self, path: Path) -> Findings:
        """Scan one file, if no other is submitted."""
        self.submit(path)
        return self.collect()


def write(workspace: Path, content: bytes, name: str = "a1") -> Path:
    path = workspace / name
    path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def real(workspace: Path, signatures: Path, **options: object) -> Clamscan:
    return Clamscan(program="clamscan", workspace=workspace, database=signatures, **options)  # type: ignore[arg-type]  # options of several types


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# --- with the real clamscan ---


def test_one_process_scans_all(workspace: Path, signatures: Path, harmless: Path) -> None:
    infected = write(workspace, EICAR, "a2")
    empty = write(workspace, b"", "a3")
    with real(workspace, signatures) as engine:
        assert engine.scan(harmless).clean
        assert engine.scan(infected) == Findings(signatures=(EICAR_NAME,))
        assert engine.scan(empty).clean
        assert engine.scan(harmless).clean
    assert names(workspace) == ["a1", "a2", "a3", "clamscan"]


def test_every_container_of_clamav_s_samples_is_opened(workspace: Path, signatures: Path) -> None:
    unpacked = {}
    with real(workspace, signatures) as engine:
        for sample in sorted(SAMPLES.iterdir()):
            path = write(workspace, sample.read_bytes())
            unpacked[sample.name] = engine.scan(path).signatures == (SAMPLE_NAME,)
    for name in ("clam.exe", "clam.zip", "clam.tar.gz", "clam.7z", "clam.cab", "clam-upx.exe"):
        assert unpacked[name], name


@pytest.mark.slow
@pytest.mark.parametrize(
    "write_large",
    [
        lambda path: sparse(path, 150_000_000, EICAR),
        lambda path: zipped(path, large=bytes(110_000_000) + EICAR),
        lambda path: zipped(path, **{f"m{n:05}": b"%d" % n for n in range(10_500)}, zz=EICAR),
    ],
    ids=["a large file", "a large member", "many members"],
)
def test_all_is_scanned(
    workspace: Path, signatures: Path, write_large: Callable[[Path], Path]
) -> None:
    with real(workspace, signatures) as engine:
        findings = engine.scan(write_large(workspace / "a1"))
        assert findings == Findings(signatures=(EICAR_NAME,))


@pytest.mark.slow
def test_long_html_is_scanned(workspace: Path, signatures: Path) -> None:
    (signatures / "html.ndb").write_text(f"Html-Test:0:*:{b'a-marker-in-the-page'.hex()}\n")
    page = b"<html><head></head><body>" + b"<p>some text, and more</p>\n" * 1_700_000
    path = write(workspace, page + b"a-marker-in-the-page</body></html>")
    assert path.stat().st_size > 40 * 1024**2
    with real(workspace, signatures) as engine:
        assert engine.scan(path).signatures == ("Html-Test.UNOFFICIAL",)


def test_an_exceeded_limit_is_reported(workspace: Path, signatures: Path) -> None:
    path = write(workspace, b"x" * 20_000)
    with real(workspace, signatures, limits=Limits(file_size=10_000)) as engine:
        assert engine.scan(path) == Findings(limits=("MaxFileSize",))


def test_exceeded_nesting_is_reported(workspace: Path, signatures: Path) -> None:
    path = zipped(workspace / "b0", eicar=EICAR)
    for level in range(1, 12):
        path = zipped(workspace / f"b{level}", nested=path.read_bytes())
    with real(workspace, signatures) as engine:
        assert engine.scan(path).signatures == (EICAR_NAME,)
    with real(workspace, signatures, limits=Limits(recursion=8)) as engine:
        assert engine.scan(path) == Findings(limits=("MaxRecursion",))


# One file member, `x`, encrypted by the old zip cipher; only its headers matter.
ENCRYPTED = bytes.fromhex(
    "504b03040a000900000000002100000000001000000004000000010000007800112233445566778899aabbcc"
    "ddeeff504b01021e030a000900000000002100000000001000000004000000010000000000000001000000a4"
    "810000000078504b050600000000010001002f0000002f0000000000"
)


def test_encrypted_content_is_reported(workspace: Path, signatures: Path) -> None:
    path = write(workspace, ENCRYPTED)
    with real(workspace, signatures) as engine:
        assert engine.scan(path) == Findings(opaque=("Encrypted.Zip",))


# Two blocks with the same MD5 (Marc Stevens, 2012), the key of the cache of clamscan before 1.5.
TWINS = [
    bytes.fromhex(
        "4dc968ff0ee35c209572d4777b721587d36fa7b21bdc56b74a3dc0783e7b9518"
        f"afbfa2{middle}a8284bf36e8e4b55b35f427593d849676da0d1{end}5d8360fb5f07fea2"
    )
    for middle, end in [("00", "55"), ("02", "d5")]
]


def test_a_format_that_it_cannot_open_is_reported(workspace: Path, signatures: Path) -> None:
    with real(workspace, signatures) as engine:
        for magic, name in UNSUPPORTED.items():
            found = engine.scan(write(workspace, magic + b" and more of it"))
            assert found == Findings(unopened=(name,))
            inside = engine.scan(zipped(workspace / "a2", one=b"x", two=magic + b" and more"))
            assert name in inside.unopened


def test_a_harmless_file_of_the_same_md5_hides_nothing(workspace: Path, signatures: Path) -> None:
    good, evil = TWINS
    (signatures / "twin.ndb").write_text(f"Twin:0:*:{evil[16:48].hex()}\n")
    with real(workspace, signatures) as engine:
        assert engine.scan(write(workspace, good, "a1")).clean
        assert engine.scan(write(workspace, evil, "a2")).signatures == ("Twin.UNOFFICIAL",)


def test_a_missing_file_is_an_error(workspace: Path, signatures: Path, harmless: Path) -> None:
    with real(workspace, signatures) as engine:
        findings = engine.scan(workspace / "nowhere")
        assert findings.errors
        assert str(workspace) not in str(findings)
        assert engine.scan(harmless).clean


def test_a_temporary_folder_that_cannot_be_written(
    tmp_path: Path, workspace: Path, signatures: Path, harmless: Path
) -> None:
    program = write(tmp_path, b'#!/bin/sh\nrmdir tmp\nexec clamscan "$@"\n', "clamscan")
    program.chmod(0o755)
    with Clamscan(program=str(program), workspace=workspace, database=signatures) as engine:
        with pytest.raises(EngineError) as error:
            engine.scan(harmless)
        assert str(error.value) == (
            "clamscan does not find its canary: LibClamAV Error: Can't create temporary directory "
            "for scan: a temporary file (can the work folder be written, has it room?)"
        )


def test_a_temporary_folder_that_vanishes_is_an_error_of_the_engine(
    workspace: Path, signatures: Path, harmless: Path
) -> None:
    with real(workspace, signatures) as engine:
        assert engine.scan(harmless).clean
        (folder,) = workspace.glob("clamscan/tmp")
        folder.rmdir()
        with pytest.raises(EngineError, match="Can't create temporary directory"):
            engine.scan(zipped(workspace / "a2", eicar=EICAR))


def test_a_vanished_work_folder_is_an_error_of_the_engine_at_once(
    workspace: Path, signatures: Path, harmless: Path
) -> None:
    with real(workspace, signatures) as engine:
        engine.scan(harmless)
        (folder,) = workspace.glob("clamscan")
        for path in folder.iterdir():
            path.rename(workspace / path.name)
        with pytest.raises(EngineError, match="lost its work folder"):
            engine.scan(harmless)


def no_signatures(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def no_folder(folder: Path) -> None:
    no_signatures(folder)
    folder.rmdir()


def malformed(folder: Path) -> None:
    (folder / "broken.ndb").write_text("rubbish\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_signatures, "No supported database files found"),
        (no_folder, "No such file or directory"),
        (malformed, "Malformed database"),
        (
            lambda folder: write_official(folder, number=1, built=1),
            "Can't verify database integrity",
        ),
    ],
    ids=["empty", "missing", "malformed", "unsigned"],
)
def test_broken_signatures(
    workspace: Path, signatures: Path, harmless: Path, damage: object, words: str
) -> None:
    assert callable(damage)
    damage(signatures)
    with real(workspace, signatures) as engine:
        with pytest.raises(EngineError, match=words) as error:
            engine.scan(harmless)
        assert f"look at {signatures} (freshclam" in str(error.value)
        assert "\n" not in str(error.value)


def test_signatures_without_eicar(workspace: Path, signatures: Path, harmless: Path) -> None:
    (signatures / "eicar.ndb").unlink()
    with real(workspace, signatures) as engine, pytest.raises(EngineError, match="set CANARY_FILE"):
        engine.scan(harmless)


def test_a_canary_file_of_the_operator(
    workspace: Path, signatures: Path, harmless: Path, tmp_path: Path
) -> None:
    (signatures / "eicar.ndb").unlink()
    with real(workspace, signatures, canary=SAMPLES / "clam.exe") as engine:
        assert engine.scan(harmless).clean
    other = write(tmp_path, b"unknown", "canary")
    with (
        real(workspace, signatures, canary=other) as engine,
        pytest.raises(EngineError, match="CANARY_FILE must be a file that the signatures know"),
    ):
        engine.scan(harmless)
    with (
        pytest.raises(EngineError, match="CANARY_FILE can't be read"),
        real(workspace, signatures, canary=tmp_path / "nowhere"),
    ):
        pass


def test_a_path_that_does_not_fit_a_line(workspace: Path, signatures: Path) -> None:
    with real(workspace, signatures) as engine:
        for name in ("x" * 1000, "a\nb"):
            with pytest.raises(EngineError, match="path"):
                engine.scan(workspace / name)


def test_the_version(signatures: Path, tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    version = programs.version("clamscan", signatures)
    assert version == EngineVersion(engine=version.engine)
    assert sets.age(version, now) is None
    built = datetime(2026, 11, 23, 9, 22, tzinfo=UTC)
    daily = write_official(tmp_path / "daily", number=27800, built=int(built.timestamp()))
    version = programs.version("clamscan", daily)
    assert version == EngineVersion(engine=version.engine, signatures=27800, date=built)
    assert sets.age(version, now) == timedelta(hours=14, minutes=38)


@pytest.mark.parametrize("program", ["no-such-program", "/etc/passwd"])
def test_a_program_that_is_missing(workspace: Path, program: str) -> None:
    with pytest.raises(EngineError, match="missing or not executable"):
        programs.version(program, workspace)
    with (
        pytest.raises(EngineError, match="missing or not executable"),
        Clamscan(program=program, workspace=workspace, database=workspace),
    ):
        pass


def test_a_program_that_is_not_clamscan(workspace: Path, harmless: Path) -> None:
    with pytest.raises(EngineError, match="does not print a version"):
        programs.version("true", workspace)
    with (
        Clamscan(program="true", workspace=workspace, database=workspace) as engine,
        pytest.raises(EngineError, match="ended with exit code 0 while it loaded"),
    ):
        engine.scan(harmless)


def test_a_work_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EngineError, match="work folder can't be written: Not a directory"),
        Clamscan(program="clamscan", workspace=tmp_path / "file", database=tmp_path),
    ):
        pass


def test_a_program_that_the_kernel_refuses(tmp_path: Path, workspace: Path) -> None:
    program = write(tmp_path, b"#!/no/such/interpreter\n", "clamscan")
    program.chmod(0o755)
    with (
        pytest.raises(EngineError, match=r"clamscan can't be started: No such file"),
        Clamscan(program=str(program), workspace=workspace, database=workspace),
    ):
        pass


def test_the_end_of_the_context_ends_the_process(workspace: Path, signatures: Path) -> None:
    before = children()
    with real(workspace, signatures):
        assert len(children()) == len(before) + 1
    assert children() == before


def test_how_a_process_ended() -> None:
    assert programs.ending(2) == "ended with exit code 2"
    assert programs.ending(-signal.SIGSEGV) == "was killed by SIGSEGV"
    assert programs.ending(-signal.SIGRTMIN - 1) == f"was killed by signal {signal.SIGRTMIN + 1}"


# --- with one that misbehaves ---


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("die:SIGSEGV", "clamscan was killed by SIGSEGV"),
        ("exit:3", "clamscan ended with exit code 3"),
        ("ok-die", "clamscan was killed by SIGKILL"),  # its line was incomplete
    ],
)
def test_a_death_is_an_error_and_no_finding(
    tmp_path: Path, harmless: Path, step: str, words: str
) -> None:
    with fake(tmp_path, "find", step) as engine, pytest.raises(EngineError, match=words):
        engine.scan(harmless)


def test_a_death_on_the_second_canary_is_an_error(tmp_path: Path, harmless: Path) -> None:
    with (
        fake(tmp_path, "find", "say:PATH: broken ERROR", "die:SIGSEGV") as engine,
        pytest.raises(EngineError, match="was killed by SIGSEGV"),
    ):
        engine.scan(harmless)


def fake(folder: Path, *steps: str, **options: object) -> Clamscan:
    program = fake_clamscan.script(folder, *steps)
    return Clamscan(
        program=str(program),
        workspace=folder / "work",
        database=folder,
        **options,  # type: ignore[arg-type]  # options of several types
    )


def test_ok_for_everything_is_not_believed(tmp_path: Path, harmless: Path) -> None:
    with fake(tmp_path, "ok") as engine, pytest.raises(EngineError, match="lack the EICAR test"):
        engine.scan(harmless)


@pytest.mark.parametrize(
    "line", ["Heuristics.Limits.Exceeded.MaxFiles", "Heuristics.Encrypted.Zip"]
)
def test_an_alert_that_is_no_signature_is_no_canary(
    tmp_path: Path, harmless: Path, line: str
) -> None:
    with fake(tmp_path, f"find:{line}") as engine, pytest.raises(EngineError, match="its canary"):
        engine.scan(harmless)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["load-die:SIGKILL"], "mostly memory is short"),
        (["load-die:SIGSEGV"], "was killed by SIGSEGV while it loaded its signatures"),
        (["load-exit:2"], "ended with exit code 2 while it loaded its signatures: no error line"),
        (["die:SIGABRT"], "was killed by SIGABRT while it loaded its signatures"),
        (["say:ERROR: out of luck", "exit:2"], "out of luck"),
    ],
)
def test_a_death_before_the_canary_is_found(
    tmp_path: Path, harmless: Path, steps: list[str], words: str
) -> None:
    with fake(tmp_path, *steps) as engine, pytest.raises(EngineError, match=words):
        engine.scan(harmless)


def test_errors_are_about_the_file_if_the_canary_is_found_again(
    tmp_path: Path, harmless: Path
) -> None:
    with fake(tmp_path, "find", "say:PATH: broken ERROR", "find", "ok") as engine:
        assert engine.scan(harmless) == Findings(errors=("broken ERROR",))
        assert engine.scan(harmless).clean


def test_errors_are_about_the_engine_if_the_canary_is_not_found_again(
    tmp_path: Path, harmless: Path
) -> None:
    with (
        fake(tmp_path, "find", "say:PATH: broken ERROR", "ok") as engine,
        pytest.raises(EngineError, match="its canary"),
    ):
        engine.scan(harmless)


def test_answers_come_in_the_order_of_what_was_submitted(tmp_path: Path, harmless: Path) -> None:
    """After an error the canary is submitted, behind the files that were submitted before."""
    steps = ("find", "say:PATH: broken ERROR", "find:Worm", "ok", "find", "find:Trojan")
    with fake(tmp_path, *steps) as engine:
        for _ in range(3):
            engine.submit(harmless)
        assert engine.collect() == Findings(errors=("broken ERROR",))
        engine.submit(harmless)
        assert engine.collect() == Findings(signatures=("Worm",))
        assert engine.collect().clean
        assert engine.collect() == Findings(signatures=("Trojan",))


def test_a_death_is_an_error_for_all_submitted_files(tmp_path: Path, harmless: Path) -> None:
    with fake(tmp_path, "find", "find:Worm", "die:SIGSEGV") as engine:
        for _ in range(3):
            engine.submit(harmless)
        assert engine.collect() == Findings(signatures=("Worm",))
        with pytest.raises(EngineError, match="SIGSEGV"):
            engine.collect()


def test_an_endless_transcript_is_bounded(
    tmp_path: Path, harmless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TRANSCRIPT_LENGTH", 1000)
    with fake(tmp_path, "find", f"flood:{MANY}", f"noise:{MANY}", "find", "ok") as engine:
        assert engine.scan(harmless) == Findings(signatures=("Name-of-a-virus",))
        (*_, error) = engine.scan(harmless).errors
        assert error.startswith("clamscan printed ")
        assert error.endswith(" bytes more than are kept")
        assert engine.scan(harmless).clean


def test_clamscan_accepts_its_options_without_a_warning(workspace: Path, signatures: Path) -> None:
    """It warns above its limit of a file's size, and if RLIMIT_FSIZE is below the option."""
    path = canary.pack(workspace, None)
    options = Limits().options()
    done = subprocess.run(
        ["clamscan", f"--database={signatures}", *options, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "WARNING" not in done.stdout + done.stderr
    assert f"--max-filesize={MAX_FILE_SIZE}" in options


def test_an_answer_in_pieces(
    tmp_path: Path, harmless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHUNK", 1)
    with fake(tmp_path, "find", "noise:5", "find:Worm") as engine:
        assert engine.scan(harmless).clean
        assert engine.scan(harmless) == Findings(signatures=("Worm",))
