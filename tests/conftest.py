"""Fixtures for every test: real PocketBase servers, and a log that no test leaves to the next.

Properties are tried on few examples by default, and on many with `--hypothesis-profile=many`.

`backend` is Zapuskalka's own version, `every_backend` runs a test on all supported ones (the others
in the slow tier). Both start with Zapuskalka's collections as they are before `avscan init`;
`backend.init()` runs that.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from support import warm
from support.backend import NEWEST, VERSIONS, ZAPUSKALKAS, Backend, Template, make_template, running

# Times are no property: on a busy machine any example may take long.
settings.register_profile("few", max_examples=25, deadline=None)
settings.register_profile("many", max_examples=100, deadline=None)
settings.load_profile("few")

LONG = ("slow", "chaos", "image", "differential")
TemplateOf = Callable[[str], Template]


def pytest_configure() -> None:
    """Let SIGHUP and SIGINT end what the tests start, also where they run in the background."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs no server and is not long: `pytest -m quick` is for whoever edits."""
    for item in items:
        assert isinstance(item, pytest.Function)
        if "template_of" not in item.fixturenames and not any(map(item.get_closest_marker, LONG)):
            item.add_marker(pytest.mark.quick)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Undo what a command that ran within a test did to the log."""
    logger = logging.getLogger("avscan")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _no_helper_stays() -> Iterator[None]:
    yield
    warm.close()


@pytest.fixture(scope="session")
def template_of(tmp_path_factory: pytest.TempPathFactory) -> TemplateOf:
    """Return the prepared data folder of a version, made when it is first asked for."""

    @cache
    def make(version: str) -> Template:
        return make_template(tmp_path_factory.mktemp("pocketbase") / version, version)

    return make


@pytest.fixture
def backend(template_of: TemplateOf, tmp_path: Path) -> Iterator[Backend]:
    """Run a fresh PocketBase of Zapuskalka's version."""
    with running(template_of(ZAPUSKALKAS), tmp_path / "backend") as backend:
        yield backend


@pytest.fixture
def newest_backend(template_of: TemplateOf, tmp_path: Path) -> Iterator[Backend]:
    """Run a fresh PocketBase of the newest version."""
    with running(template_of(NEWEST), tmp_path / "backend") as backend:
        yield backend


@pytest.fixture(
    params=[pytest.param(v, marks=() if v == ZAPUSKALKAS else pytest.mark.slow) for v in VERSIONS]
)
def every_backend(
    request: pytest.FixtureRequest, template_of: TemplateOf, tmp_path: Path
) -> Iterator[Backend]:
    """Run a fresh PocketBase: of Zapuskalka's version by default, of all in the slow tier."""
    with running(template_of(request.param), tmp_path / "backend") as backend:
        yield backend
