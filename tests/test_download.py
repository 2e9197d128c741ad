"""The download of one file: complete with its digest, or no file at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.backend import Backend
from support.proxy import Answer as Page
from support.proxy import Drip, Lengthen, Proxy, Throttle, Truncate, download_of
from support.scripted import Answer, Scripted, refusal, reply, scripted

from avscan.backend import download as module
from avscan.backend.download import (
    Artifact,
    Cancelled,
    Download,
    Missing,
    NoRoom,
    TooLarge,
    download,
)
from avscan.backend.pocketbase import PocketBase
from avscan.backend.session import Password
from avscan.backend.transport import RetryPolicy
from avscan.errors import BackendError, WorkspaceError
from avscan.workspace import Workspace

MIB = 1 << 20
QUICK = RetryPolicy(attempts=2)
CONTENT = os.urandom(5 * MIB // 2)
OTHER = os.urandom(MIB)
PATH = "/api/files/app_builds/abc/game.tar.gz"
TOKENS = "/api/files/token"
MONDAY = "Mon, 06 Oct 2025 08:00:00 GMT"
TUESDAY = "Tue, 07 Oct 2025 08:00:00 GMT"
MISSING = refusal(404)
# What PocketBase sends with every file (see the real servers below).
STORED = {
    "Content-Disposition": "attachment; filename=game.tar.gz",
    "Content-Security-Policy": "default-src 'none'; media-src 'self'; sandbox",
}


class Disk(Workspace):
    """A work folder on a disk of a given size."""

    size = available = 1 << 40

    def capacity(self) -> int:
        return self.size

    def free(self) -> int:
        return self.available


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    disk = Disk(folder)
    disk.folder = folder
    return disk


def whole(content: bytes = CONTENT, *, date: str = MONDAY, cut: int | None = None) -> Answer:
    return Answer(body=content, headers=STORED | {"Last-Modified": date}, cut=cut)


def rest(start: int, content: bytes = CONTENT, *, cut: int | None = None) -> Answer:
    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return Answer(
        status=206,
        body=content[start:],
        headers=STORED | {"Last-Modified": MONDAY, "Content-Range": span},
        cut=cut,
    )


def fetch(
    client: PocketBase,
    disk: Workspace,
    *,
    build: str = "abc",
    name: str = "game.tar.gz",
    cancelled: threading.Event | None = None,
    least_time: float = 60.0,
) -> Download:
    return download(
        client,
        "app_builds",
        build,
        name,
        target=disk.folder / "artifact-1",
        workspace=disk,
        cancelled=cancelled or threading.Event(),
        least_time=least_time,
    )


def left(disk: Workspace) -> list[Path]:
    return list(disk.folder.iterdir())


def assert_is(outcome: Download, content: bytes) -> None:
    assert isinstance(outcome, Artifact)
    assert outcome.size == len(content)
    assert outcome.sha256 == hashlib.sha256(content).hexdigest()
    assert outcome.path.read_bytes() == content


# -- whole ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "byte", "large"])
def test_a_complete_file_has_its_size_and_digest(
    server: Scripted, disk: Disk, content: bytes
) -> None:
    server.say(whole(content))
    assert_is(fetch(server.client(), disk), content)


def test_a_public_file_is_requested_without_credentials_and_uncompressed(
    server: Scripted, disk: Disk
) -> None:
    server.say(whole())
    fetch(server.client(), disk)
    (request,) = server.requests
    assert request.path == PATH
    assert request.query == {}
    assert "Authorization" not in request.headers
    assert request.headers["Accept-Encoding"] == "identity"
    assert "Range" not in request.headers


# -- broken connections ---------------------------------------------------------------------------


def test_a_broken_download_is_resumed_where_it_broke(server: Scripted, disk: Disk) -> None:
    server.say(whole(cut=MIB + 7), rest(MIB + 7))
    assert_is(fetch(server.client(), disk), CONTENT)
    assert server.requests[1].headers["Range"] == f"bytes={MIB + 7}-"
    assert server.requests[1].headers["If-Range"] == MONDAY


def test_a_download_continues_as_long_as_attempts_make_progress(
    server: Scripted, disk: Disk
) -> None:
    starts = range(100, 1000, 100)
    server.say(whole(cut=100), *[rest(start, cut=100) for start in starts], rest(1000))
    assert_is(fetch(server.client(RetryPolicy(attempts=2)), disk), CONTENT)


def test_a_download_without_progress_ends_with_its_attempts(server: Scripted, disk: Disk) -> None:
    server.say(whole(cut=100), *[Answer(status=503)] * 99)
    with pytest.raises(BackendError, match="answered 503"):
        fetch(server.client(RetryPolicy(attempts=2)), disk)
    assert len(server.requests) == 3
    assert left(disk) == []


def test_a_changed_file_restarts(server: Scripted, disk: Disk) -> None:
    server.say(whole(cut=MIB), whole(OTHER, date=TUESDAY, cut=10), rest(10, OTHER))
    assert_is(fetch(server.client(), disk), OTHER)
    assert server.requests[2].headers["If-Range"] == TUESDAY


def test_a_download_without_a_validator_restarts(server: Scripted, disk: Disk) -> None:
    server.say(whole(date="", cut=MIB), whole(date=""))
    assert_is(fetch(server.client(), disk), CONTENT)
    assert "Range" not in server.requests[1].headers


def test_a_file_that_became_shorter_restarts(server: Scripted, disk: Disk) -> None:
    server.say(whole(cut=MIB), Answer(status=416), whole(b"short"))
    assert_is(fetch(server.client(), disk), b"short")


def test_another_range_than_requested_is_refused(server: Scripted, disk: Disk) -> None:
    server.say(whole(cut=100), rest(50), whole())
    assert_is(fetch(server.client(), disk), CONTENT)


@pytest.mark.parametrize("failure", [Answer(status=503), Answer(status=403), Answer(reset=True)])
def test_an_answer_that_is_no_file_is_retried(
    server: Scripted, disk: Disk, failure: Answer
) -> None:
    server.say(failure, whole())
    assert_is(fetch(server.client(), disk), CONTENT)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Length": ""}, "without its length"),
        ({"Content-Length": "many"}, "without its length"),
        ({"Content-Encoding": "gzip"}, "compressed"),
    ],
)
def test_an_answer_without_a_length_is_refused(
    server: Scripted, disk: Disk, headers: dict[str, str], words: str
) -> None:
    server.say(Answer(body=b"x", headers=STORED | headers, cut=1))
    with pytest.raises(BackendError, match=words):
        fetch(server.client(), disk)
    assert len(server.requests) == 1
    assert left(disk) == []


def test_a_part_that_is_shorter_than_its_range_is_resumed(server: Scripted, disk: Disk) -> None:
    span = {"Content-Range": f"bytes 100-{len(CONTENT) - 1}/{len(CONTENT)}"}
    server.say(whole(cut=100), Answer(status=206, body=CONTENT[100:200], headers=STORED | span))
    server.say(rest(200))
    assert_is(fetch(server.client(), disk), CONTENT)


@pytest.mark.parametrize("span", ["", "bytes 100-", "bytes 100-200/*"])
def test_a_part_without_a_valid_range_is_refused(server: Scripted, disk: Disk, span: str) -> None:
    server.say(whole(cut=100), Answer(status=206, headers=STORED | {"Content-Range": span}))
    with pytest.raises(BackendError, match="without its length"):
        fetch(server.client(), disk)
    assert left(disk) == []


# -- missing and protected ------------------------------------------------------------------------


def test_a_file_is_missing_if_a_file_token_does_not_help(server: Scripted, disk: Disk) -> None:
    server.say(MISSING, reply({"token": "for-files"}), MISSING)
    assert fetch(server.client(), disk) == Missing()
    assert server.asked == [("GET", PATH), ("POST", TOKENS), ("GET", PATH)]
    assert left(disk) == []


def test_a_protected_file_is_requested_with_a_file_token_that_is_kept(
    server: Scripted, disk: Disk
) -> None:
    server.say(MISSING, reply({"token": "for-files"}), whole(), whole(OTHER))
    client = server.client()
    assert_is(fetch(client, disk), CONTENT)
    assert_is(fetch(client, disk), OTHER)
    assert [request.query.get("token") for request in server.requests] == [
        None,
        None,
        "for-files",
        "for-files",
    ]


def test_an_expired_file_token_is_renewed(server: Scripted, disk: Disk) -> None:
    server.say(MISSING, reply({"token": "first"}), whole(cut=100))
    server.say(MISSING, reply({"token": "second"}), rest(100))
    assert_is(fetch(server.client(), disk), CONTENT)
    assert server.requests[-1].query["token"] == "second"
    assert server.requests[-1].headers["Range"] == "bytes=100-"


def test_no_error_contains_a_file_token(server: Scripted, disk: Disk) -> None:
    moved = Answer(status=302, headers={"Location": PATH + "?token=for-files"})
    server.say(MISSING, reply({"token": "for-files"}), moved)
    with pytest.raises(BackendError) as caught:
        fetch(server.client(), disk)
    assert "for-files" not in str(caught.value)


# -- the disk -------------------------------------------------------------------------------------


def test_a_file_larger_than_the_disk_is_too_large(server: Scripted, disk: Disk) -> None:
    disk.size = disk.available = len(CONTENT) - 1
    server.say(whole())
    assert fetch(server.client(), disk) == TooLarge(size=len(CONTENT), capacity=len(CONTENT) - 1)
    assert left(disk) == []


def test_a_file_larger_than_the_free_space_has_no_room(server: Scripted, disk: Disk) -> None:
    disk.available = len(CONTENT) - 1
    server.say(whole())
    assert fetch(server.client(), disk) == NoRoom(size=len(CONTENT))
    assert left(disk) == []


def test_a_file_that_just_fits_is_downloaded(server: Scripted, disk: Disk) -> None:
    disk.size = disk.available = len(CONTENT)
    server.say(whole())
    assert_is(fetch(server.client(), disk), CONTENT)


def test_a_resumed_download_needs_space_only_for_the_rest(server: Scripted, disk: Disk) -> None:
    server.say(whole(cut=MIB), rest(MIB))
    client = server.client()
    free = iter([len(CONTENT), len(CONTENT) - MIB])
    disk.free = lambda: next(free)  # type: ignore[method-assign]
    assert_is(fetch(client, disk), CONTENT)


def test_a_disk_that_fills_up_during_the_download_is_a_workspace_error(
    server: Scripted, disk: Disk
) -> None:
    server.say(whole())
    client = server.client()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB + 5, hard))
    try:
        with pytest.raises(WorkspaceError, match=os.strerror(errno.EFBIG)):
            fetch(client, disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(disk) == []


def test_a_missing_folder_is_a_workspace_error(server: Scripted, disk: Disk) -> None:
    disk.folder.rmdir()
    with pytest.raises(WorkspaceError, match="can't be written: No such file"):
        fetch(server.client(), disk)


# -- the end of the pass --------------------------------------------------------------------------


def test_a_cancelled_download_leaves_no_file(server: Scripted, disk: Disk) -> None:
    cancelled = threading.Event()
    cancelled.set()
    server.say(*[whole()] * 9)
    with pytest.raises(Cancelled):
        fetch(server.client(), disk, cancelled=cancelled)
    assert len(server.requests) == 1
    assert left(disk) == []


# -- other servers --------------------------------------------------------------------------------


PAGE = b"<!doctype html><title>Please sign in</title>"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {"Content-Security-Policy": STORED["Content-Security-Policy"]},
        {"Content-Disposition": STORED["Content-Disposition"]},
        STORED | {"Content-Disposition": "attachment; filename=other.tar.gz"},
        STORED | {"Content-Disposition": 'attachment; filename="other.tar.gz"'},
        STORED | {"Content-Disposition": "attachment; filename="},
        STORED | {"Content-Disposition": 'attachment; filename="'},
        STORED | {"Content-Disposition": "inline"},
        STORED | {"Content-Security-Policy": "default-src 'self'"},
    ],
)
def test_an_answer_without_the_storages_headers_is_refused(
    server: Scripted, disk: Disk, headers: dict[str, str]
) -> None:
    server.say(Answer(body=PAGE, headers=headers))
    with pytest.raises(BackendError, match=r"game\.tar\.gz was answered with 200 .*/api/files/"):
        fetch(server.client(), disk)
    assert left(disk) == []


def test_a_part_without_the_storages_headers_is_refused(server: Scripted, disk: Disk) -> None:
    span = {"Content-Range": f"bytes 100-{len(CONTENT) - 1}/{len(CONTENT)}"}
    server.say(whole(cut=100), Answer(status=206, body=CONTENT[100:], headers=span))
    with pytest.raises(BackendError, match=r"game\.tar\.gz was answered with 206"):
        fetch(server.client(), disk)
    assert left(disk) == []


# -- real servers ---------------------------------------------------------------------------------


def test_a_file_from_a_real_server_is_as_it_was_uploaded(
    every_backend: Backend, disk: Disk
) -> None:
    build = every_backend.upload({"game.bin": CONTENT})
    (name,) = every_backend.file_names(build)
    assert_is(fetch(every_backend.client(), disk, build=build, name=name), CONTENT)


def test_a_protected_file_is_downloaded_from_a_real_server(
    every_backend: Backend, disk: Disk
) -> None:
    backend = every_backend
    build = backend.upload({"game.bin": CONTENT})
    credentials = Password(identity=backend.email, password=backend.password)
    client = backend.client(credentials=credentials)
    definition = client.collection("app_builds")
    assert definition is not None
    fields = definition["fields"]
    assert isinstance(fields, list)
    protected = [
        field | {"protected": True}
        if isinstance(field, dict) and field["name"] == "files"
        else field
        for field in fields
    ]
    client.update_collection("app_builds", {"fields": protected})
    (name,) = backend.file_names(build)
    assert (
        backend.request("GET", f"/api/files/app_builds/{build}/{name}", token="").status_code == 404
    )
    assert_is(fetch(client, disk, build=build, name=name), CONTENT)
    backend.server.create_superuser()  # setting a password ends all sessions
    assert_is(fetch(client, disk, build=build, name=name), CONTENT)
    with Proxy(backend.url) as proxy:
        proxy.plan(download_of(build), Truncate(), times=3)
        through = backend.client(url=proxy.url, credentials=credentials)
        assert_is(fetch(through, disk, build=build, name=name), CONTENT)
        assert [request for request in proxy.seen if "token=" in request.path]


# PocketBase stores plain names; another program may have stored names like these.
ODD_NAMES = [
    "sp ace.zip",
    'q"uote.zip',
    '"quoted.zip"',
    "back\\slash.zip",
    "semi;colon,comma.zip",
    "filename=x.zip",
    "Ünï日本.zip",
    "per%41cent.zip",
    "hash#question?.zip",
]


def test_files_with_unusual_names_are_downloaded_from_a_real_server(
    every_backend: Backend, disk: Disk
) -> None:
    build = every_backend.upload({"game.bin": b"x"})
    folder = every_backend.stored(build, "name").parent
    for name in ODD_NAMES:
        (folder / name).write_bytes(name.encode())
    every_backend.sql("UPDATE app_builds SET files = ?", json.dumps(ODD_NAMES))
    client = every_backend.client()
    for name in ODD_NAMES:
        assert_is(fetch(client, disk, build=build, name=name), name.encode())


def test_a_proxys_page_in_place_of_a_real_file_is_refused(
    every_backend: Backend, disk: Disk
) -> None:
    build = every_backend.upload({"game.bin": CONTENT})
    (name,) = every_backend.file_names(build)
    with Proxy(every_backend.url) as proxy:
        html = (("Content-Type", "text/html"), ("Last-Modified", MONDAY))
        proxy.plan(download_of(build), Page(status=200, headers=html, body=PAGE))
        with pytest.raises(BackendError, match=rf"{name} was answered with 200 \(text/html\)"):
            fetch(every_backend.client(url=proxy.url), disk, build=build, name=name)
    assert left(disk) == []


@pytest.mark.parametrize("drip", [Drip(pause=0.02, head=True), Drip(pause=0.02)], ids=repr)
def test_a_slow_download_ends_at_its_deadline(backend: Backend, disk: Disk, drip: Drip) -> None:
    build = backend.upload({"game.bin": b"0123456789" * 100})
    (name,) = backend.file_names(build)
    with Proxy(backend.url) as proxy:
        proxy.plan(download_of(build), drip, times=None)
        client = backend.client(url=proxy.url, policy=RetryPolicy(deadline=0.5))
        began = time.monotonic()
        with pytest.raises(BackendError, match=r"too slowly|within the time allowed"):
            fetch(client, disk, build=build, name=name, least_time=0.5)
        assert 0.4 < time.monotonic() - began < 10
    assert left(disk) == []


def test_a_slow_resumption_does_not_renew_the_deadline(backend: Backend, disk: Disk) -> None:
    build = backend.upload({"game.bin": b"0123456789" * 100})
    (name,) = backend.file_names(build)
    with Proxy(backend.url) as proxy:
        proxy.plan(download_of(build), Truncate(), times=2)
        proxy.plan(download_of(build), Drip(pause=0.02, head=True), times=None)
        client = backend.client(url=proxy.url)
        began = time.monotonic()
        with pytest.raises(BackendError, match="too slowly"):
            fetch(client, disk, build=build, name=name, least_time=3.0)
        assert time.monotonic() - began < 5
        assert len(proxy.matching(download_of(build))) == 3
    assert left(disk) == []


def test_the_deadline_of_a_download_grows_with_its_size(
    backend: Backend, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_RATE", 1 << 20)  # 2.5 MiB have 2.5 s
    build = backend.upload({"game.bin": CONTENT})
    (name,) = backend.file_names(build)
    with Proxy(backend.url) as proxy:
        proxy.plan(download_of(build), Throttle(rate=2 << 20), times=None)
        client = backend.client(url=proxy.url)
        assert_is(fetch(client, disk, build=build, name=name, least_time=0.1), CONTENT)
    monkeypatch.setattr(module, "LEAST_RATE", 4 << 20)
    with Proxy(backend.url) as proxy:
        proxy.plan(download_of(build), Throttle(rate=1 << 20), times=None)
        client = backend.client(url=proxy.url)
        with pytest.raises(BackendError, match="too slowly"):
            fetch(client, disk, build=build, name=name, least_time=0.1)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT[: 1 << 18]], ids=len)
def test_a_length_that_is_too_large_ends_with_the_attempts(
    backend: Backend, disk: Disk, content: bytes
) -> None:
    """The server answers 416, then sends the whole file: neither makes progress."""
    build = backend.upload({"game.bin": content + b"x"})
    (name,) = backend.file_names(build)
    with Proxy(backend.url) as proxy:
        proxy.plan(download_of(build), Lengthen(by=100), times=None)
        client = backend.client(url=proxy.url, policy=QUICK)
        with pytest.raises(BackendError, match=r"interrupted|ended at|has changed"):
            fetch(client, disk, build=build, name=name)
        assert len(proxy.matching(download_of(build))) <= 1 + 2 * QUICK.attempts
    assert left(disk) == []


def test_a_file_missing_from_a_real_servers_storage_is_missing(
    every_backend: Backend, disk: Disk
) -> None:
    build = every_backend.upload({"game.bin": b"x"})
    (name,) = every_backend.file_names(build)
    every_backend.stored(build, name).unlink()
    assert fetch(every_backend.client(), disk, build=build, name=name) == Missing()
    assert left(disk) == []


def test_a_real_server_resumes_and_notices_another_file(
    every_backend: Backend,
) -> None:
    build = every_backend.upload({"game.bin": b"0123456789"})
    (name,) = every_backend.file_names(build)
    client = every_backend.client()
    first = client.open_file("app_builds", build, name)
    assert first is not None
    validator = first.headers["Last-Modified"]
    first.close()
    answers = {}
    for start, known in ((4, validator), (4, MONDAY), (10, validator)):
        response = client.open_file("app_builds", build, name, start=start, validator=known)
        assert response is not None
        answers[start, known] = (response.status_code, response.content)
        response.close()
    assert answers[4, validator] == (206, b"456789")
    assert answers[4, MONDAY] == (200, b"0123456789")
    assert answers[10, validator][0] == 416
