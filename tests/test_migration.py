"""`avscan init --print`: PocketBase imports its output in each of its ways."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.backend import REPOSITORY, Backend
from support.run import Run, avscan

from avscan.backend.answers import JSON
from avscan.backend.migration import as_import

CHECKS = "/api/collections/av_build_checks"


def printed(backend: Backend) -> str:
    done = avscan("init", "--print", env=backend.environment())
    assert (done.code, done.err) == (0, "")
    return done.out


def migrate(backend: Backend, collections: str) -> None:
    """Restart the server with a JavaScript migration of these collections."""
    restart_with(
        backend, f"migrate((app) => app.importCollections({collections}, false), (app) => {{}})"
    )


def migrate_text(backend: Backend, collections: str) -> None:
    """Restart the server with a migration that calls the function of Go migrations."""
    text = json.dumps(collections)
    call = f"app.importCollectionsByMarshaledJSON({text}, false)"
    restart_with(backend, f"migrate((app) => {call}, (app) => {{}})")


def restart_with(backend: Backend, migration: str) -> None:
    folder = backend.server.folder / "migrations"
    folder.mkdir(exist_ok=True)
    (folder / "1764000000_av_build_checks.js").write_text(migration)
    backend.restart()
    applied = backend.sql("SELECT file FROM _migrations WHERE file LIKE '%_av_build_checks.js'")
    assert applied == [("1764000000_av_build_checks.js",)]


def import_as_the_dashboard_does(backend: Backend, collections: str) -> None:
    """Import with "Merge with the existing collections"."""
    existing = backend.json("GET", "/api/collections?perPage=500")["items"]
    imported = json.loads(collections)
    ids = {collection["id"] for collection in imported}
    together = [each for each in existing if each["id"] not in ids] + imported
    values = {"collections": together, "deleteMissing": True}
    backend.json("PUT", "/api/collections/import", json=values)


def init(backend: Backend) -> Run:
    return avscan("init", env=backend.environment())


def ids(definition: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["id"] for field in definition["fields"]}


IMPORTS = [migrate, migrate_text, import_as_the_dashboard_does]


@pytest.mark.parametrize("bring_about", IMPORTS)
def test_the_import_creates_a_missing_collection(every_backend: Backend, bring_about: Any) -> None:
    every_backend.json("DELETE", CHECKS)
    bring_about(every_backend, printed(every_backend))
    assert init(every_backend).out == "av_build_checks: as it should be\n"
    build = every_backend.upload({"a.txt": b"a game"})
    done = avscan("run", env=every_backend.environment())
    assert (done.code, every_backend.status_of(build)) == (0, "clean")


@pytest.mark.parametrize("bring_about", IMPORTS)
def test_the_import_repairs_an_existing_collection_and_keeps_its_content(
    every_backend: Backend, bring_about: Any
) -> None:
    definition = every_backend.json("GET", CHECKS)
    # A field of another program that was renamed; its first name is that of a missing field.
    fields = [each for each in definition["fields"] if each["name"] != "virus_name"]
    former = next(each for each in definition["fields"] if each["name"] == "virus_name")
    note = {"name": "note", "type": "text", "id": former["id"]}
    every_backend.json("PATCH", CHECKS, json={"fields": [*fields, note]})
    build = every_backend.create_empty_build()
    every_backend.create_check(build, status="clean", log="kept", note="by hand")
    before = every_backend.json("GET", CHECKS)

    bring_about(every_backend, printed(every_backend))

    assert init(every_backend).out == "av_build_checks: as it should be\n"
    after = every_backend.json("GET", CHECKS)
    assert after["id"] == before["id"]
    assert ids(before).items() <= ids(after).items()
    check = every_backend.check_of(build)
    assert (check["status"], check["log"], check["note"]) == ("clean", "kept", "by hand")
    assert every_backend.json("GET", "/api/collections/app_builds")


def test_the_documented_command_writes_a_migration(backend: Backend, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "schema.md").read_text(encoding="utf-8")
    command = page.partition("<!-- js-migration -->\n```sh\n")[2].partition("```")[0]
    (tmp_path / "pb_migrations").mkdir()
    script = f'avscan() {{ "{sys.executable}" -m avscan "$@"; }}\n{command}'
    environment = backend.environment()
    subprocess.run(["/bin/sh", "-ec", script], env=environment, cwd=tmp_path, check=True)
    (written,) = (tmp_path / "pb_migrations").iterdir()
    restart_with(backend, written.read_text())
    assert init(backend).out == "av_build_checks: as it should be\n"


def test_printing_changes_nothing(backend: Backend) -> None:
    before = backend.json("GET", CHECKS)
    (collection,) = json.loads(printed(backend))
    assert backend.json("GET", CHECKS) == before
    assert collection["id"] == before["id"]
    assert not {"created", "updated"} & collection.keys()


def test_a_collection_without_differences_is_printed_unchanged(backend: Backend) -> None:
    backend.init()
    (collection,) = json.loads(printed(backend))
    assert backend.json("GET", CHECKS).items() >= collection.items()


def test_ids_are_those_that_pocketbase_would_choose(every_backend: Backend) -> None:
    every_backend.json("DELETE", CHECKS)
    (collection,) = json.loads(printed(every_backend))
    every_backend.init()
    created = every_backend.json("GET", CHECKS)
    assert ids(collection).items() <= ids(created).items()
    assert collection["id"] == created["id"]


def test_builds_with_several_checks_are_an_error_before_the_migration(
    backend: Backend,
) -> None:
    build = backend.create_empty_build()
    backend.create_check(build)
    backend.create_check(build)
    done = avscan("init", "--print", env=backend.environment())
    assert (done.code, done.out) == (5, "")
    assert f"{build} has 2; delete all but one" in done.err
    assert "`avscan init --print` again" in done.err


def test_differences_that_an_import_can_not_repair_go_to_stderr(backend: Backend) -> None:
    definition = backend.json("GET", CHECKS)
    fields = [each for each in definition["fields"] if each["name"] != "log"]
    backend.json("PATCH", CHECKS, json={"fields": fields})
    editor = {"name": "log", "type": "editor"}
    backend.json("PATCH", CHECKS, json={"fields": [*fields, editor]})
    done = avscan("init", "--print", env=backend.environment())
    assert done.code == 5
    assert json.loads(done.out)[0]["name"] == "av_build_checks"
    assert done.err == "log: editor; needed: text (to be fixed by hand)\n"


def test_fix_and_print_exclude_each_other(backend: Backend) -> None:
    assert avscan("init", "--print", "--fix", env=backend.environment()).code == 2


def test_a_new_field_with_the_former_name_of_another_gets_a_unique_id() -> None:
    usual: JSON = {"name": "log", "type": "text"}
    (first,) = json.loads(as_import({"name": "c", "type": "base", "fields": [usual]}))
    taken = first["fields"][0]["id"]
    renamed: JSON = {"name": "old_log", "type": "text", "id": taken}
    (second,) = json.loads(as_import({"name": "c", "type": "base", "fields": [usual, renamed]}))
    assert [field["id"] for field in second["fields"]] == [f"{taken}2", taken]
