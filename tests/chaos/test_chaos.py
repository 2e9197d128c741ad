"""After any storm all is right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.backend import Backend

from chaos.storm import Storm


@pytest.mark.chaos
@pytest.mark.parametrize("indexed", [False, True], ids=["without the index", "with the index"])
def test_after_a_storm_every_build_has_its_verdict_and_nothing_is_left(
    backend: Backend, tmp_path: Path, chaos_seed: int, chaos_seconds: float, *, indexed: bool
) -> None:
    if indexed:
        backend.init()
    with Storm(backend, tmp_path, seed=chaos_seed) as storm:
        storm.rage(chaos_seconds / 2)
        found = storm.calm()
    sys.stdout.write(f"{storm.counts}\n")
    assert not found, "\n".join([f"seed {chaos_seed}", *found])
