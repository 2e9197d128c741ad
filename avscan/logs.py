"""Logging to standard error, as JSON lines or as text.

The message of a record is the constant name of an event; its data is in `extra` fields.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from avscan.settings import LogFormat

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(
    level: str,
    form: LogFormat,
    *,
    stream: TextIO | None = None,
    write: Callable[[str], None] | None = None,
) -> None:
    """Send avscan's log to `write` or to `stream`, by default standard error.

    The loggers of other libraries are not changed. Text for no terminal omits events of idle passes,
    since cron mails all output.
    """
    target = stream if stream is not None else sys.stderr
    if form is LogFormat.AUTO:
        form = LogFormat.TEXT if target.isatty() else LogFormat.JSON
    handler = _Lines(write) if write else logging.StreamHandler(target)
    handler.setFormatter(_json_formatter() if form is LogFormat.JSON else _TextFormatter())
    if form is LogFormat.TEXT and not target.isatty():
        handler.addFilter(_is_not_idle)
    _use(handler, _LEVELS[level])


def silence() -> None:
    """Disable the log, for commands that print their errors."""
    _use(logging.NullHandler(), logging.CRITICAL)


def _use(handler: logging.Handler, level: int) -> None:
    logger = logging.getLogger("avscan")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def _is_not_idle(record: logging.LogRecord) -> bool:
    return not getattr(record, "idle", False)


class _Lines(logging.Handler):
    """Passes each line to a console, except verdicts, which the console shows itself."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write
        self.addFilter(lambda record: record.msg != "build.finished")

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))


def _json_formatter() -> logging.Formatter:
    class Formatter(JsonFormatter):
        default_time_format = "%Y-%m-%dT%H:%M:%S"
        default_msec_format = "%s.%03dZ"

        def process_log_record(self, log_data: dict[str, object]) -> dict[str, object]:
            level = str(log_data["level"]).lower()
            return log_data | {"level": "warn" if level == "warning" else level}

    names = {"asctime": "time", "levelname": "level", "message": "event", "exc_info": "traceback"}
    fields = ("asctime", "levelname", "message")
    formatter = Formatter(fields, rename_fields=names, json_ensure_ascii=True)
    formatter.converter = time.gmtime
    return formatter


def _level(record: logging.LogRecord) -> str:
    return "warn" if record.levelno == logging.WARNING else record.levelname.lower()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = [
            f"{name}={_value(value)}"
            for name, value in vars(record).items()
            if name not in _STANDARD and value is not None
        ]
        moment = datetime.fromtimestamp(record.created).astimezone()
        line = f"{moment:%H:%M:%S} {_level(record):5} {record.getMessage():18}"
        text = " ".join([line, *fields]).rstrip()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _value(value: object) -> str:
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return repr(text) if " " in text or not text.isprintable() else text
