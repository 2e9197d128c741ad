"""A pass end to end: the command line, a real PocketBase and the real clamscan."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from support.backend import Backend
from support.run import Run, avscan, left_in
from support.samples import tar

from avscan.backend import journal
from avscan.clamav.canary import eicar
from avscan.data import SIGNATURES

TESTFILES = Path("/usr/share/clamav-testfiles")
TESTFILES_SIGNATURE = "aa15bcf478d165efd2065190eb473bcb:544:Clam-Test\n"
EICAR_NAME = "Eicar-Test-Signature.UNOFFICIAL"


def sweep(backend: Backend, *arguments: str, **settings: str) -> Run:
    done = avscan("run", "--full", *arguments, env=backend.environment(**settings))
    assert done.code == 0, done.err
    return done


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_gz(**members: bytes) -> bytes:
    return tar(members.items(), "gz")


@pytest.fixture
def testfiles_signatures(tmp_path: Path) -> Path:
    assert TESTFILES.is_dir(), "install Debian's package clamav-testfiles"
    folder = tmp_path / "signatures"
    folder.mkdir()
    for file in SIGNATURES.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "testfiles.hdb").write_text(TESTFILES_SIGNATURE)
    return folder


def test_each_kind_of_build_gets_its_verdict(every_backend: Backend) -> None:
    backend = every_backend
    expected = {
        backend.upload({"readme.txt": b"a game"}): "clean",
        backend.upload({"empty.dat": b""}): "clean",
        backend.upload({"virus.com": eicar()}): "infected",
        backend.upload({"game.zip": zipped(virus=eicar())}): "infected",
        backend.upload({"game.tar.gz": tar_gz(readme=b"a game", virus=eicar())}): "infected",
        backend.upload({"a.txt": b"a game", "b.com": eicar()}): "infected",
    }
    first = sweep(backend)
    assert {build: backend.status_of(build) for build in expected} == expected
    assert first.event("pass.finished")["scanned"] == len(expected)
    assert not left_in(backend.work_dir)

    second = sweep(backend)
    assert second.event("pass.finished")["scanned"] == 0
    assert second.event("pass.finished")["signatures"] is None
    assert {build: backend.status_of(build) for build in expected} == expected


def test_all_clamav_test_files_are_infected(backend: Backend, testfiles_signatures: Path) -> None:
    builds = {backend.upload({file.name: file}): file for file in TESTFILES.iterdir()}
    assert len(builds) == 44
    done = sweep(backend, SIGNATURE_DIR=str(testfiles_signatures))
    missed = [file.name for build, file in builds.items() if backend.status_of(build) != "infected"]
    assert not missed
    assert done.event("pass.finished")["infected"] == 44
    assert len(done.named("inspector.started")) == 1


def test_a_second_pass_starts_no_clamscan(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    sweep(backend)
    second = sweep(backend, CLAMSCAN_PATH="/does/not/exist")
    assert second.event("pass.finished")["scanned"] == 0


def test_an_idle_pass_sends_three_requests(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    sweep(backend)
    idle = avscan("run", env=backend.environment())
    assert idle.event("pass.finished")["requests"] == 3


def test_a_small_build_takes_five_requests(backend: Backend) -> None:
    """Create and claim its check, download its file, read it again, and write its verdict."""
    costs = []
    for builds in (2, 7):
        for number in range(builds):
            backend.upload({f"{number}.txt": b"a game"})
        done = avscan("run", "--full", env=backend.environment())
        costs.append(done.event("pass.finished")["requests"])
    assert costs[1] - costs[0] == 5 * 5


def test_an_old_build_without_a_check_is_found(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    backend.backdate("app_builds", build, updated="2020-01-01 00:00:00.000Z")
    avscan("run", env=backend.environment())
    assert backend.status_of(build) == "clean"


def test_an_infected_check_has_the_virus_the_file_and_the_engine(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game", "b.zip": zipped(virus=eicar())})
    sweep(backend)
    check = backend.check_of(build)
    clean, infected = sorted(backend.file_names(build))
    assert check["virus_name"] == EICAR_NAME
    assert check["scan_time"]
    entry = journal.read(check["log"])
    assert (entry.status, entry.files) == ("infected", journal.digest([clean, infected]))
    assert entry.reason == f"{EICAR_NAME} in {infected} (1 of 2 files)"
    assert entry.uploaded is not None
    assert entry.engine.startswith("ClamAV ")
    lines = check["log"].splitlines()
    assert lines[1].startswith("2 files, ")
    assert lines[2].startswith(f"infected  {infected}  ")
    assert EICAR_NAME in lines[3]
    assert lines[4].startswith(f"clean     {clean}  6 bytes  sha256 ")


def test_a_build_without_files_is_scanned_after_their_upload(backend: Backend) -> None:
    build = backend.create_empty_build()
    sweep(backend)
    assert not backend.checks_of(build)
    backend.replace_files(build, {"a.txt": b"a game"})
    sweep(backend)
    assert backend.status_of(build) == "clean"


def test_a_build_is_scanned_again_after_its_files_are_replaced(every_backend: Backend) -> None:
    backend = every_backend
    build = backend.upload({"a.txt": b"a game"})
    sweep(backend)
    assert backend.status_of(build) == "clean"
    backend.replace_files(build, {"a.txt": eicar()})
    sweep(backend)
    assert backend.status_of(build) == "infected"
    check = backend.check_of(build)
    assert 'clean: {"reason": "nothing found' in check["log"]


def test_an_edited_build_keeps_its_verdict(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    sweep(backend)
    before = backend.check_of(build)
    backend.edit(build, entrypoint="game.exe")
    sweep(backend)
    assert backend.check_of(build) == before


def test_a_false_positive_corrected_by_hand_stays_corrected(backend: Backend) -> None:
    build = backend.upload({"a.com": eicar()})
    sweep(backend)
    check = backend.check_of(build)
    backend.set_check(check["id"], status="clean", virus_name="")
    backend.edit(build, entrypoint="game.exe")
    sweep(backend)
    assert backend.status_of(build) == "clean"


def test_a_verdict_without_a_list_of_files_is_valid_until_the_build_is_updated(
    backend: Backend,
) -> None:
    build = backend.upload({"a.txt": b"a game"})
    backend.create_check(build, status="clean", log="by hand", scan_time="2100-01-01 00:00:00.000Z")
    sweep(backend)
    row = backend.check_of(build)
    assert row["log"] == "by hand"
    backend.set_check(row["id"], scan_time="2020-01-01 00:00:00.000Z")
    sweep(backend)
    row = backend.check_of(build)
    assert row["log"].startswith('clean: {"reason": "nothing found')
    assert "by hand" in row["log"]


def test_checks_created_by_other_programs_are_settled(backend: Backend) -> None:
    build = backend.upload({"a.com": eicar()})
    backend.create_check(build)
    backend.create_check(build)
    done = sweep(backend)
    assert [row["status"] for row in backend.checks_of(build)] == ["infected", "infected"]
    assert done.event("pass.finished")["scanned"] == 1


def test_an_unknown_status_is_not_changed(backend: Backend) -> None:
    definition = backend.json("GET", "/api/collections/av_build_checks")
    for field in definition["fields"]:
        if field["name"] == "status":
            field["values"].append("appealed")
    backend.json("PATCH", "/api/collections/av_build_checks", json={"fields": definition["fields"]})
    appealed = backend.upload({"a.com": eicar()})
    backend.create_check(appealed, status="appealed")
    other = backend.upload({"a.txt": b"a game"})
    sweep(backend)
    assert backend.status_of(appealed) == "appealed"
    assert backend.status_of(other) == "clean"


def test_an_abandoned_check_is_reclaimed_and_scanned(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    check = backend.create_check(build, status="scanning", log="scanning: claim 123 by gone")
    backend.backdate("av_build_checks", check, updated="2020-01-01 00:00:00.000Z")
    done = sweep(backend)
    assert backend.status_of(build) == "clean"
    assert done.event("pass.finished")["reclaimed"] == 1


def test_a_check_with_a_recent_heartbeat_is_not_reclaimed(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    backend.create_check(build, status="scanning", log="scanning: claim 123 by another")
    sweep(backend)
    assert backend.status_of(build) == "scanning"


def test_a_file_with_three_interruptions_is_an_error_and_the_others_are_scanned(
    backend: Backend,
) -> None:
    build = backend.upload({"a.txt": b"a game", "b.com": eicar()})
    deadly, _ = backend.file_names(build)
    interrupted = [journal.Interruption(file=deadly, times=3, reason="signal 15")]
    log = journal.pending("x", interruptions=interrupted, limit=5000)
    backend.create_check(build, log=log)
    sweep(backend)
    row = backend.check_of(build)
    assert row["status"] == "infected"
    assert "its inspection was begun 3 times and never ended (last: signal 15)" in row["log"]


def test_a_file_missing_from_the_storage_is_an_error(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    (name,) = backend.file_names(build)
    backend.stored(build, name).unlink()
    sweep(backend)
    row = backend.check_of(build)
    assert row["status"] == "error"
    assert f"{name}: missing from the storage" in row["log"]


def test_a_pending_check_of_a_new_build_without_files_waits(backend: Backend) -> None:
    build = backend.create_empty_build()
    backend.create_check(build)
    sweep(backend)
    assert backend.status_of(build) == "pending"
    backend.backdate("app_builds", build, updated="2020-01-01 00:00:00.000Z")
    sweep(backend)
    row = backend.check_of(build)
    assert row["status"] == "error"
    assert row["log"].startswith('error: {"reason": "no files"')


def test_an_orphan_is_removed(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    backend.create_check(build)
    backend.sql("DELETE FROM app_builds")
    done = sweep(backend)
    assert backend.checks() == []
    assert done.event("pass.finished")["removed"] == 1


def test_a_log_is_cut_to_the_fields_limit(backend: Backend) -> None:
    build = backend.upload({f"{number}.txt": b"a game" for number in range(60)})
    sweep(backend)
    row = backend.check_of(build)
    assert row["status"] == "clean"
    assert len(row["log"]) <= 5000
    assert "more lines" in row["log"]
    assert sweep(backend).event("pass.finished")["scanned"] == 0


def test_a_dry_run_shows_the_plan_and_writes_nothing(backend: Backend) -> None:
    new = backend.upload({"a.txt": b"a game"})
    stuck = backend.upload({"a.txt": b"a game"})
    check = backend.create_check(stuck, status="scanning")
    backend.backdate("av_build_checks", check, updated="2020-01-01 00:00:00.000Z")
    before = backend.checks()
    done = avscan("run", "--dry-run", env=backend.environment())
    assert done.code == 0
    lines = done.out.splitlines()
    assert f"open     {new}  files: 1" in lines
    assert f"reclaim  {stuck}  no heartbeat" in lines
    assert {f"scan     {new}", f"scan     {stuck}"} <= set(lines)
    assert backend.checks() == before


def test_a_token_signs_in_without_a_password(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    settings = {
        "POCKETBASE_TOKEN": backend.token,
        "POCKETBASE_SUPERUSER_EMAIL": "",
        "POCKETBASE_SUPERUSER_PASSWORD": "",
    }
    sweep(backend, **settings)
    assert backend.status_of(build) == "clean"


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"POCKETBASE_SUPERUSER_PASSWORD": "wrong"}, 4, "email or password"),
        ({"POCKETBASE_URL": "http://127.0.0.1:1", "MAX_RETRIES": "1"}, 3, "127.0.0.1:1"),
        ({"SIGNATURE_DIR": "/usr/share/doc"}, 6, "signatures"),
        ({"CLAMSCAN_PATH": "/does/not/exist"}, 6, "/does/not/exist"),
        ({"WORK_DIR": "/proc/nowhere"}, 7, "WORK_DIR"),
    ],
)
def test_a_broken_installation_fails_the_pass_and_no_build(
    backend: Backend, settings: dict[str, str], code: int, words: str
) -> None:
    build = backend.upload({"a.txt": b"a game"})
    check = backend.create_check(build)
    done = avscan("run", env=backend.environment(**settings))
    assert done.code == code, done.err
    ended = done.event("pass.failed")
    assert ended["exit_code"] == code
    assert words in ended["reason"]
    assert "\n" not in ended["reason"]
    assert backend.status_of(build) == "pending"
    assert [row["id"] for row in backend.checks()] == [check]
    assert not left_in(backend.work_dir)


def test_the_error_about_a_missing_collection_names_avscan_init(backend: Backend) -> None:
    backend.upload({"a.txt": b"a game"})
    backend.json("DELETE", "/api/collections/av_build_checks")
    done = avscan("run", env=backend.environment())
    assert done.code == 5
    assert "avscan init" in done.event("pass.failed")["reason"]


def test_invalid_settings_are_listed_in_one_line(backend: Backend) -> None:
    done = avscan("run", env={**backend.environment(), "POCKETBASE_URL": "", "STUCK_AFTER": "x"})
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "POCKETBASE_URL is not set" in done.err
    assert "STUCK_AFTER" in done.err
