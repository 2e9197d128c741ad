"""The README's rule, as a player meets it: clean builds can be had, all others can't."""

from __future__ import annotations

import re

import pytest
from support.backend import REPOSITORY, Backend

UNCLEAN = ("pending", "scanning", "infected", "error")


@pytest.fixture
def gated(every_backend: Backend) -> Backend:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rule = re.search(r"^(.*av_build_checks_via_build.*)$", readme, re.MULTILINE)
    assert rule is not None
    rules = {"listRule": rule[1], "viewRule": rule[1]}
    every_backend.json("PATCH", "/api/collections/app_builds", json=rules)
    return every_backend


def seen_by(backend: Backend, token: str) -> set[str]:
    page = backend.json("GET", "/api/collections/app_builds/records", token=token)
    return {row["id"] for row in page["items"]}


def seen_by_a_player(backend: Backend) -> set[str]:
    return seen_by(backend, backend.sign_up().token)


def test_a_player_sees_clean_builds_only(gated: Backend) -> None:
    clean = gated.upload({"a.txt": b"a game"})
    gated.create_check(clean, status="clean")
    for status in UNCLEAN:
        gated.create_check(gated.upload({"a.txt": b"a game"}), status=status)
    gated.upload({"a.txt": b"no check yet"})
    assert seen_by_a_player(gated) == {clean}


def test_a_build_with_a_clean_and_another_check_is_not_clean(gated: Backend) -> None:
    build = gated.upload({"a.txt": b"a game"})
    gated.create_check(build, status="clean")
    gated.create_check(build, status="infected")
    assert seen_by_a_player(gated) == set()


def test_a_publishers_members_see_all_of_its_builds(gated: Backend) -> None:
    builds = {gated.upload({"a.txt": b"a game"}) for _ in range(2)}
    gated.create_check(min(builds), status="infected")
    member = gated.sign_up_member()
    assert seen_by(gated, member.token) == builds
    assert seen_by_a_player(gated) == set()


def test_protected_files_are_served_like_the_records_that_they_belong_to(gated: Backend) -> None:
    fields = gated.json("GET", "/api/collections/app_builds")["fields"]
    (files,) = [field for field in fields if field["name"] == "files"]
    files["protected"] = True
    gated.json("PATCH", "/api/collections/app_builds", json={"fields": fields})
    player = gated.sign_up()
    answers = {}
    for status in ("clean", "infected"):
        build = gated.upload({"a.txt": b"a game"})
        gated.create_check(build, status=status)
        token = gated.json("POST", "/api/files/token", token=player.token)["token"]
        (name,) = gated.file_names(build)
        path = f"/api/files/app_builds/{build}/{name}?token={token}"
        answers[status] = gated.request("GET", path, token="").status_code
    assert answers == {"clean": 200, "infected": 404}
