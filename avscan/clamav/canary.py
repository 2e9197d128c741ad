"""The canary: a file that clamscan must find before its results count."""

from __future__ import annotations

import zipfile
from pathlib import Path

from avscan.errors import EngineError


def eicar() -> bytes:
    """Return the harmless test file that every scanner reports as a virus (eicar.org)."""
    # In two pieces, so that scanners do not report this source.
    return rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def pack(folder: Path, own: Path | None) -> Path:
    """Write a zip of EICAR, or of the operator's own file, into a folder; return its path.

    It is deflated, so that it is found only if it is unpacked. Raise EngineError if the operator's
    file cannot be read, or OSError.
    """
    try:
        content = eicar() if own is None else own.read_bytes()
    except OSError as error:
        raise EngineError(f"CANARY_FILE can't be read: {error.strerror}: {own}") from error
    path = folder / "canary.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("canary", content)
    return path
