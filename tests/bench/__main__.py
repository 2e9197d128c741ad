"""The benchmark's command line."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click
from support.backend import REPOSITORY

from bench.footprint import measure_backlogs, measure_large_artifacts
from bench.idle import compare_idle_passes
from bench.lab import Lab
from bench.large import compare_large_backends
from bench.machine import describe_machine
from bench.passes import compare_passes, compare_slow_downloads
from bench.scale import FULL, TINY
from bench.small import compare_small
from bench.table import Table

CACHE = REPOSITORY / ".cache" / "bench"
PARTS: dict[str, Callable[[Lab], Table]] = {
    "idle": compare_idle_passes,
    "artifact": measure_large_artifacts,
    "backlog": measure_backlogs,
    "large": compare_large_backends,
    "pass": compare_passes,
    "slow": compare_slow_downloads,
    "small": compare_small,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", type=click.Choice(list(PARTS)), multiple=True, help="Only this part; may be repeated."
)
@click.option("--tiny", is_flag=True, help="Toy sizes: shows that it works, and nothing else.")
@click.option("--runs", type=click.IntRange(1), help="Repeat passes this often.")
@click.option(
    "--builds", type=click.IntRange(1), multiple=True, help="Passes over this many builds."
)
@click.option("--rows", type=click.IntRange(1), multiple=True, help="Backends this large.")
@click.option(
    "--json",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CACHE / "result.json",
    show_default=True,
    help="Where the figures go.",
)
def main(
    *,
    only: Sequence[str],
    tiny: bool,
    runs: int | None,
    builds: tuple[int, ...],
    rows: tuple[int, ...],
    target: Path,
) -> None:
    """Measure what avscan costs, beside what it must cost, on this machine.

    All of it takes about an hour on two cores, which nothing else should use meanwhile.
    """
    scale = TINY if tiny else FULL
    scale = replace(
        scale, runs=runs or scale.runs, builds=builds or scale.builds, rows=rows or scale.rows
    )
    parts = only or list(PARTS)
    _require_programs(parts)
    machine = describe_machine()
    click.echo("\n".join(f"{name}: {value}" for name, value in machine.items()))
    CACHE.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=CACHE))
    tables: dict[str, Table] = {}
    try:
        lab = Lab(scale, cache=CACHE, scratch=scratch)
        for name in parts:
            tables[name] = PARTS[name](lab)
            click.echo(f"\n{tables[name].markdown()}")
            _write(target, machine, tables)
    finally:
        shutil.rmtree(scratch)


def _require_programs(parts: Sequence[str]) -> None:
    """Fail now, and not after half an hour, if a program is not installed."""
    programs = ["clamscan", *(["clamd", "clamdscan"] if "pass" in parts else [])]
    if missing := [program for program in programs if shutil.which(program) is None]:
        packages = "apt-get install clamav clamav-daemon clamdscan"
        raise click.ClickException(f"missing: {', '.join(missing)} ({packages})")


def _write(target: Path, machine: dict[str, str], tables: dict[str, Table]) -> None:
    found = {name: list(map(dict, table.rows)) for name, table in tables.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": machine, "tables": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
