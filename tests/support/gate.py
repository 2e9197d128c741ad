"""The gate of docs/gate.md: its rules, and what somebody sees through it."""

from __future__ import annotations

import re

from support.backend import REPOSITORY, Backend

PAGE = (REPOSITORY / "docs" / "gate.md").read_text(encoding="utf-8")
BUILDS = "/api/collections/app_builds"
CHECKS = "/api/collections/av_build_checks"


def rule_of(name: str) -> str:
    """Read a rule from the page, by the comment above it."""
    found = re.search(rf"<!-- rule: {name} -->\n```text\n(.+)\n```", PAGE)
    assert found is not None
    return found[1]


def set_rule(backend: Backend, collection: str, rule: str) -> None:
    backend.json("PATCH", collection, json={"listRule": rule, "viewRule": rule})


def listed(backend: Backend, token: str, collection: str = BUILDS) -> set[str]:
    page = backend.json("GET", f"{collection}/records", token=token)
    return {row["id"] for row in page["items"]}


def views(backend: Backend, build: str, token: str) -> bool:
    """Return whether the build can be had by its id."""
    answer = backend.request("GET", f"{BUILDS}/records/{build}", token=token)
    assert answer.status_code in {200, 404}
    return answer.ok
