"""How much memory a pass takes itself, beside clamscan: never more than 80 MB."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench.footprint import measure_backlogs, measure_large_artifacts
from bench.lab import Lab
from bench.scale import MIB, TINY
from bench.table import Table

pytestmark = pytest.mark.slow

PROMISED = 80e6 / MIB


def peaks(table: Table) -> list[float]:
    return [float(row["memory, MiB"]) for row in table.rows]


@pytest.mark.xdist_group("large")
def test_it_does_not_depend_on_an_artifacts_size(tmp_path: Path) -> None:
    scale = replace(TINY, artifact_size=512 * MIB)
    table = measure_large_artifacts(Lab(scale, cache=tmp_path, scratch=tmp_path))
    assert max(peaks(table)) < PROMISED


def test_it_hardly_depends_on_how_many_builds_wait(tmp_path: Path) -> None:
    scale = replace(TINY, backlogs=(1_000, 5_000))
    few, many = peaks(measure_backlogs(Lab(scale, cache=tmp_path, scratch=tmp_path)))
    assert many < few * 1.5
    assert many < PROMISED
