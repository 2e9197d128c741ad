"""A small folder of signatures, and things that they find; the official ones can't be had here."""

from __future__ import annotations

from pathlib import Path

# In two pieces, lest a scanner puts this source into quarantine.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
EICAR_NAME = "Eicar-Test-Signature.UNOFFICIAL"

SAMPLES = Path("/usr/share/clamav-testfiles")
SAMPLE_NAME = "ClamAV-Test-File.UNOFFICIAL"
"""What the program in all of Debian's samples is called by `write_signatures`."""


def write_signatures(folder: Path) -> Path:
    """Write signatures for EICAR and for Debian's samples into a folder; give the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eicar.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n")
    (folder / "samples.hdb").write_text("aa15bcf478d165efd2065190eb473bcb:544:ClamAV-Test-File\n")
    return folder


def write_official(folder: Path, *, number: int, built: int) -> Path:
    """Write the headers of an official set, enough for `--version`; `built` is in Unix seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    head = f"ClamAV-VDB:-:{number}:1:90:{'a' * 32}:signature:builder:{built}"
    for name in ("main.cvd", "daily.cvd"):
        (folder / name).write_bytes(head.encode().ljust(512))
    return folder
