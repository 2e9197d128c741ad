"""The documentation: its links lead somewhere, and its commands are commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.backend import REPOSITORY

from avscan.cli import main

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
LONGEST_README = 1_000
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`avscan ([a-z][^`]*)`")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")
        for heading in headings
    }


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            if not target.startswith(("http:", "https:", "mailto:")):
                yield page, target


def commands() -> Iterator[tuple[str, str]]:
    """List the commands in code, and those in blocks, without what a shell does with them."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for code in _INLINE.findall(text):
            yield page.name, re.split(r" (?:\||\\)", code)[0]
        for block in _BLOCK.findall(text):
            for line in re.findall(r"\bavscan ([a-z]+(?: [^|#;&>)'\n]*)?)", block):
                if line.split()[0] in main.commands:
                    yield page.name, line.strip()


@pytest.mark.parametrize(
    ("page", "target"),
    [pytest.param(*each, id=f"{each[0].name} {each[1]}") for each in sorted(set(links()))],
)
def test_a_link_leads_to_a_page_and_its_heading(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = page.parent / path if path else page
    assert found.exists()
    assert not anchor or anchor in anchors(found)


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_a_command_of_the_docs_is_a_command(page: str, line: str) -> None:
    name, *arguments = shlex.split(line)
    assert name in main.commands
    context = click.Context(main, info_name="avscan")
    arguments = ["b" * 15 if each.startswith("BUILD") else each for each in arguments]
    main.commands[name].make_context(name, arguments, parent=context)


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= LONGEST_README


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {target.partition("#")[0] for page, target in links() if page.name == "README.md"}
    pages = {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"}
    assert pages <= linked
