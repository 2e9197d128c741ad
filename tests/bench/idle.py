"""An idle pass, which 1,439 of a day's 1,440 are, beside the start of Python and its packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median

from support.backend import Backend

from bench.contenders import ENVIRONMENT
from bench.lab import Lab, Pass, avscan
from bench.measure import Cost, run
from bench.stock import judged, stock
from bench.table import Row, Table

PACKAGES = "import requests, click, tenacity"
# Up to a thousand builds are compared in each pass.
BUILDS = (10, 900)


def compare_idle_passes(lab: Lab) -> Table:
    """Measure passes with nothing to do."""
    requests = {PACKAGES: 0}
    contenders: dict[str, Callable[[], Cost]] = {
        PACKAGES: lambda: run([sys.executable, "-c", PACKAGES], env=ENVIRONMENT)
    }
    with ExitStack() as servers:
        for count in BUILDS:
            name = f"avscan run, {count} builds"
            idle = _idle_pass(servers.enter_context(lab.backend()), count)
            requests[name] = idle().finished["requests"]
            contenders[name] = partial(_cost, idle)
        costs = _by_turns(lab.scale.idle_runs, contenders)
    return Table(
        title="An idle pass",
        note=(
            f"Milliseconds of one process, medians of {lab.scale.idle_runs} runs by turns;"
            " PocketBase runs beside it."
        ),
        rows=[_row(name, costs[name], requests[name]) for name in contenders],
    )


def _cost(do: Callable[[], Pass]) -> Cost:
    return do().cost


def _idle_pass(backend: Backend, count: int) -> Callable[[], Pass]:
    """Prepare a backend, and return what does a pass over it that has nothing to do."""
    backend.init()
    stock(backend, judged(count))

    def idle() -> Pass:
        done = avscan(backend)
        assert not done.finished["scanned"], done.finished
        return done

    return idle


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
