"""The first minute of a newcomer: a pass over sample builds, on a PocketBase of its own."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from avscan.backend import schema
from avscan.backend.answers import JSON, Row
from avscan.backend.pocketbase import PocketBase
from avscan.clamav.canary import eicar
from avscan.data import SIGNATURES, create_zapuskalka
from avscan.embedded import LOOPBACK, Embedded
from avscan.errors import BackendError, EngineError, Interrupted
from avscan.ops import terminal
from avscan.passes import run_pass
from avscan.records import BUILDS, CHECKS, Check
from avscan.settings import Settings
from avscan.wiring import USER_AGENT, connect

EMAIL = "demo@example.com"
PUBLISHER = "publisher@example.com"
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A build to upload: the title of its app, and its files."""

    title: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A build after the pass."""

    title: str
    files: tuple[str, ...]
    verdict: str = "still uploading"
    virus: str = ""


def demo(*, keep: bool, say: Callable[[str], None]) -> tuple[Shown, ...]:
    """Run a pass over sample builds, and say what happens and what came of it.

    Everything happens in a temporary folder and on a free loopback port; nothing of the caller's
    settings has a part in it. With `keep`, the server runs on until the caller is interrupted.

    Raises:
        EngineError: there is no clamscan.
        BackendError: there is no PocketBase program, or it does not work.

    """
    if shutil.which("clamscan") is None:
        raise EngineError("there is no clamscan on this machine: apt-get install clamav")
    password = secrets.token_hex(12)  # an argument must not begin with a dash
    with tempfile.TemporaryDirectory(prefix="avscan-demo-", ignore_cleanup_errors=True) as name:
        server = Embedded(Path(name), email=EMAIL, password=password)
        server.create_superuser()
        with _without_proxy(), server:
            say(f"PocketBase runs at {server.url}")
            shown = _play(server, say)
            for line in ("", *table(shown)):
                say(line)
            if keep:
                say("")
                say(f"Dashboard: {server.url}/_/  login: {EMAIL}  password: {password}")
                say("Ctrl-C ends it.")
                with suppress(Interrupted, KeyboardInterrupt):
                    server.wait()
    return shown


def samples() -> tuple[Sample, ...]:
    """Make the sample builds; the last one's upload has only begun."""
    return (
        _sample("Asteroids", {"asteroids": b"a game", "data/levels": b"levels"}),
        _sample("Breakout", {"breakout.exe": eicar()}),
        _sample("Centipede", {"centipede": b"a game", "tools.tar.gz": _tar_gz({"a": eicar()})}),
        _sample("Defender", {"defender": b"a game", "crack.exe": eicar()}),
        Sample(title="Elite", files={}),
    )


def _sample(title: str, members: Mapping[str, bytes]) -> Sample:
    """Pack a game as the launcher does: one tar.gz."""
    return Sample(title=title, files={f"{title.lower()}.tar.gz": _tar_gz(members)})


def table(rows: Sequence[Shown]) -> list[str]:
    """Lay rows out as lines of text, in columns."""
    cells = [("BUILD", "FILES", "VERDICT", "VIRUS")]
    cells += [
        (row.title, " ".join(row.files) or "-", row.verdict, row.virus or "-") for row in rows
    ]
    return terminal.table(cells, room=terminal.columns(sys.stdout))


def _play(server: Embedded, say: Callable[[str], None]) -> tuple[Shown, ...]:
    settings = Settings.parse(
        {
            "POCKETBASE_URL": server.url,
            "POCKETBASE_SUPERUSER_EMAIL": server.email,
            "POCKETBASE_SUPERUSER_PASSWORD": server.password,
            "SIGNATURE_DIR": str(SIGNATURES),
            "WORK_DIR": str(server.folder / "work"),
            "MAX_SIGNATURE_AGE": "0",  # the demo's own have no age
        }
    )
    with connect(settings) as client:
        create_zapuskalka(client)
        schema.ensure(client, fix=False)
        with closing(_Publisher(client, server.url)) as publisher:
            builds = [(sample, publisher.upload(sample)) for sample in samples()]
        say(f"{len(builds)} builds are uploaded; a pass over them begins")
        summary = run_pass(settings, full=True)
        say(
            f"{summary.scanned} builds of {summary.files} files were scanned"
            f" in {summary.seconds:.1f} s by {summary.signatures}"
        )
        return tuple(_shown(client, sample, build) for sample, build in builds)


def _shown(client: PocketBase, sample: Sample, build: str) -> Shown:
    checks = client.page(CHECKS, where=f'build = "{build}"')
    files = tuple(sample.files)
    if not checks:
        return Shown(title=sample.title, files=files)
    check = Check.parse(checks[0])
    return Shown(title=sample.title, files=files, verdict=str(check.status), virus=check.virus_name)


class _Publisher:
    """A publisher at their launcher, which creates a build without files and then uploads them."""

    def __init__(self, client: PocketBase, url: str) -> None:
        password = secrets.token_hex(12)  # an argument must not begin with a dash
        values: Row = {"email": PUBLISHER, "password": password, "passwordConfirm": password}
        member = client.create("users", values)
        studio: Row = {"title": "Studio", "owner": member["id"], "users": [member["id"]]}
        self._client = client
        self._studio = client.create("publishers", studio)["id"]
        self._collections = f"{url}/api/collections"
        self._session = requests.Session()
        self._session.trust_env = False
        # The same as everybody's here: PocketBase mails people about their new devices.
        self._session.headers["User-Agent"] = USER_AGENT
        login: Row = {"identity": PUBLISHER, "password": password}
        answer = self._send("POST", "users/auth-with-password", json=login)
        self._session.headers["Authorization"] = str(answer["token"])

    def upload(self, sample: Sample) -> str:
        """Upload a build of an app of its own; return the build's id."""
        app = self._client.create("apps", {"title": sample.title, "publisher": self._studio})["id"]
        branch = self._client.create("app_branches", {"name": "main", "app": app})["id"]
        self._client.update("apps", str(app), {"default_branch": branch})
        values: Row = {"app": app, "branch": branch, "entrypoint": sample.title.lower()}
        values |= {"os": "linux", "arch": "x86_64", "install_rules": ["ungzip", "untar"]}
        build = str(self._send("POST", f"{BUILDS}/records", json=values)["id"])
        if sample.files:
            files = [("files", (name, content)) for name, content in sample.files.items()]
            self._send("PATCH", f"{BUILDS}/records/{build}", files=files)
        return build

    def close(self) -> None:
        self._session.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        json: JSON = None,
        files: Sequence[tuple[str, tuple[str, bytes]]] = (),
    ) -> Row:
        try:
            response = self._session.request(
                method, f"{self._collections}/{path}", json=json, files=files, timeout=TIMEOUT
            )
            response.raise_for_status()
            answer: Row = response.json()
        except requests.RequestException as error:
            raise BackendError(f"the demo's upload failed: {error}") from error
        return answer


@contextmanager
def _without_proxy() -> Iterator[None]:
    """Let no proxy of the caller's come between us and our own server."""
    names = ("no_proxy", "NO_PROXY")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, LOOPBACK))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _tar_gz(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
