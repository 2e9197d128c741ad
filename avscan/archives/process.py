"""A run of a program that reads an archive."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from avscan.archives.reader import DamagedError, Item, Member, Problem
from avscan.archives.streams import FED, Stream

_MESSAGES = 4096  # bytes of messages that are kept
_MOST_MESSAGES = 16 << 20
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "LZ4_NBWORKERS": "1"}
_ENCRYPTED = re.compile(
    rb"Cannot open encrypted archive|^ERROR: .* in encrypted file\. Wrong password\?"
    rb"|[Ee]ncrypt(?:ion|ed)\b.{0,40}\b(?:not supported|unavailable|unsupported)",
    re.MULTILINE,
)
_EMPTY = {"", "ERROR", "bsdtar: (null)"}
_UNSUPPORTED = b"Unsupported archive type"  # by `-t`
_limit: Callable[[], None] | None = None


def set_limit(limit: Callable[[], None] | None) -> None:
    """Set a function that each new process calls before it executes a program."""
    global _limit  # noqa: PLW0603 - a process sets it once, before its first archive
    _limit = limit


class MissingError(Exception):
    """A program is not installed."""


class Run:
    """One run of a program, killed when its context ends.

    Its standard input is `feed` or empty, and its environment is not ours. Its messages are quoted
    without the archive's path. Raise MissingError, or OSError if it cannot be started.
    """

    def __init__(self, command: Sequence[str], path: Path, feed: Stream | None = None) -> None:
        self.messages = b""
        self._path = str(path.absolute())
        self._received = 0
        self._pending = b""
        try:
            self._process = subprocess.Popen(
                command if feed else [*command, self._path],
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                bufsize=0,
                preexec_fn=_limit,  # noqa: PLW1509 - the inspector has one thread
            )
        except FileNotFoundError as error:
            raise MissingError from error
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._pipes = [pipe for pipe in pipes if pipe is not None]
        self._selector = selectors.DefaultSelector()
        for pipe in self._pipes:
            is_input = pipe is self._process.stdin
            os.set_blocking(pipe.fileno(), not is_input)
            event = selectors.EVENT_WRITE if is_input else selectors.EVENT_READ
            self._selector.register(pipe, event, feed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes:
            pipe.close()

    def receive(self, size: int, seconds: float | None = None) -> bytes | None:
        """Return up to `size` bytes of output: b"" at its end, None if there is none in time.

        Raise DamagedError if its messages are endless.
        """
        if not self._selector.get_map():
            return b""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._process.stdin:
                self._write(self._process.stdin, key.data)
                continue
            data = os.read(key.fd, size)
            if not data:
                self._selector.unregister(key.fileobj)
            elif key.fileobj is self._process.stdout:
                return data
            else:
                self.messages = (self.messages + data)[:_MESSAGES]
                self._received += len(data)
                if self._received > _MOST_MESSAGES:
                    raise DamagedError("its messages are endless")
        return None

    def _write(self, pipe: IO[bytes], feed: Stream) -> None:
        """Write some of its input, and close it at the end or when the program has closed it."""
        self._pending = self._pending or feed.some(FED)
        with suppress(BrokenPipeError):
            if self._pending:
                self._pending = self._pending[os.write(pipe.fileno(), self._pending) :]
                return
        self._selector.unregister(pipe)
        pipe.close()

    def pull(self, size: int) -> bytes:
        """Return up to `size` bytes of output, b"" only at its end. Raise DamagedError."""
        while (data := self.receive(size)) is None:
            pass
        return data

    def failure(self) -> Item | None:
        """Return why it did not open all of the archive; None if it did. Call it at the output's end.

        An exit code of 0 is not enough: there must be no message.
        """
        code = self._process.wait()
        if code == 0 and not self.messages.strip():
            return None
        if _ENCRYPTED.search(self.messages):
            return Member(name="", closed="encrypted")
        if _UNSUPPORTED in self.messages:
            return Member(name="", closed="a format that the installed 7-Zip does not know")
        reason = self._first_message() or f"exit code {code}"
        return Problem(text=f"could not be opened whole: {reason}")

    def _first_message(self) -> str:
        """Return the first line of its messages that is more than a name; '' if there is none."""
        text = self.messages.decode("utf-8", "replace").replace(self._path, "")
        lines = (line.strip(" \r:") for line in text.split("\n"))
        return next((line for line in lines if line not in _EMPTY), "")
