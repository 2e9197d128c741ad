"""The signatures: whether a set is there that can be scanned with, and how old it is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from avscan.errors import EngineError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from avscan.clamav.transcript import EngineVersion

NOTES = ".dat"
"""The ending of what freshclam and `refresh.py` note for themselves beside the signatures."""

_OFFICIAL = frozenset({".cvd", ".cld"})
_ADVICE = "`avscan refresh --now` fetches them"


def files(folder: Path) -> list[Path]:
    """List what clamscan would load from a folder. Raises OSError."""
    return [path for path in folder.iterdir() if path.is_file() and path.suffix != NOTES]


def require(source: Path) -> None:
    """Make sure that there are signatures, and not half a set.

    freshclam fetches the official set file by file, `daily` before `main`: what is scanned between
    the two would be called clean by a part of the signatures. `source` is a folder; of one file
    nothing is asked.

    Raises:
        EngineError: there are none yet, or only a part.

    """
    if source.is_file():
        return
    try:
        found = files(source)
    except OSError as error:
        raise EngineError(f"SIGNATURE_DIR {source} can't be read: {error.strerror}") from error
    if not found:
        raise EngineError(f"waiting for signatures: {source} has none yet ({_ADVICE})")
    missing = {"daily", "main"} - {path.stem for path in found if path.suffix in _OFFICIAL}
    if len(missing) == 1:
        raise EngineError(
            f"waiting for signatures: {source} has no {missing.pop()} set yet ({_ADVICE})"
        )


def age(version: EngineVersion, now: datetime) -> timedelta | None:
    """Give the age of the daily set; None if there is none. `now` knows its time zone."""
    return None if version.date is None else now - version.date


def require_fresh(version: EngineVersion, *, now: datetime, most: timedelta) -> None:
    """Make sure that the daily set, where there is one, is not older than `most` (0: any age).

    Raises:
        EngineError: it is older.

    """
    found = age(version, now)
    if found is not None and most and found > most:
        raise EngineError(
            f"{version}: older than MAX_SIGNATURE_AGE ({most / timedelta(days=1):g} days):"
            " run freshclam, or see why it fails"
        )
