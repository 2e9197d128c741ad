"""The error boundary of every command: errors and signals become one line and an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from avscan.errors import AvscanError, Interrupted
from avscan.inspector.confine import refuse_inspection
from avscan.logs import silence
from avscan.signals import interruptible

log = logging.getLogger(__name__)


@contextmanager
def boundary(events: str = "") -> Iterator[None]:
    """Exit with one line and the matching exit code on an error or a signal.

    `events` is the prefix of the log event's name. If it is empty, or the log is not configured yet,
    the line is plain text on standard error. A signal that comes before the log is configured has no
    line: nothing has begun, and a collector of JSON lines could not read it.
    """
    refuse_inspection()
    _fill_standard_streams()
    if not events:
        silence()
    try:
        with interruptible():
            yield
    except (Interrupted, AvscanError) as error:
        _report(error, events)
        sys.exit(error.exit_code)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception:
        if not _is_logging(events):
            raise
        log.exception("%s.crashed", events)
        sys.exit(1)


def _report(error: Interrupted | AvscanError, events: str) -> None:
    stopped = isinstance(error, Interrupted)
    if not _is_logging(events):
        if not (events and stopped):
            click.echo(f"avscan: {'stopped by ' * stopped}{error}", err=True)
        return
    fields = {"reason": str(error), "exit_code": error.exit_code}
    if stopped:
        log.warning("%s.stopped", events, extra=fields)
    elif error.exit_code:
        log.error("%s.failed", events, extra=fields)
    else:
        log.info("%s.skipped", events, extra=fields | {"idle": True})


def _is_logging(events: str) -> bool:
    return bool(events and logging.getLogger("avscan").handlers)


def _fill_standard_streams() -> None:
    """Open /dev/null in place of each closed standard stream (`2>&-`).

    Otherwise the next opened file or connection would get its descriptor.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - standard error
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
