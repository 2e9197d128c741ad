"""How a command ends: with one clear line and its exit code, whatever it was that ended it."""

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
from avscan.signals import interruptible

log = logging.getLogger(__name__)


@contextmanager
def boundary(what: str = "pass") -> Iterator[None]:
    """Turn what ends a command into one clear line and its exit code; events begin with `what`."""
    refuse_inspection()
    _fill_standard_streams()
    try:
        with interruptible():
            yield
    except Interrupted as interrupted:
        log.warning("%s.stopped", what, extra={"reason": str(interrupted)})
        sys.exit(interrupted.exit_code)
    except AvscanError as error:
        level = logging.ERROR if error.exit_code else logging.INFO
        # What is no failure is worth a line to who looks on, and none in the log of each minute.
        if log.isEnabledFor(level) and logging.getLogger("avscan").handlers:
            fields = {"reason": str(error), "exit_code": error.exit_code}
            log.log(level, "%s.ended", what, extra=fields)
        elif error.exit_code or sys.stderr.isatty():
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
