"""The chaos suite's options. `pytest tests/chaos --chaos-seconds=600 --chaos-seed=7` runs it.

A plain `pytest` leaves the storm out; whoever names this folder wants it.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SECONDS = 60.0
LEFT_OUT = " and not chaos"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption(
        "--chaos-seconds", type=float, default=SECONDS, help="How long the storm lasts."
    )
    group.addoption("--chaos-seed", type=int, help="Repeat the storm of this seed.")


def pytest_configure(config: pytest.Config) -> None:
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if any(path.is_relative_to(HERE) for path in named):
        config.option.markexpr = config.option.markexpr.replace(LEFT_OUT, "")


@pytest.fixture
def chaos_seconds(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--chaos-seconds", SECONDS))


@pytest.fixture
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """Print the seed, which pytest shows where a test fails."""
    given = request.config.getoption("--chaos-seed", None)
    seed = random.randrange(1_000_000) if given is None else int(given)
    sys.stdout.write(f"to see it again: pytest tests/chaos --chaos-seed={seed}\n")
    return seed
