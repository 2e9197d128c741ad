"""The differential suite's options.

`pytest -m differential tests/differential --differential-archives=1000 --differential-seed=7`
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from differential.helpers import Programs, build
from differential.suite import Plan

ARCHIVES = 1000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("differential")
    group.addoption(
        "--differential-archives", type=int, default=ARCHIVES, help="How many archives are made."
    )
    group.addoption("--differential-seed", type=int, help="Repeat the archives of this seed.")
    group.addoption(
        "--differential-processes", type=int, help="How many run at once; one for each CPU."
    )


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return build(tmp_path_factory.mktemp("readers"))


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> Plan:
    given = request.config.getoption("--differential-seed")
    return Plan(
        seed=random.randrange(1_000_000) if given is None else int(given),
        archives=request.config.getoption("--differential-archives"),
        processes=request.config.getoption("--differential-processes") or os.cpu_count() or 1,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()
