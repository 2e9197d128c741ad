"""Signatures of our own: they match the beginning of formats that clamscan cannot open.

Only clamscan sees what is in an ISO or a CAB, and it prints `OK` for members that it cannot unpack.
But it matches signatures against each of them. So these signatures match no malware but the first
bytes of such formats, and the headers of such entries of zips.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from avscan.archives.bundle import END
from avscan.archives.unsupported import UNSUPPORTED
from avscan.archives.zips import UNSUPPORTED_METHODS, ZIP64
from avscan.clamav.transcript import MARKER

_DEBIAN = b"!<arch>\ndebian-binary"
_ENTRY = "504b0304"
_SIZES_ELSEWHERE = f"{_ENTRY}{'??' * 14}{'ff' * 8}"


def write(folder: Path, end_mark: bytes) -> Path:
    """Write the signatures into a folder inside `folder`; return its path. Raise OSError.

    `end_mark` is the content that marks the end of a bundle.
    """
    lines = [_signature(name, "0", magic.hex()) for magic, name in UNSUPPORTED.items()]
    lines.append(_signature("deb", "0", _DEBIAN.hex()))
    for name, method in UNSUPPORTED_METHODS.items():
        number = method.to_bytes(2, "little").hex()
        lines.append(_signature(name, "*", f"{_ENTRY}{'??' * 4}{number}"))
    lines.append(_signature(ZIP64, "*", _SIZES_ELSEWHERE))
    digest = hashlib.sha256(end_mark).hexdigest()
    path = folder / "markers"
    path.mkdir(exist_ok=True)
    (path / "markers.ndb").write_text("".join(lines), encoding="ascii")
    (path / "end.hsb").write_text(f"{digest}:{len(end_mark)}:{MARKER}{END}\n", encoding="ascii")
    return path


def _signature(name: str, offset: str, content: str) -> str:
    """Return a line of a `.ndb` file: a name, any type of file, an offset, bytes."""
    return f"{MARKER}{name}:0:{offset}:{content}\n"
