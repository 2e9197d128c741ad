"""Small files that clamscan is shown together, in a tar of our own.

For a file of a path of its own clamscan makes and removes a folder, which takes longer than scanning
a small file. A plain tar it unpacks by itself, and scans each member as a whole file. Only a whole
answer counts: of a bundle that is not clean, each member is shown again by itself.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from functools import partial

from avscan.findings import Findings

END = "end-of-bundle"
"""What the engine reports as unopened when it comes upon the last member, whose whole content it
knows by a hash: so it has unpacked the bundle to its end."""

BYTES = 2 << 20
"""How long a bundle gets, at most by its last member."""

_BLOCK = 512
_CLEAN = Findings(unopened=(END,))
_HEADER = tarfile.TarInfo("member").tobuf(tarfile.USTAR_FORMAT)
_SIZE, _SUM = 124, 148  # where its size and its sum stand, the end of which is fixed
_BEFORE, _BETWEEN, _AFTER = _HEADER[:_SIZE], _HEADER[_SIZE + 11 : _SUM], _HEADER[_SUM + 6 :]
# The sum takes itself for spaces (pax, "ustar Interchange Format").
_SUM_OF_REST = sum(_BEFORE + _BETWEEN + b" " * 8 + _AFTER[2:])


class Bundle:
    """Members that are collected, until they are written."""

    def __init__(self, end_mark: bytes) -> None:
        self._end_mark = end_mark
        # A first, empty member: so a header stands where a disk of EFI has its magic, no content.
        self._blocks = [_HEADER]
        self._members: list[Callable[[], None]] = []
        self.size = 0

    def add(self, content: bytes, again: Callable[[bytes], None]) -> None:
        """Add a file; `again` is called with its content if it has to be shown by itself."""
        self._append(content)
        self._members.append(partial(again, content))

    def _append(self, content: bytes) -> None:
        self._blocks += (_header(len(content)), content, bytes(-len(content) % _BLOCK))
        self.size += len(content) + _BLOCK

    def tar(self) -> bytes:
        """Return it as a tar with the end mark behind its members. Can be called once."""
        self._append(self._end_mark)
        whole = b"".join((*self._blocks, bytes(2 * _BLOCK)))
        self._blocks.clear()
        return whole

    def settle(self, findings: Findings) -> None:
        """Show each member by itself if what was found is anything but the end."""
        if findings != _CLEAN:
            for again in self._members:
                again()


def _header(size: int) -> bytes:
    """Return a header of a regular file (pax, "ustar Interchange Format")."""
    digits = b"%011o" % size
    return b"".join((_BEFORE, digits, _BETWEEN, b"%06o" % (_SUM_OF_REST + sum(digits)), _AFTER))
