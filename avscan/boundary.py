"""How a command ends: with one clear line and its exit code, whatever it was that ended it."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from avscan.confine import refuse_inspection
from avscan.errors import AvscanError, Interrupted

log = logging.getLogger(__name__)

ALARM = 1.0
"""Seconds from one look for signals to the next, at the most."""


@contextmanager
def boundary(what: str = "pass") -> Iterator[None]:
    """Turn what ends a command into one clear line and its exit code; events begin with `what`."""
    refuse_inspection()
    _fill_standard_streams()
    try:
        with _interruptible():
            yield
    except Interrupted as interrupted:
        log.warning("%s.stopped", what, extra={"reason": str(interrupted)})
        sys.exit(interrupted.exit_code)
    except AvscanError as error:
        if logging.getLogger("avscan").handlers:
            log.log(
                logging.ERROR if error.exit_code else logging.INFO,
                "%s.ended",
                what,
                extra={"reason": str(error), "exit_code": error.exit_code},
            )
        else:
            click.echo(f"avscan: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except BrokenPipeError:  # whoever reads what we print has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception:
        if not logging.getLogger("avscan").handlers:
            raise
        log.exception("bug")
        sys.exit(1)


def _fill_standard_streams() -> None:
    """Put something in place of a standard stream that is closed (`2>&-`).

    Else the next file or connection that is opened would be taken for it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - standard error
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise `Interrupted` at the first SIGTERM or SIGINT; what follows must not break the end.

    Python runs a handler between two of its instructions. A signal that comes just before a call
    that blocks would wait for the call's end, which may be that of a scan: so an alarm cuts each
    call short now and then. Python resumes it, after a look at what came (PEP 475).
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    signal.signal(signal.SIGALRM, lambda _number, _frame: None)
    signal.setitimer(signal.ITIMER_REAL, ALARM, ALARM)
    try:
        yield
    finally:  # before Python takes the handler away at its end
        signal.setitimer(signal.ITIMER_REAL, 0)
