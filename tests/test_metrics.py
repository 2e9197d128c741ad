"""The metrics file of a pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from avscan.errors import EngineError, Interrupted
from avscan.ops import metrics
from avscan.ops.exposition import gauge
from avscan.ops.watch import Watch, exit_code
from avscan.settings import Settings
from avscan.summary import Summary
from avscan.workspace import Busy

SETTINGS = Settings.parse(
    {
        "POCKETBASE_URL": "http://localhost",
        "POCKETBASE_TOKEN": "token",
    }
)


def figures(path: Path) -> dict[str, float]:
    return {
        sample.name.removeprefix("avscan_"): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "avscan.prom"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineError("no signatures"), 6),
        (Interrupted(15), 143),
        (ZeroDivisionError(), 1),
    ],
)
def test_a_failed_pass_writes_its_figures_and_exit_code(
    path: Path, error: BaseException, code: int
) -> None:
    watch = Watch(replace(SETTINGS, metrics_file=path))
    watch.summary = Summary(files=3, signatures="ClamAV 1.4.6, signatures 27800 of 2026-04-30")
    with pytest.raises(type(error)), watch:
        raise error
    found = figures(path)
    assert (found["pass_exit_code"], found["pass_success"]) == (code, 0)
    assert found["pass_files"] == 3
    assert found["signatures_age_seconds"] > 0


def test_a_pass_skipped_for_another_one_writes_nothing(path: Path) -> None:
    with (
        pytest.raises(Busy),
        Watch(replace(SETTINGS, metrics_file=path)),
    ):
        raise Busy("another pass")
    assert not path.exists()
    assert exit_code(Busy("another pass")) == 0


def test_the_file_is_replaced_atomically(path: Path) -> None:
    metrics.write(path, [gauge("pass_files", "Files.", 1)])

    def broken() -> Iterator[str]:
        yield gauge("pass_files", "Files.", 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        metrics.write(path, broken())
    assert figures(path) == {"pass_files": 1}
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_written_is_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = path / "gone" / "avscan.prom"
    with Watch(replace(SETTINGS, metrics_file=gone)):
        pass
    assert [record.message for record in caplog.records] == ["metrics.failed"]


def test_a_link_made_after_the_settings_were_read_is_not_followed(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("not avscan's")
    path.symlink_to(target)
    metrics.write(path, [gauge("pass_files", "Files.", 1)])
    assert target.read_text() == "not avscan's"
    assert figures(path) == {"pass_files": 1}
