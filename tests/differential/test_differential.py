"""Whatever any tool unpacks, avscan has shown to clamscan, or it says that it could not."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from avscan.findings import Examination
from differential import readers, suite
from differential.figures import Figures, ended, unseen
from differential.generator import sample
from differential.helpers import Programs
from differential.suite import BATCH, Lab, Plan, Result, judge

SMALLEST = 60
"""For how many failures the fewest mutations are looked for."""


def judged(programs: Programs, plan: Plan) -> Iterator[list[Result]]:
    """Judge archives in several processes, batch by batch."""
    starts = range(0, plan.archives, BATCH)
    batches = [range(at, min(at + BATCH, plan.archives)) for at in starts]
    method = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(plan.processes, mp_context=method, max_tasks_per_child=20) as pool:
        yield from pool.map(partial(judge, programs, plan.seed), batches)


@pytest.mark.differential
def test_what_any_reader_yields_is_seen_or_objected_to(
    programs: Programs, plan: Plan, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not readers.missing(), "install these readers"
    figures = Figures()
    with capsys.disabled():
        say = sys.stdout.write
        say(f"\n--differential-seed={plan.seed} --differential-archives={plan.archives}\n")
        for results in judged(programs, plan):
            figures.add(results)
        say("".join(f"{line}\n" for line in figures.lines()))
    with Lab(programs, folder) as lab:
        smallest = [lab.smallest(result) for result in figures.missed[:SMALLEST]]
    failures = [*ended(figures), *unseen(smallest)]
    assert not failures, "\n".join([f"seed {plan.seed}", *failures])


@pytest.mark.differential
def test_every_reader_reads_valid_archives(programs: Programs, folder: Path) -> None:
    """Else one that is broken would find nothing for ever."""
    with Lab(programs, folder) as lab:
        yields = [lab.unpack(sample(1, index, only=()).data) for index in range(60)]
        successful = {name for each in yields for names in each.files.values() for name in names}
        names = {reader.name for reader in lab.readers}
    assert {name.rpartition("> ")[2] for name in successful} == names
    assert all(each.required for each in yields)


@pytest.mark.differential
def test_a_walk_that_shows_nothing_and_says_nothing_is_a_failure(
    programs: Programs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "examined", lambda *_, **__: Examination())
    with Lab(programs, folder) as lab:
        results = list(lab.judge([sample(1, 0), sample(1, 1)]))
    assert all(result.missed for result in results)
