"""The private folder of a pass: its creation, its lock and its removal."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.backend import Backend
from support.run import avscan

from avscan.errors import WorkspaceError
from avscan.workspace import MIB, MIN_CAPACITY, RESERVE, Busy, Workspace, remove

OWN = f"avscan-{os.geteuid()}"
OTHER = 4711


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "work"


@pytest.fixture
def shared() -> Iterator[Path]:
    """Create a folder that all users can write to, like /tmp."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def another_user() -> Iterator[None]:
    """Run as another user."""
    assert os.geteuid() == 0, "this test must run as root: it changes its user id"
    os.seteuid(OTHER)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def disk_of(size: int, folder: Path) -> Iterator[Path]:
    """Mount an empty file system of `size` bytes."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert mounted.returncode == 0, f"this test must be able to mount a tmpfs: {mounted.stderr}"
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(root: Path) -> str:
    """Return why a work folder is refused."""
    with pytest.raises(WorkspaceError) as caught, Workspace(root):
        pass
    assert caught.value.exit_code == 7
    return str(caught.value)


def test_the_folders_are_private(root: Path) -> None:
    with Workspace(root) as work:
        assert work.folder.parent == root / OWN
        assert work.downloads.parent == work.folder
        folders = (root, root / OWN, work.folder, work.downloads)
        assert [mode(folder) for folder in folders] == [0o700] * 4


def test_each_inspector_gets_a_private_folder_on_the_same_file_system(root: Path) -> None:
    with Workspace(root) as work:
        one, two = work.inspector_folder(), work.inspector_folder()
        assert one != two
        assert one.parent == two.parent == work.folder
        assert mode(one) == 0o700
        (work.downloads / "artifact-1").write_bytes(b"x")
        (work.downloads / "artifact-1").rename(one / "artifact-1")


@pytest.mark.parametrize("error", [None, RuntimeError()], ids=["success", "error"])
def test_only_the_empty_folder_remains(root: Path, error: Exception | None) -> None:
    with suppress(RuntimeError), Workspace(root) as work:
        (work.downloads / "artifact-1").write_bytes(b"x")
        (work.inspector_folder() / "scratch").mkdir()
        if error:
            raise error
    assert list(root.rglob("*")) == [root / OWN]


# -- shared folders -------------------------------------------------------------------------------


def test_a_shared_folder_keeps_its_mode_and_content(shared: Path) -> None:
    names = ["notes.txt", "pass-words", "pass-words/secret.txt"]
    (shared / "pass-words").mkdir()
    (shared / "notes.txt").write_text("not avscan's")
    (shared / "pass-words" / "secret.txt").write_text("not avscan's")
    with Workspace(shared):
        pass
    assert mode(shared) == 0o1777
    assert sorted(str(path.relative_to(shared)) for path in shared.rglob("*")) == [OWN, *names]


def test_two_users_can_share_a_folder_at_the_same_time(shared: Path) -> None:
    with Workspace(shared) as one, another_user(), Workspace(shared) as two:
        assert one.folder.parent.name == "avscan-0"
        assert two.folder.parent.name == f"avscan-{OTHER}"


def test_a_volume_of_root_works_for_its_group(shared: Path) -> None:
    """Kubernetes mounts volumes this way for a pod with `fsGroup`."""
    os.chown(shared, 0, OTHER)
    shared.chmod(0o2775)
    group = os.getegid()
    os.setegid(OTHER)
    try:
        with another_user(), Workspace(shared) as work:
            assert mode(work.folder) & 0o777 == 0o700  # it has the volume's setgid bit too
    finally:
        os.setegid(group)


# -- unusable folders -----------------------------------------------------------------------------


def test_the_error_about_a_folder_of_root_names_the_user_and_the_remedy(shared: Path) -> None:
    root = shared / "zapuskalka-av-scans"
    with Workspace(root):
        pass
    with another_user():
        assert refusal(root) == (
            f"WORK_DIR {root} is not writable by uid {OTHER}:"
            " choose another folder or change its owner"
        )


def test_the_error_about_a_folder_of_another_user_names_both_users(shared: Path) -> None:
    root = shared / "zapuskalka-av-scans"
    with another_user(), Workspace(root):
        pass
    assert refusal(root) == (
        f"WORK_DIR {root} can't be used by uid 0: {root} belongs to uid {OTHER}:"
        " choose another folder or change its owner"
    )


def test_the_error_about_a_folder_that_cannot_be_created_names_it(shared: Path) -> None:
    shared.chmod(0o755)
    with another_user():
        said = refusal(shared / "work")
    assert said == (
        f"WORK_DIR {shared / 'work'} can't be used by uid {OTHER}: it can't be created:"
        " choose another folder"
    )


def test_a_private_folder_of_another_user_is_refused(shared: Path) -> None:
    own = shared / OWN
    own.mkdir()
    os.chown(own, OTHER, OTHER)
    assert f"{own} belongs to uid {OTHER}" in refusal(shared)
    assert list(own.iterdir()) == []


@pytest.mark.parametrize("name", ["", OWN], ids=["WORK_DIR", "its own"])
@pytest.mark.parametrize("kind", ["a link to a folder", "a dangling link", "a file"])
def test_a_file_or_link_is_refused(root: Path, kind: str, name: str, tmp_path: Path) -> None:
    path = root / name
    path.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    if kind == "a file":
        path.write_text("")
    else:
        path.symlink_to(elsewhere)
    if kind == "a link to a folder":
        elsewhere.mkdir()
    said = refusal(root)
    assert said.startswith(f"WORK_DIR {root} can't be used by uid {os.geteuid()}: {path} is not a")
    assert not list(elsewhere.glob("*"))


def test_after_a_system_error_the_lock_is_released(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "mkdtemp", fail)
        assert "No space left on device: choose another folder" in refusal(root)
    with Workspace(root):
        pass


# -- one pass at a time ---------------------------------------------------------------------------


def test_a_second_pass_is_busy(root: Path) -> None:
    with Workspace(root) as work:
        (work.downloads / "artifact-1").write_bytes(b"x")
        with pytest.raises(Busy, match="another pass is at work") as caught, Workspace(root):
            pass
        assert caught.value.exit_code == 0
        assert (work.downloads / "artifact-1").exists()


def test_the_lock_is_released_at_the_end(root: Path) -> None:
    with Workspace(root):
        pass
    with Workspace(root) as work:
        assert work.folder.exists()


def test_the_lock_of_a_killed_pass_is_released_and_its_leftovers_are_removed(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from avscan.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])) as work:\n"
        "    (work.downloads / 'artifact-1').write_bytes(b'x')\n"
        "    print('ready', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(Busy), Workspace(root):
            pass
        process.kill()
    (left,) = (root / OWN).iterdir()
    with Workspace(root) as work:
        assert list((root / OWN).iterdir()) == [work.folder]
        assert list(work.folder.iterdir()) == [work.downloads]
        assert list(work.downloads.iterdir()) == []
    assert caplog.messages == ["workspace.cleaned"]
    assert vars(caplog.records[0])["folder"] == left.name


def test_a_failed_removal_is_a_warning(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("avscan.workspace.remove", fail)
    with Workspace(root):
        pass
    assert caplog.messages == ["workspace.not_removed"]
    assert vars(caplog.records[0])["reason"] == "Read-only file system"


# -- removal --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tree_of_any_depth_and_mode_is_removed(shared: Path) -> None:
    with another_user():  # file modes do not restrict root
        top = shared / "inspector"
        top.mkdir()
        folder = os.open(top, os.O_RDONLY)
        for _ in range(3000):  # beyond Python's recursion limit and the limit of paths
            os.mkdir("level", dir_fd=folder)
            os.close(os.open("file", os.O_CREAT, dir_fd=folder))
            below = os.open("level", os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        os.close(folder)
        (top / "level" / "level").chmod(0)
        (top / "level").chmod(0)
        top.chmod(0)
        remove(top)
    assert not list(shared.iterdir())


def test_a_removal_does_not_follow_links(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (target / "file").write_text("")
    top = tmp_path / "top"
    (top / "folder").mkdir(parents=True)
    for link in (top / "link", top / "folder" / "link"):
        link.symlink_to(target)
    remove(top)
    remove_link = tmp_path / "link"
    remove_link.symlink_to(target)
    remove(remove_link)
    assert list(tmp_path.rglob("*")) == [target, target / "file"]
    assert mode(target) == 0o755


# -- the disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "room"), [(RESERVE + 9, 9), (RESERVE, 0), (5, 0)])
def test_a_reserve_of_the_disk_is_not_used(
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


@pytest.mark.parametrize(("lacking", "fits"), [(0, True), (1, False)])
def test_a_disk_needs_a_minimum_size(
    root: Path, monkeypatch: pytest.MonkeyPatch, lacking: int, *, fits: bool
) -> None:
    size = RESERVE + MIN_CAPACITY - lacking
    usage = shutil.disk_usage("/")._replace(total=size, free=size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    if fits:
        with Workspace(root):
            pass
    else:
        assert "is too small" in refusal(root)


def test_a_tiny_disk_fails_the_pass_and_no_build(backend: Backend, tmp_path: Path) -> None:
    build = backend.upload({"a.txt": b"a game"})
    with disk_of(64 * MIB, tmp_path / "tiny") as folder:
        done = avscan("run", "--full", env=backend.environment(WORK_DIR=str(folder)))
        assert list(folder.iterdir()) == []
    assert done.code == 7
    assert done.event("pass.failed")["reason"] == (
        f"WORK_DIR {folder} can't be used by uid {os.geteuid()}: its disk of 64 MiB is too small"
        " for any artifact: choose a folder on a disk of 576 MiB or more"
    )
    assert backend.status_of(build) is None


@pytest.mark.slow
def test_a_disk_of_the_minimum_size_holds_a_small_artifact(
    backend: Backend, tmp_path: Path
) -> None:
    build = backend.upload({"game.tar.gz": game(tmp_path, size=64 * MIB)})
    with disk_of(RESERVE + MIN_CAPACITY, tmp_path / "small") as folder:
        done = avscan("run", "--full", env=backend.environment(WORK_DIR=str(folder)))
    assert (done.code, backend.status_of(build)) == (0, "clean"), done.err


def game(folder: Path, *, size: int) -> bytes:
    """Return a tar.gz of `size` incompressible bytes and as many compressible ones."""
    source = folder / "game"
    source.mkdir()
    (source / "assets.pak").write_bytes(os.urandom(size))
    (source / "levels.pak").write_bytes(bytes(size))
    archive = folder / "game.tar.gz"
    subprocess.run(
        ["tar", "-C", str(source), "-I", "gzip -1", "-cf", str(archive), "."], check=True
    )
    return archive.read_bytes()
