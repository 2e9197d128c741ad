"""Download one file of a build, with resumption, a digest, and limits of disk and time."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, TypeAlias

import requests
import urllib3

from avscan.backend.deadline import deadline
from avscan.backend.pocketbase import PocketBase
from avscan.backend.transport import RetryPolicy, Transient, describe
from avscan.errors import BackendError, WorkspaceError
from avscan.workspace import Workspace

log = logging.getLogger(__name__)

CHUNK = 1 << 16  # bytes; urllib3 drops an incomplete chunk when a connection breaks
# The deadline of a download: its size divided by this rate in bytes a second, at least this many
# seconds.
LEAST_RATE = 64 << 10
LEAST_TIME = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A complete file of a build on the disk; `size` in bytes."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The record lists the file, but the storage does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """The file is larger than the disk; both in bytes."""

    size: int
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoom:
    """The file does not fit into the free space; `size` in bytes."""

    size: int


Download: TypeAlias = Artifact | Missing | TooLarge | NoRoom


class Cancelled(BackendError):
    """The download was cancelled because the pass ends or no longer needs the file."""


def download(
    client: PocketBase,
    collection: str,
    record: str,
    name: str,
    *,
    target: Path,
    workspace: Workspace,
    cancelled: threading.Event,
    leave: int = 0,
    progress: Callable[[int, int], None] = lambda _received, _size: None,
    least_time: float = LEAST_TIME,
) -> Download:
    """Download a record's file to `target`; any outcome but an `Artifact` removes it.

    A broken connection is resumed as long as each try makes progress. The first answer has the
    size, which sets a final deadline: `LEAST_RATE` bytes a second, at least `least_time` seconds.
    `leave` is how many bytes must stay free on the disk. `progress` is called with the bytes
    received and the size.

    Raises:
        BackendError: PocketBase does not deliver the file, or not in time.
        WorkspaceError: the disk fails, or fills up during the download.

    """
    is_complete = False
    try:
        with target.open("wb") as file:
            outcome = _Transfer(
                client=client,
                address=(collection, record, name),
                target=target,
                file=file,
                workspace=workspace,
                cancelled=cancelled,
                leave=leave,
                progress=progress,
                least_time=least_time,
            ).run()
        is_complete = isinstance(outcome, Artifact)
    except OSError as error:  # closing can fail too: it flushes the buffer again
        raise WorkspaceError(f"{target.parent} can't be written: {error.strerror}") from error
    finally:
        if not is_complete:
            target.unlink(missing_ok=True)
    return outcome


@dataclass(kw_only=True)
class _Transfer:
    """A download, with its state across its tries."""

    client: PocketBase
    address: tuple[str, str, str]
    target: Path
    file: IO[bytes]
    workspace: Workspace
    cancelled: threading.Event
    leave: int
    progress: Callable[[int, int], None]
    least_time: float
    ends: float = math.inf  # by `time.monotonic`; infinite until the size is known
    most_received: int = -1  # bytes after the best try; learning the size is progress too

    def __post_init__(self) -> None:
        self._restart()

    def run(self) -> Download:
        while True:
            with deadline(self._time_left()):
                outcome = self.client.retry(self._attempt)
            if outcome is not None:
                return outcome

    def _time_left(self) -> float:
        return self.ends - time.monotonic()

    def _restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self._received = 0
        self._digest = hashlib.sha256()
        self._validator = ""

    def _attempt(self, _policy: RetryPolicy) -> Download | None:
        """Try once; None if the connection broke after more bytes than in any try before.

        A try with progress has not failed: it does not count as an attempt or open the circuit.
        """
        try:
            return self._fetch()
        except Transient as failure:
            if self._time_left() <= 0:
                raise BackendError(
                    f"{self.address[2]} was sent too slowly ({self._received} bytes in its time):"
                    " check PocketBase and the network to it"
                ) from failure
            if self._received <= self.most_received or self.ends == math.inf:
                raise
            self.most_received = self._received
            log.info(
                "download.resumed",
                extra={"file": self.address[2], "at": self._received, "reason": str(failure)},
            )
            return None

    def _fetch(self) -> Download:
        if not self._validator:
            self._restart()
        response = self.client.open_file(
            *self.address, start=self._received, validator=self._validator
        )
        if response is None:
            return Missing()
        with response:
            size = self._read_size(response)
            remaining = size - self._received
            if size > self.workspace.capacity():
                return TooLarge(size=size, capacity=self.workspace.capacity())
            if remaining + self.leave > self.workspace.free():
                return NoRoom(size=size)
            if self.ends == math.inf:
                self.ends = time.monotonic() + max(self.least_time, size / LEAST_RATE)
            with _time_limit(response, self._time_left()):
                self._receive(response, size)
        return Artifact(path=self.target, size=size, sha256=self._digest.hexdigest())

    def _read_size(self, response: requests.Response) -> int:
        """Return the size of the whole file; restart if the server sends it from the start."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise BackendError(
                f"{self.address[2]} was sent compressed:"
                " configure the proxy not to change PocketBase's answers"
            )
        try:
            if response.status_code == HTTPStatus.PARTIAL_CONTENT:
                span, _, total = response.headers["Content-Range"].partition("/")
                if span != f"bytes {self._received}-{int(total) - 1}":
                    self._restart()
                    raise Transient(f"answered with another range: {span}")
                return int(total)
            self._restart()
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise Transient("the file has changed")
            self._validator = response.headers.get("Last-Modified", "")
            return int(response.headers["Content-Length"])
        except (KeyError, ValueError) as error:
            raise BackendError(f"{self.address[2]} was sent without its length") from error

    def _receive(self, response: requests.Response, size: int) -> None:
        try:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                if self.cancelled.is_set():
                    raise Cancelled("the pass ends")
                self.file.write(chunk)
                self._digest.update(chunk)
                self._received += len(chunk)
                self.progress(self._received, size)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Transient(f"the download was interrupted: {describe(error)}") from error
        self.file.flush()
        if self._received != size:
            raise Transient(f"the download ended at {self._received} of {size} bytes")


@contextmanager
def _time_limit(response: requests.Response, seconds: float) -> Iterator[None]:
    """Shut the connection down after so many seconds: slow bytes never exceed a read timeout."""
    with socket.socket(fileno=os.dup(response.raw.fileno())) as connection:

        def shut_down() -> None:
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(seconds, 0.0), shut_down)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
