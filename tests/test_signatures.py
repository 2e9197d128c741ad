"""The checks of the signatures before a scan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avscan.clamav import signatures
from avscan.clamav.transcript import EngineVersion
from avscan.errors import EngineError

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    "names",
    [
        ("eicar.ndb",),
        ("main.cvd", "daily.cvd", "bytecode.cvd"),
        ("main.cvd", "daily.cld"),
        ("main.cvd", "daily.cvd", "freshclam.dat", "refresh.dat"),
    ],
)
def test_a_complete_set(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    signatures.require(tmp_path)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "has none yet"),
        (("freshclam.dat", "refresh.dat"), "has none yet"),
        (("daily.cvd",), "has no main set yet"),
        (("daily.cvd", "bytecode.cvd", "own.ndb"), "has no main set yet"),
        (("main.cvd",), "has no daily set yet"),
    ],
)
def test_an_incomplete_set_must_be_waited_for(
    tmp_path: Path, names: tuple[str, ...], reason: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "tmp.5f641254e1").mkdir()
    with pytest.raises(EngineError, match=f"waiting for signatures: .*{reason}"):
        signatures.require(tmp_path)


def test_one_file_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.ndb"
    own.touch()
    signatures.require(own)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="can't be read: No such file"):
        signatures.require(tmp_path / "gone")


@pytest.mark.parametrize(
    ("days", "most", "fresh"),
    [(None, 7, True), (6.9, 7, True), (7.1, 7, False), (1000, 0, True)],
)
def test_the_maximum_age_of_the_daily_set(days: float | None, most: int, fresh: bool) -> None:  # noqa: FBT001
    date = None if days is None else NOW - timedelta(days=days)
    version = EngineVersion(engine="1.4.6", signatures=27800, date=date)
    most_age = timedelta(days=most)
    if fresh:
        signatures.require_fresh(version, now=NOW, most=most_age)
        return
    with pytest.raises(EngineError, match="MAX_SIGNATURE_AGE"):
        signatures.require_fresh(version, now=NOW, most=most_age)
