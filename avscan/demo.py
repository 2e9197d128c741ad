"""`avscan demo`: a pass over sample builds, on a local PocketBase."""

from __future__ import annotations

import io
import os
import secrets
import shlex
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from avscan.backend import schema
from avscan.backend.answers import JSON, Row
from avscan.backend.pocketbase import PocketBase
from avscan.clamav.canary import eicar
from avscan.data import SIGNATURES, create_zapuskalka
from avscan.errors import BackendError, EngineError, Interrupted
from avscan.local_pocketbase import LOOPBACK, LocalPocketBase
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
    """A build to upload: the title of its app and its files."""

    title: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A build after the pass."""

    title: str
    files: tuple[str, ...]
    verdict: str = "still uploading"
    virus: str = ""


def demo(*, keep: bool, echo: Callable[[str], None]) -> tuple[Result, ...]:
    """Run a pass over sample builds, and print each step and the results by `echo`.

    It uses a temporary folder and a free loopback port. It ignores the caller's settings, and sets
    `no_proxy` for this process. With `keep`, the server runs until the caller is interrupted.

    Raises:
        EngineError: clamscan is not installed.
        BackendError: PocketBase is not installed or does not work.

    """
    if shutil.which("clamscan") is None:
        raise EngineError("there is no clamscan on this machine: apt-get install clamav")
    password = secrets.token_hex(12)  # an argument must not begin with a dash
    with tempfile.TemporaryDirectory(prefix="avscan-demo-", ignore_cleanup_errors=True) as name:
        server = LocalPocketBase(Path(name), email=EMAIL, password=password)
        server.create_superuser()
        os.environ["no_proxy"] = LOOPBACK  # requests prefers it to NO_PROXY
        with server:
            echo(f"PocketBase runs at {server.url}")
            results = _run(server, echo)
            for line in ("", *table(results)):
                echo(line)
            if keep:
                echo("")
                echo(f"Dashboard: {server.url}/_/  login: {EMAIL}  password: {password}")
                echo("To run other commands of avscan in a second terminal, enter there:")
                for setting, value in _login(server).items():
                    echo(f"  export {setting}={shlex.quote(value)}")
                echo("Press Ctrl-C to stop it.")
                with suppress(Interrupted, KeyboardInterrupt):
                    server.wait()
    return results


def samples() -> tuple[Sample, ...]:
    """Return the sample builds. The last one has no files, as an unfinished upload."""
    return (
        _sample("Asteroids", {"asteroids": b"a game", "data/levels": b"levels"}),
        _sample("Breakout", {"breakout.exe": eicar()}),
        _sample("Centipede", {"centipede": b"a game", "tools.tar.gz": _tar_gz({"a": eicar()})}),
        _sample("Defender", {"defender": b"a game", "crack.exe": eicar()}),
        Sample(title="Elite", files={}),
    )


def _sample(title: str, members: Mapping[str, bytes]) -> Sample:
    """Return a build with one tar.gz, as the launcher uploads it."""
    return Sample(title=title, files={f"{title.lower()}.tar.gz": _tar_gz(members)})


def table(rows: Sequence[Result]) -> list[str]:
    """Format results as the lines of a table."""
    cells = [("BUILD", "FILES", "VERDICT", "VIRUS")]
    cells += [
        (row.title, " ".join(row.files) or "-", row.verdict, row.virus or "-") for row in rows
    ]
    return terminal.format_table(cells, max_width=terminal.columns(sys.stdout))


def _run(server: LocalPocketBase, echo: Callable[[str], None]) -> tuple[Result, ...]:
    settings = Settings.parse(
        {
            **_login(server),
            "WORK_DIR": str(server.folder / "work"),
            "MAX_SIGNATURE_AGE": "0",  # the demo's signatures have no date
        }
    )
    with connect(settings) as client:
        create_zapuskalka(client)
        schema.ensure(client, fix=False)
        with closing(_Publisher(client, server.url)) as publisher:
            builds = [(sample, publisher.upload(sample)) for sample in samples()]
        echo(f"{len(builds)} builds are uploaded; a pass begins")
        summary = run_pass(settings, full=True)
        echo(
            f"{summary.scanned} builds with {summary.files} files were scanned"
            f" in {summary.seconds:.1f} s by {summary.signatures}"
        )
        return tuple(_result(client, sample, build) for sample, build in builds)


def _login(server: LocalPocketBase) -> dict[str, str]:
    """Return the settings that other commands need as well."""
    return {
        "POCKETBASE_URL": server.url,
        "POCKETBASE_SUPERUSER_EMAIL": server.email,
        "POCKETBASE_SUPERUSER_PASSWORD": server.password,
        "SIGNATURE_DIR": str(SIGNATURES),
    }


def _result(client: PocketBase, sample: Sample, build: str) -> Result:
    checks = client.page(CHECKS, where=f'build = "{build}"')
    files = tuple(sample.files)
    if not checks:
        return Result(title=sample.title, files=files)
    check = Check.parse(checks[0])
    return Result(
        title=sample.title, files=files, verdict=str(check.status), virus=check.virus_name
    )


class _Publisher:
    """A publisher's launcher, which creates a build without files and then uploads them."""

    def __init__(self, client: PocketBase, url: str) -> None:
        password = secrets.token_hex(12)
        values: Row = {"email": PUBLISHER, "password": password, "passwordConfirm": password}
        member = client.create("users", values)
        studio: Row = {"title": "Studio", "owner": member["id"], "users": [member["id"]]}
        self._client = client
        self._studio = client.create("publishers", studio)["id"]
        self._collections = f"{url}/api/collections"
        self._session = requests.Session()
        self._session.trust_env = False
        # The same agent for all: PocketBase mails users about each new device.
        self._session.headers["User-Agent"] = USER_AGENT
        login: Row = {"identity": PUBLISHER, "password": password}
        answer = self._send("POST", "users/auth-with-password", json=login)
        self._session.headers["Authorization"] = str(answer["token"])

    def upload(self, sample: Sample) -> str:
        """Create an app with one build. Return the build's id."""
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


def _tar_gz(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
