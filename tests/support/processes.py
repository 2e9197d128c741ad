"""The processes that a test has started."""

from __future__ import annotations

import os
from pathlib import Path


def children(pid: int | None = None) -> list[int]:
    """Return the child processes of a process, of this one by default (proc(5))."""
    tasks = Path(f"/proc/{pid or os.getpid()}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def child_that_runs(words: str) -> int:
    """Return the one child of this process whose command line contains the words."""
    (child,) = (
        pid for pid in children() if words.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    return child
