"""The shape of the code: imports point one way, and two wings never meet."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.backend import Backend

import avscan

PACKAGE = Path(avscan.__file__).parent

GROUND = {"errors", "records", "parsers", "variables", "settings", "findings", "text"}
# The packages, and the packages that each may import. `backend`, which has the credentials, and the
# inspector's side, which parses artifacts, never import each other.
ROOMS: dict[str, set[str]] = {
    "archives": set(),
    "clamav": {"archives"},
    "inspector": {"archives", "clamav"},
    "backend": set(),
    "ops": {"archives", "backend", "clamav", "inspector"},
}
# Above the rooms: what joins them, and what starts that.
ROOF = {
    *("sweep", "scans", "scanner", "inspection", "summary", "wiring", "passes", "rescan"),
    *("boundary", "signals", "cli", "options", "__main__", "demo"),
}


def modules() -> dict[str, ast.Module]:
    """Parse every module; a package goes by its folder's name, ours by ''."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """List what a module imports, late imports and those for types included."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix("avscan.")
                yield f"avscan.{inner}" if inner in MODULES else module


@cache
def ours(name: str) -> frozenset[str]:
    """List the modules of ours that a module imports."""
    return frozenset(
        target.removeprefix("avscan.") for target in imported(name) if target.startswith("avscan.")
    )


@cache
def reaches(name: str) -> frozenset[str]:
    """List the modules of ours that a module needs, directly or not."""
    return ours(name).union(*(reaches(each) for each in ours(name)))


def room_of(name: str) -> str:
    """Tell in which room a module is; '' for those that are in none."""
    room, _, rest = name.partition(".")
    return room if rest or room in ROOMS else ""


def test_there_are_no_circles() -> None:
    TopologicalSorter({name: ours(name) for name in MODULES}).prepare()


def test_every_module_that_is_named_here_exists() -> None:
    assert GROUND | ROOF | set(ROOMS) <= set(MODULES)


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_rests_on_errors_alone(name: str) -> None:
    assert ours(name) <= {"errors", *(("parsers", "variables") if name == "settings" else ())}


@pytest.mark.parametrize("name", ["errors", "findings", "text"])
def test_the_lowest_import_nothing_of_ours(name: str) -> None:
    assert not ours(name)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if room_of(name) in ROOMS))
def test_a_room_leans_on_no_room_but_those_below_it(name: str) -> None:
    room = room_of(name)
    assert {room_of(each) for each in ours(name)} <= {"", room} | ROOMS[room]


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"ops"}))
def test_the_wings_know_nothing_of_the_roof(room: str) -> None:
    inside = {name for name in MODULES if room_of(name) == room}
    assert not {each for name in inside for each in reaches(name)} & ROOF


@pytest.mark.parametrize(
    "name", ["backend.transport", "backend.pocketbase", "clamav.clamscan", "archives.unpack"]
)
def test_the_small_libraries_know_neither_settings_nor_collections(name: str) -> None:
    assert not reaches(name) & {"settings", "records"}


PURE = ("verdict", "backend.journal", "backend.sections")


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_knows_nobody_who_talks_to_others(name: str) -> None:
    assert not {each for each in reaches(name).difference(PURE) if room_of(each)}


def test_nothing_imports_the_command_line_but_its_start() -> None:
    assert {name for name in MODULES if "cli" in ours(name)} == {"__main__"}


def test_the_package_exports_its_version_and_nothing_else() -> None:
    names = [
        target.id
        for node in MODULES[""].body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert names == ["__version__"]
    assert not list(imported(""))


def called(name: str) -> set[str]:
    """List what a module calls, as it is written."""
    calls = (node for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call))
    return {ast.unparse(call.func) for call in calls}


# The command line, and the inspector, which is a program of its own.
ENDING = {"cli", "options", "boundary", "signals", "inspector.child", "inspector.confine"}


@pytest.mark.parametrize("name", sorted(set(MODULES) - ENDING))
def test_only_the_command_line_prints_and_exits(name: str) -> None:
    assert not called(name) & {"print", "sys.exit", "exit", "quit", "os._exit", "os.abort"}
    assert not {each for each in called(name) if each.startswith("click.")}
    assert "click" not in imported(name)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"cli", "boundary"}))
def test_only_the_command_line_catches_every_error_of_ours(name: str) -> None:
    handlers = [node for node in ast.walk(MODULES[name]) if isinstance(node, ast.ExceptHandler)]
    swallowing = [
        handler
        for handler in handlers
        if isinstance(handler.type, ast.Name)
        and handler.type.id == "AvscanError"
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]
    assert not swallowing


# -- what a run loads -----------------------------------------------------------------------------


def loaded(program: str, *, env: dict[str, str] | None = None) -> set[str]:
    """Run a program, and list the modules that it loaded."""
    program += "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_command_line_alone_loads_no_http() -> None:
    found = loaded("import avscan.cli")
    assert "avscan.cli" in found
    assert not found & {"requests", "urllib3", "tenacity", "avscan.sweep", "avscan.clamav.clamscan"}


def test_a_pass_with_nothing_to_do_loads_no_engine(backend: Backend) -> None:
    program = (
        "import os; from avscan.settings import Settings; from avscan.passes import run_pass\n"
        "assert run_pass(Settings.parse(os.environ), full=True).scanned == 0"
    )
    found = loaded(program, env=backend.environment())
    assert "avscan.sweep" in found
    unused = {"unpack", "clamscan", "feed", "child"}
    assert not {name.rpartition(".")[2] for name in found if name.startswith("avscan.")} & unused


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parent.rglob("test_*.py")), ids=lambda path: path.stem
)
def test_no_test_module_imports_another(path: Path) -> None:
    """What several of them use belongs into `support`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").rpartition(".")[2].startswith("test_")
