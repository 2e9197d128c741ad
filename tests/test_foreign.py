"""Backends with unusual properties: other ids, other fields, hooks, a wrong clock."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from support.backend import Backend
from support.proxy import Proxy
from support.run import Run, avscan

from avscan.clamav.canary import eicar

CHECKS = "/api/collections/av_build_checks"
BUILDS = "/api/collections/app_builds"


def run(backend: Backend, *arguments: str, **settings: str) -> Run:
    return avscan("run", "--full", *arguments, env=backend.environment(**settings))


def change_fields(backend: Backend, collection: str, name: str, **changes: Any) -> None:
    """Change a field of a collection, or add it."""
    fields = backend.json("GET", collection)["fields"]
    known = [field for field in fields if field["name"] == name]
    if known:
        known[0] |= changes
    else:
        fields.append({"name": name, **changes})
    backend.json("PATCH", collection, json={"fields": fields})


def hook(backend: Backend, script: str) -> None:
    """Install a PocketBase hook."""
    folder = backend.server.folder / "hooks"
    folder.mkdir(exist_ok=True)
    (folder / "test.pb.js").write_text(script)
    backend.restart()


# -- ids ------------------------------------------------------------------------------------------

UUIDS = (str(uuid.UUID(int=number, version=4)) for number in itertools.count())
LONG_IDS = (f"Build{number:015}" for number in itertools.count())


@pytest.mark.parametrize("ids", [UUIDS, LONG_IDS], ids=["36 characters", "20 characters"])
@pytest.mark.parametrize("indexed", [False, True])
def test_builds_with_ids_of_another_format_get_verdicts(
    every_backend: Backend, ids: Iterator[str], *, indexed: bool
) -> None:
    backend = every_backend
    if indexed:
        backend.init()
    change_fields(backend, BUILDS, "id", pattern="^[A-Za-z0-9-]+$", min=15, max=40)
    clean = backend.upload({"a.txt": b"a game"}, id=next(ids))
    infected = backend.upload({"a.com": eicar()}, id=next(ids))
    assert run(backend).code == 0
    assert backend.status_of(clean) == "clean"
    assert backend.status_of(infected) == "infected"
    assert run(backend).event("pass.finished")["scanned"] == 0


def test_a_check_with_the_id_of_another_build_does_not_hide_that_build(
    every_backend: Backend,
) -> None:
    backend = every_backend
    hidden, other = backend.upload({"a.com": eicar()}), backend.upload({"a.txt": b"a game"})
    backend.create_check(other, id=hidden)
    done = run(backend)
    assert done.code == 0
    assert backend.status_of(hidden) == "infected"
    assert backend.status_of(other) == "clean"
    refused = done.event("check.id_refused")
    assert (refused["build"], refused["check"]) == (hidden, hidden)


def test_checks_may_have_ids_of_another_format(backend: Backend) -> None:
    generated = "[a-z]{20}"
    change_fields(
        backend, CHECKS, "id", pattern="^[a-z]+$", min=20, max=20, autogeneratePattern=generated
    )
    build = backend.upload({"a.com": eicar()})
    assert run(backend).code == 0
    assert backend.status_of(build) == "infected"


# -- fields ---------------------------------------------------------------------------------------


def test_an_unknown_required_field_ends_the_pass(every_backend: Backend) -> None:
    backend = every_backend
    change_fields(backend, CHECKS, "reviewer", type="text", required=True)
    backend.upload({"a.txt": b"a game"})
    done = run(backend)
    assert done.code == 5
    assert (
        "PocketBase refuses new checks for the field reviewer of av_build_checks, which avscan does"
        " not know: make it optional, or have a hook fill it in"
    ) in done.err


def test_health_warns_of_an_unknown_required_field(backend: Backend) -> None:
    backend.init()
    change_fields(backend, CHECKS, "reviewer", type="text", required=True)
    done = avscan("health", env=backend.environment())
    (line,) = [line for line in done.out.splitlines() if "collections" in line]
    assert "warn" in line
    assert "reviewer (required, and unknown to avscan: PocketBase refuses every new check" in line


def test_an_unknown_required_field_may_be_set_by_a_hook(backend: Backend) -> None:
    change_fields(backend, CHECKS, "reviewer", type="text", required=True)
    hook(
        backend,
        "onRecordCreate((e) => { e.record.set('reviewer', 'a hook'); e.next() },"
        " 'av_build_checks')",
    )
    build = backend.upload({"a.txt": b"a game"})
    assert run(backend).code == 0
    assert backend.status_of(build) == "clean"


# -- hooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    ["e.record.set('log', 'mine')", "e.record.set('status', 'pending')"],
    ids=["log", "status"],
)
def test_a_hook_that_changes_the_writes_for_one_build_postpones_only_that_build(
    every_backend: Backend, change: str
) -> None:
    backend = every_backend
    odd, other = backend.upload({"a.txt": b"a game"}), backend.upload({"b.txt": b"a game"})
    hook(
        backend,
        f"onRecordUpdate((e) => {{ if (e.record.get('build') == '{odd}') {{ {change} }} e.next() }},"
        " 'av_build_checks')",
    )
    done = run(backend)
    assert done.code == 0
    assert backend.status_of(other) == "clean"
    (postponed,) = done.named("build.postponed")
    assert postponed["build"] == odd
    assert "was stored otherwise than it was sent" in postponed["reason"]


def test_a_hook_that_refuses_the_check_of_one_build_postpones_only_that_build(
    every_backend: Backend,
) -> None:
    backend = every_backend
    odd, other = backend.upload({"a.txt": b"a game"}), backend.upload({"b.txt": b"a game"})
    refusal = "new BadRequestError('no', {mood: new ValidationError('odd', 'no')})"
    hook(
        backend,
        f"onRecordCreate((e) => {{ if (e.record.get('build') == '{odd}') {{ throw {refusal} }}"
        " e.next() }, 'av_build_checks')",
    )
    done = run(backend)
    assert done.code == 0
    assert backend.status_of(other) == "clean"
    assert [event["build"] for event in done.named("build.postponed")] == [odd]


# -- clocks ---------------------------------------------------------------------------------------


def test_a_live_claim_is_not_reclaimed_if_a_proxys_date_is_ahead(
    every_backend: Backend,
) -> None:
    backend = every_backend
    build = backend.upload({"a.txt": b"a game"})
    backend.create_check(build, status="scanning", log="scanning: claim 123 by another")
    with Proxy(backend.url, skew=300) as proxy:
        done = run(backend, POCKETBASE_URL=proxy.url)
    assert done.code == 0
    assert backend.status_of(build) == "scanning"
