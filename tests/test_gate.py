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


def seen_by_a_player(backend: Backend) -> set[str]:
    token = backend.sign_up().token
    page = backend.json("GET", "/api/collections/app_builds/records", token=token)
    return {row["id"] for row in page["items"]}


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
