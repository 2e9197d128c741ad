"""Signatures of our own, which make clamscan report what it comes upon and can't open.

What an ISO or a CAB holds, only clamscan sees, and it says `OK` over members that it has no way to
unpack. It looks for signatures in each of them, though: so these match no malware but the first
bytes of such formats, and the headers of such entries of zips.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from avscan.archives.bundle import END
from avscan.archives.looks import UNSUPPORTED
from avscan.archives.zips import PASSED_OVER, ZIP64
from avscan.clamav.transcript import MARK
from avscan.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

_DEBIAN = b"!<arch>\ndebian-binary"
_ENTRY = "504b0304"
_SIZES_ELSEWHERE = f"{_ENTRY}{'??' * 14}{'ff' * 8}"


def write(folder: Path, end_mark: bytes) -> Path:
    """Write the signatures into a folder inside `folder`; return its path. Raise EngineError.

    `end_mark` is the content that marks the end of a bundle.
    """
    marks = [_mark(name, "0", magic.hex()) for magic, name in UNSUPPORTED.items()]
    marks.append(_mark("deb", "0", _DEBIAN.hex()))
    for name, method in PASSED_OVER.items():
        number = method.to_bytes(2, "little").hex()
        marks.append(_mark(name, "*", f"{_ENTRY}{'??' * 4}{number}"))
    marks.append(_mark(ZIP64, "*", _SIZES_ELSEWHERE))
    digest = hashlib.sha256(end_mark).hexdigest()
    end = f"{digest}:{len(end_mark)}:{MARK}{END}\n"
    path = folder / "marks"
    try:
        path.mkdir(exist_ok=True)
        (path / "marks.ndb").write_text("".join(marks), encoding="ascii")
        (path / "end.hsb").write_text(end, encoding="ascii")
    except OSError as error:
        raise EngineError(f"the work folder can't be written: {error.strerror}") from error
    return path


def _mark(name: str, offset: str, content: str) -> str:
    """Return a line of a `.ndb` file: a name, any type of file, an offset, bytes."""
    return f"{MARK}{name}:0:{offset}:{content}\n"
