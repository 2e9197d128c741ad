"""An artifact examined in the test's own process, and all findings on it."""

from __future__ import annotations

from typing import Any

from avscan.archives.unpack import examine
from avscan.findings import Collector, Examination


def examined(*arguments: Any, **options: Any) -> Examination:
    """Examine as the inspector does, and collect what it reports."""
    collector = Collector()
    examine(*arguments, report=collector.add, **options)
    return collector.examination()
