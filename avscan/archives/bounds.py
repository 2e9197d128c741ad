"""The bounds of what may be unpacked of one artifact, and the account of what was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avscan.errors import WorkspaceError

_GIB = 1 << 30
LITTLE = 256 << 20  # bytes of free disk that are too few for any artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The most that one artifact may need.

    `unpacked_bytes` counts a byte once in each layer that it is unpacked from. `members` counts
    files, in all layers together. `depth` counts containers within containers, where a `tar.gz` is
    two. `ceiling` is the most bytes that the engine scans as one file, and `reserve` the bytes that
    stay free on the disk.
    """

    unpacked_bytes: int = 128 * _GIB
    members: int = 500_000
    depth: int = 48
    ceiling: int = 2_147_483_645
    reserve: int = 64 << 20


class ExceededError(Exception):
    """A bound was exceeded; the text names it."""


class Account:
    """The account of one artifact.

    The artifact may use the disk's free bytes at the beginning. To need more is the artifact's fault;
    if there are fewer later, it is not. `make_room` is called when there is too little room, and may
    remove files. `members` is the number of members that were entered, `on_disk` the bytes that
    are on the disk.
    """

    def __init__(self, bounds: Bounds, workspace: Path) -> None:
        self._bounds = bounds
        self._workspace = workspace
        self._unpacked = 0
        self.members = 0
        self.make_room: Callable[[], None] = lambda: None
        self.on_disk = 0
        self._room = self._free()

    def unpack(self, size: int) -> None:
        """Account for `size` bytes that were unpacked. Raise ExceededError."""
        self._unpacked += size
        if self._unpacked > self._bounds.unpacked_bytes:
            raise ExceededError(f"more than {self._bounds.unpacked_bytes} bytes unpacked")

    def enter(self, depth: int) -> None:
        """Account for one more member, `depth` containers deep. Raise ExceededError."""
        self.members += 1
        if self.members > self._bounds.members:
            raise ExceededError(f"more than {self._bounds.members} members")
        if depth > self._bounds.depth:
            raise ExceededError(f"more than {self._bounds.depth} containers within one another")

    def keep(self, size: int) -> None:
        """Account for `size` bytes about to be written.

        Raises:
            ExceededError: the artifact needs more room than there was.
            WorkspaceError: there is less room than there was.

        """
        free = self._free()
        if size > free:
            self.make_room()
            free = self._free()
        if size > free:
            if self._room > LITTLE and self.on_disk + size > self._room:
                raise ExceededError(f"needs more than the {self._room} bytes of free disk")
            raise full(self._workspace)
        self.on_disk += size

    def drop(self, size: int) -> None:
        """Account for `size` bytes that were removed."""
        self.on_disk -= size

    def _free(self) -> int:
        return shutil.disk_usage(self._workspace).free - self._bounds.reserve


def full(workspace: Path) -> WorkspaceError:
    """Return the error of a full disk."""
    return WorkspaceError(f"the disk of WORK_DIR {workspace} is full: make room there")
