"""docs/log-events.md has every event that avscan logs, with its level and its fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support.backend import REPOSITORY

import avscan

PACKAGE = Path(avscan.__file__).parent
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warn",
    "error": "error",
    "exception": "error",
}
COMMANDS = ("pass", "refresh")  # what `boundary` puts before the name of an event
NEVER = {"refresh.skipped"}  # a refresh that finds another one running ends in order
PAGE = (REPOSITORY / "docs" / "log-events.md").read_text(encoding="utf-8")
ROWS = {
    name: (levels, fields)
    for name, levels, fields in re.findall(
        r"^\| `([a-z_.]+)` \| ([a-z, ]+) \|([^|]*)\|", PAGE, re.MULTILINE
    )
}


def logged() -> Iterator[tuple[str, str, set[str]]]:
    """List the calls that log: the event, its level ('' where it varies), and its fields."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "log"):
                continue
            if node.func.attr not in {*LEVELS, "log"}:
                continue
            level = LEVELS.get(node.func.attr, "")
            message = node.args[0 if level else 1]
            fields = {
                key.value
                for keyword in node.keywords
                for inner in ast.walk(keyword.value)
                if isinstance(inner, ast.Dict)
                for key in inner.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
            if isinstance(message, ast.Constant):
                assert isinstance(message.value, str)
                for command in COMMANDS:
                    yield message.value.replace("%s", command), level, fields
            else:  # how a pass ended
                yield "pass.finished", level, fields
                yield "pass.unfinished", level, fields


def test_the_page_has_every_event_and_no_other() -> None:
    assert {name for name, _, _ in logged()} - NEVER == set(ROWS)


def test_the_page_has_the_level_of_each_event() -> None:
    for name, level, _ in logged():
        if name in NEVER:
            continue
        assert level in ROWS[name][0], name


def test_the_page_has_the_fields_of_each_event() -> None:
    for name, _, fields in logged():
        if name in NEVER:
            continue
        missing = {field for field in fields if f"`{field}`" not in ROWS[name][1]}
        assert not missing, name
