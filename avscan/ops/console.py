"""Live output of a pass on a terminal: one line per build, a progress line and a final table."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TextIO, assert_never

from avscan.events import Downloading, Event, Scanned, Scanning, Settled, Unsettled
from avscan.heartbeat import Heartbeat
from avscan.ops.terminal import (
    BOLD,
    COLOURS,
    Style,
    columns,
    cut,
    format_duration,
    format_size,
    format_table,
    padded,
)
from avscan.records import Status
from avscan.text import printable

TICK = 0.25
_ERASE = "\r\033[2K"
_STATUS, _BUILD = 8, 15  # columns


class Console:
    """A context manager and event listener that shows a pass on a terminal. Thread-safe.

    Write errors are ignored: a closed terminal does not end the pass.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        style: Style,
        max_width: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._style = style
        self._max_width = max_width or (lambda: columns(stream))
        self._clock = clock
        self._lock = threading.Lock()
        self._ticker = Heartbeat(self.tick, interval=TICK)
        self._started = clock()
        self._closed = False
        self._download: Downloading | None = None
        self._scan: tuple[Scanning, float] | None = None
        self._builds: Counter[Status] = Counter()
        self._files: Counter[Status] = Counter()
        self._bytes: Counter[Status] = Counter()

    def __enter__(self) -> Self:
        """Start the progress line."""
        self._ticker.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Stop the progress line and print the final table."""
        self._ticker.__exit__(None, None, None)
        with self._lock:
            self._closed = True
            self._write(_ERASE)
            # The error alone is enough for a pass that failed before its first verdict.
            if error is None or self._builds:
                self._write("".join(f"{line}\n" for line in self._final_table()))

    def __call__(self, event: Event) -> None:
        """Show an event of the pass."""
        with self._lock:
            match event:
                case Downloading():
                    self._download = event if event.received < event.size else None
                case Scanning():
                    self._scan = event, self._clock()
                case Scanned():
                    self._scan = None
                case Settled():
                    self._count(event)
                    status = event.verdict.status
                    self._print(status, event.build.id, event.verdict.reason, *COLOURS[status])
                case Unsettled(build=build, reason=reason):
                    self._download = None  # one that goes on is shown again at its next chunk
                    self._print("waits", build, reason)
                case _:
                    assert_never(event)

    def line(self, text: str) -> None:
        """Print a line, for example of the log, above the progress line."""
        with self._lock:
            self._write(f"{_ERASE}{text}\n")

    def tick(self) -> None:
        """Update the progress line."""
        with self._lock:
            if not self._closed:
                self._write(_ERASE + self._progress(self._max_width() - 1))

    def _print(self, word: str, build: str, text: str, *colours: str) -> None:
        build = f"{printable(build):{_BUILD}}"
        rest = cut(text, self._max_width() - _STATUS - len(build) - 4)
        word = self._style(padded(word, _STATUS), *colours)
        self._write(f"{_ERASE}{word}  {build}  {rest}\n")

    def _progress(self, max_width: int) -> str:
        """Return the progress line. If it is too long, the file name is cut."""
        if self._scan:
            scan, since = self._scan
            figures = f" ({format_size(scan.size)}), {format_duration(self._clock() - since)}"
            what, name = "scanning ", scan.file
            if self._download:
                figures += f"; next file {self._percent(self._download)}"
        elif self._download:
            received, whole = format_size(self._download.received), format_size(self._download.size)
            figures = f", {received} of {whole}, {self._percent(self._download)}"
            what, name = "downloading ", self._download.file
        else:
            took = format_duration(self._clock() - self._started)
            return cut(f"looking for builds, {took}", max_width)
        name = cut(name, max(1, max_width - len(what) - len(figures)))
        return cut(what + name + figures, max_width)

    @staticmethod
    def _percent(download: Downloading) -> str:
        return f"{100 * download.received // max(1, download.size)} %"

    def _count(self, event: Settled) -> None:
        status = event.verdict.status
        self._builds[status] += 1
        self._files[status] += len(event.reports)
        self._bytes[status] += sum(report.size or 0 for report in event.reports)

    def _final_table(self) -> list[str]:
        took = format_duration(self._clock() - self._started)
        total = self._builds.total()
        if not total:
            return [f"no build waited for a scan ({took})"]
        rows = [("", "BUILDS", "FILES", "SIZE")]
        rows += [
            (str(status), str(number), str(self._files[status]), format_size(self._bytes[status]))
            for status in (Status.CLEAN, Status.INFECTED, Status.ERROR)
            if (number := self._builds[status])
        ]
        lines = format_table(rows, self._max_width())
        hint = "`avscan history BUILD` prints a build's whole log."
        return [
            "",
            self._style(lines[0], BOLD),
            *lines[1:],
            f"{total} build{'s' * (total > 1)} in {took}",
            *([cut(hint, self._max_width())] if total > self._builds[Status.CLEAN] else []),
        ]

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
