"""Small files that are shown to clamscan together, in a tar.

clamscan makes and removes a folder for each path, which takes longer than scanning a small file. It
unpacks a plain tar, and scans each member as a whole file. If a bundle is not clean, each of its
members is shown again alone.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from functools import partial

from avscan.findings import Findings

END = "end-of-bundle"
"""The name under which the engine reports the last member of a bundle, the end mark, as unopened: it
has then unpacked the bundle to its end."""

BYTES = 2 << 20
"""Bytes of a bundle, without its last member."""

_BLOCK = 512
_CLEAN = Findings(unopened=(END,))
_HEADER = tarfile.TarInfo("member").tobuf(tarfile.USTAR_FORMAT)
_SIZE, _SUM = 124, 148  # the offsets of its size and its checksum
_BEFORE, _BETWEEN, _AFTER = _HEADER[:_SIZE], _HEADER[_SIZE + 11 : _SUM], _HEADER[_SUM + 6 :]
# The checksum is computed as if its own field held spaces (pax, "ustar Interchange Format").
_SUM_OF_REST = sum(_BEFORE + _BETWEEN + b" " * 8 + _AFTER[2:])


class Bundle:
    """Members of a tar that has not been written yet."""

    def __init__(self, end_mark: bytes) -> None:
        self._end_mark = end_mark
        # The first member is empty: so no content is at byte 512, where EFI disks have their magic.
        self._blocks = [_HEADER]
        self._members: list[Callable[[], None]] = []
        self.size = 0

    def add(self, content: bytes, show_alone: Callable[[bytes], None]) -> None:
        """Add a file; `show_alone` is called with its content if the bundle is not clean."""
        self._append(content)
        self._members.append(partial(show_alone, content))

    def _append(self, content: bytes) -> None:
        self._blocks += (_header(len(content)), content, bytes(-len(content) % _BLOCK))
        self.size += len(content) + _BLOCK

    def tar(self) -> bytes:
        """Return the tar, with the end mark behind its members. It can be called once."""
        self._append(self._end_mark)
        whole = b"".join((*self._blocks, bytes(2 * _BLOCK)))
        self._blocks.clear()
        return whole

    def settle(self, findings: Findings) -> None:
        """Show each member alone if the engine found anything but the end mark."""
        if findings != _CLEAN:
            for show_alone in self._members:
                show_alone()


def _header(size: int) -> bytes:
    """Return a header of a regular file (pax, "ustar Interchange Format")."""
    digits = b"%011o" % size
    return b"".join((_BEFORE, digits, _BETWEEN, b"%06o" % (_SUM_OF_REST + sum(digits)), _AFTER))
