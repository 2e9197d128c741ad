"""An idle pass, which 1,439 of a day's 1,440 are, beside the start of Python and its packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

from support.backend import ZAPUSKALKAS

from bench.contenders import ENVIRONMENT
from bench.lab import Lab, avoid_full_minute, avscan
from bench.measure import Cost, run
from bench.stock import judged, stock
from bench.table import Row, Table

PACKAGES = "import requests, click, tenacity"
BUILDS = 100


def compare_idle_passes(lab: Lab) -> Table:
    """Measure passes with nothing to do, on a backend of a hundred builds."""
    requests: dict[str, int] = {}

    def idle(name: str, *arguments: str) -> Cost:
        done = avscan(backend, *arguments)
        requests[name] = done.finished["requests"]
        assert not done.finished["scanned"], done.finished
        return done.cost

    with lab.backend(ZAPUSKALKAS) as backend:
        backend.init()
        stock(backend, judged(BUILDS))
        avoid_full_minute()
        contenders: dict[str, Callable[[], Cost]] = {
            PACKAGES: lambda: run([sys.executable, "-c", PACKAGES], env=ENVIRONMENT),
            "avscan run": lambda: idle("avscan run"),
            "avscan run --full": lambda: idle("avscan run --full", "--full"),
        }
        costs = _by_turns(lab.scale.idle_runs, contenders)
    return Table(
        title="An idle pass",
        note=(
            f"Milliseconds of one process, medians of {lab.scale.idle_runs} runs by turns;"
            " PocketBase runs beside it."
        ),
        rows=[_row(name, costs[name], requests.get(name, 0)) for name in contenders],
    )


def _by_turns(runs: int, contenders: dict[str, Callable[[], Cost]]) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contend in contenders.items():
            costs[name].append(contend())
    return costs


def _row(name: str, costs: list[Cost], requests: int) -> Row:
    return {
        "process": name,
        "CPU": 1000 * median(cost.cpu for cost in costs),
        "wall": 1000 * median(cost.wall for cost in costs),
        "requests": requests,
    }
