"""The architecture: imports go one way, and the two sides never import each other."""

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

SHARED = {"errors", "records", "parsers", "variables", "settings", "findings", "text"}
# The packages, and the packages that each may import. `backend`, which has the credentials, and the
# inspector's side, which parses artifacts, never import each other.
PACKAGES: dict[str, set[str]] = {
    "archives": set(),
    "clamav": {"archives"},
    "inspector": {"archives", "clamav"},
    "backend": set(),
    "ops": {"archives", "backend", "clamav", "inspector"},
}
# Above the packages: what joins them, and what starts that.
TOP = {
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


def package_of(name: str) -> str:
    """Return the package of a module; '' for those at the top."""
    package, _, rest = name.partition(".")
    return package if rest or package in PACKAGES else ""


def test_no_imports_are_circular() -> None:
    TopologicalSorter({name: ours(name) for name in MODULES}).prepare()


def test_every_module_that_is_named_here_exists() -> None:
    assert SHARED | TOP | set(PACKAGES) <= set(MODULES)


@pytest.mark.parametrize("name", sorted(SHARED))
def test_shared_values_import_nothing_but_errors(name: str) -> None:
    assert ours(name) <= {"errors", *(("parsers", "variables") if name == "settings" else ())}


@pytest.mark.parametrize("name", ["errors", "findings", "text"])
def test_the_lowest_modules_import_no_other(name: str) -> None:
    assert not ours(name)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if package_of(name) in PACKAGES))
def test_a_package_imports_no_package_but_those_below_it(name: str) -> None:
    package = package_of(name)
    assert {package_of(each) for each in ours(name)} <= {"", package} | PACKAGES[package]


@pytest.mark.parametrize("package", sorted(set(PACKAGES) - {"ops"}))
def test_no_package_needs_a_module_of_the_top(package: str) -> None:
    inside = {name for name in MODULES if package_of(name) == package}
    assert not {each for name in inside for each in reaches(name)} & TOP


@pytest.mark.parametrize(
    "name", ["backend.transport", "backend.pocketbase", "clamav.clamscan", "archives.unpack"]
)
def test_libraries_need_neither_settings_nor_records(name: str) -> None:
    assert not reaches(name) & {"settings", "records"}


PURE = ("verdict", "backend.journal", "backend.sections")


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_need_no_module_with_side_effects(name: str) -> None:
    assert not {each for each in reaches(name).difference(PURE) if package_of(each)}


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


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"cli", "boundary", "ops.health"}))
def test_only_a_command_catches_every_error_of_ours(name: str) -> None:
    """`health` makes a line of each."""
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
