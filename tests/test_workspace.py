"""The work folder: private, one pass at a time, empty afterwards."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from avscan.errors import WorkspaceError
from avscan.workspace import RESERVE, Busy, Workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "work"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folders_are_made_and_nobody_else_can_look_in(root: Path) -> None:
    with Workspace(root) as work:
        assert work.folder.parent == root
        assert mode(root) == 0o700
        assert mode(work.folder) == 0o700


def test_an_open_folder_of_our_own_is_closed_to_others(root: Path) -> None:
    root.mkdir(parents=True)
    root.chmod(0o777)
    with Workspace(root):
        assert mode(root) == 0o700


def test_nothing_stays_but_the_work_folder(root: Path) -> None:
    with Workspace(root) as work:
        (work.folder / "artifact-1").write_bytes(b"x")
        (work.folder / "scratch").mkdir()
    assert list(root.iterdir()) == []


def test_an_error_leaves_nothing_either(root: Path) -> None:
    def work() -> None:
        with Workspace(root) as work:
            (work.folder / "artifact-1").write_bytes(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list(root.iterdir()) == []


def test_a_second_pass_is_told_that_another_is_at_work(root: Path) -> None:
    with Workspace(root) as work:
        (work.folder / "artifact-1").write_bytes(b"x")
        with pytest.raises(Busy, match="another pass is at work") as caught, Workspace(root):
            pass
        assert caught.value.exit_code == 0
        assert (work.folder / "artifact-1").exists()


def test_the_lock_ends_with_its_pass(root: Path) -> None:
    with Workspace(root):
        pass
    with Workspace(root) as work:
        assert work.folder.exists()


def test_the_lock_dies_with_a_killed_pass_and_its_leftovers_are_swept(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from avscan.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])) as work:\n"
        "    (work.folder / 'artifact-1').write_bytes(b'x')\n"
        "    print('ready', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(Busy), Workspace(root):
            pass
        process.kill()
    (left,) = root.iterdir()
    with Workspace(root) as work:
        assert list(root.iterdir()) == [work.folder]
        assert list(work.folder.iterdir()) == []
    assert caplog.messages == ["workspace.swept"]
    assert vars(caplog.records[0])["folder"] == left.name


def test_what_is_not_ours_in_the_folder_is_left_alone(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "notes.txt").write_text("not ours")
    with Workspace(root):
        pass
    assert (root / "notes.txt").read_text() == "not ours"


def test_another_users_folder_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(root, 4711, 4711)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(WorkspaceError, match="belongs to another user") as caught, Workspace(root):
        pass
    assert caught.value.exit_code == 7
    assert list(root.iterdir()) == []


def test_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    root.parent.mkdir()
    root.symlink_to(target)
    with pytest.raises(WorkspaceError, match="can't be used"), Workspace(root):
        pass


def test_a_file_in_the_folders_place_is_refused(root: Path) -> None:
    root.parent.mkdir()
    root.write_text("")
    with pytest.raises(WorkspaceError, match=f"WORK_DIR {root} can't be used"), Workspace(root):
        pass


def test_a_refused_folder_is_free_for_the_next(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "mkdtemp", fail)
        with pytest.raises(WorkspaceError, match="No space left on device"), Workspace(root):
            pass
    with Workspace(root):
        pass


@pytest.mark.parametrize(("free", "room"), [(RESERVE + 9, 9), (RESERVE, 0), (5, 0)])
def test_a_reserve_of_the_disk_is_left_to_others(
    root: Path, monkeypatch: pytest.MonkeyPatch, free: int, room: int
) -> None:
    usage = shutil.disk_usage("/")._replace(total=RESERVE + 1000, free=free)
    with Workspace(root) as work:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        assert work.free() == room
        assert work.capacity() == 1000
        if room:
            work.require_room()
        else:
            with pytest.raises(WorkspaceError, match="is full"):
                work.require_room()
