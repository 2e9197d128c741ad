"""avscan with one safeguard taken out, to see that the suite notices.

    python without.py SAFEGUARD run --full

Hearts beat fast here, so that nobody has to wait for a beat.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from avscan import cli
from avscan.backend import journal, pocketbase
from avscan.backend.ledger import Ledger
from avscan.heartbeat import Heartbeat

BEAT = 0.1


def nothing() -> None:
    """Take out nothing."""


def file_comparison() -> None:
    """Take any files for the same."""

    def digest(files: Iterable[str]) -> str:
        return "0" * 32

    journal.digest = digest


def heartbeat() -> None:
    """Send no heartbeat."""

    setattr(Ledger, "beat", lambda _ledger: None)  # noqa: B010 - mypy knows better


def guest_detection() -> None:
    """Believe a list that a guest got."""
    setattr(pocketbase, "GUARD", 'id != ""')  # noqa: B010 - it is imported there


SAFEGUARDS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (nothing, file_comparison, heartbeat, guest_detection)
}


def main() -> None:
    defaults = Heartbeat.__init__.__kwdefaults__
    assert defaults is not None
    defaults["interval"] = BEAT
    SAFEGUARDS[sys.argv.pop(1)]()
    cli.main()


if __name__ == "__main__":
    main()
