"""The file that clamscan must find before anything that it says is believed."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from avscan.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path


def eicar() -> bytes:
    """Give the test file that every scanner calls a virus by agreement (eicar.org): harmless."""
    # In two pieces: found whole in this source, it would have this source put into quarantine.
    return rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def pack(folder: Path, own: Path | None) -> Path:
    """Write a zip with EICAR, or with a file of the operator's own, into a folder; give its path.

    Deflated, so that it is found only if it is unpacked. Raises EngineError.
    """
    try:
        content = eicar() if own is None else own.read_bytes()
    except OSError as error:
        raise EngineError(f"CANARY_FILE can't be read: {error.strerror}: {own}") from error
    path = folder / "canary.zip"
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("canary", content)
    except OSError as error:
        raise EngineError(f"the work folder can't be written: {error.strerror}") from error
    return path
