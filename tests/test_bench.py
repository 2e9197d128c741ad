"""The benchmark works; what it finds is no test's business."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from bench.__main__ import main
from bench.builds import make_builds
from bench.contenders import ENVIRONMENT
from bench.measure import run
from bench.signatures import signature_set
from bench.table import Table
from click.testing import CliRunner


@pytest.mark.slow
def test_it_measures_in_toy_sizes(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    parts = ["--only", "artifact", "--only", "slow", "--builds", "1", "--only", "small"]
    done = CliRunner().invoke(main, ["--tiny", *parts, "--json", str(target)])
    assert done.exit_code == 0, done.output
    found = json.loads(target.read_text())
    assert len(found["tables"]["artifact"]) == 3
    assert [row["files"] for row in found["tables"]["slow"]] == [3]
    assert [row["archive"] for row in found["tables"]["small"]][:2] == [
        "scripts.tar.gz",
        "scripts.zip",
    ]
    assert "### One artifact" in done.output


def test_a_table_is_markdown() -> None:
    table = Table(title="Passes", note="In seconds.", rows=[{"builds": 1000, "avscan": 12.34}])
    assert table.markdown().splitlines() == [
        "### Passes",
        "",
        "| builds | avscan |",
        "| ------ | ------ |",
        "| 1,000  | 12.3   |",
        "",
        "In seconds.",
    ]


def test_what_fails_does_not_look_fast() -> None:
    with pytest.raises(AssertionError, match=r"3\nwhy"):
        run([sys.executable, "-c", "print('why'); exit(3)"], env=ENVIRONMENT)


def test_memory_and_disk_are_watched_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "file"
    program = (
        "import sys, time, pathlib; file = pathlib.Path(sys.argv[1]);"
        "file.write_bytes(bytes(5_000_000)); time.sleep(0.3); file.unlink()"
    )
    cost = run([sys.executable, "-c", program, file], env=ENVIRONMENT, folder=tmp_path)
    assert cost.disk >= 5_000_000
    assert cost.memory >= 5_000_000
    assert cost.wall >= 0.3
    assert cost.cpu > 0


def test_the_same_signatures_and_builds_are_made_each_time(tmp_path: Path) -> None:
    first, second = (
        [signature_set(cache, 100), *make_builds(cache, count=1, size=4096)[0]]
        for cache in (tmp_path / "first", tmp_path / "second")
    )
    lines = [sorted(file.read_text() for file in each[0].iterdir()) for each in (first, second)]
    assert lines[0] == lines[1]
    assert sum(text.count("\n") for text in lines[0]) == 101 + 2
    assert [file.name for file in first[1:]] == [
        "bonus.pak",
        "game-linux.tar.gz",
        "game-windows.zip",
    ]
    assert first[1].read_bytes() == second[1].read_bytes()
