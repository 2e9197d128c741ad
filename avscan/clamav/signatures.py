"""The signatures: whether there is a complete set, and how old it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from avscan.clamav.transcript import EngineVersion
from avscan.errors import EngineError

NOTES = ".dat"
"""The suffix of the files in which freshclam and `refresh` keep notes beside the signatures."""

_OFFICIAL = frozenset({".cvd", ".cld"})
_ADVICE = "`avscan refresh --now` or Debian's clamav-freshclam fetches them"


def files(folder: Path) -> list[Path]:
    """Return the files of a folder that clamscan would load. Raise OSError."""
    return [path for path in folder.iterdir() if path.is_file() and path.suffix != NOTES]


def require(source: Path) -> None:
    """Check that there are signatures, and not only a part of the official set.

    freshclam downloads the official set file by file, `daily` before `main`: a scan between the two
    would use only a part of the signatures. `source` is a folder; one file is not checked.

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
    """Return the age of the daily set; None if there is none. `now` has a time zone."""
    return None if version.date is None else now - version.date


def require_fresh(version: EngineVersion, *, now: datetime, most: timedelta) -> None:
    """Check that the daily set, if there is one, is not older than `most` (0: any age).

    Raises:
        EngineError: it is older.

    """
    found = age(version, now)
    if found is not None and most and found > most:
        raise EngineError(
            f"{version}: older than MAX_SIGNATURE_AGE ({most / timedelta(days=1):g} days):"
            " the log of `avscan refresh` or of Debian's clamav-freshclam shows why"
        )
