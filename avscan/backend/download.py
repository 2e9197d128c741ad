"""Download one file of a build: streamed, resumed, measured, digested, within disk and time."""

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
from pathlib import Path
from typing import IO, TypeAlias

import requests
import urllib3

from avscan.backend.answers import PARTIAL, UNSATISFIABLE
from avscan.backend.deadline import deadline
from avscan.backend.pocketbase import PocketBase
from avscan.backend.transport import RetryPolicy, Transient, describe
from avscan.errors import BackendError, WorkspaceError
from avscan.workspace import Workspace

log = logging.getLogger(__name__)

CHUNK = 1 << 16  # what a broken connection can cost: urllib3 gives whole pieces or none
# A download may take a second for each of these many bytes, and this many seconds at the least.
LEAST_RATE = 64 << 10
LEAST_TIME = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file of a build, whole on our disk; `size` in bytes."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The record lists the file, and the storage does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """The file could not fit if the disk were empty; both in bytes."""

    size: int
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoom:
    """The file does not fit on the disk now, for whatever uses it."""

    size: int


Download: TypeAlias = Artifact | Missing | TooLarge | NoRoom


class Cancelled(BackendError):
    """A download was ended because the pass ends."""


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
    """Download a record's file to `target`; only an `Artifact` leaves anything there.

    A broken connection is resumed while it brings more of the file than was there before. The first
    answer has the size, and the size the deadline, which nothing renews: `LEAST_RATE` bytes a
    second, and `least_time` seconds at the least. `leave` is how many bytes have to stay free beside
    the file. `progress` is called with the bytes received and the size.

    Raises:
        BackendError: PocketBase does not deliver the file, or not in time.
        WorkspaceError: the disk fails, or fills up under the download.

    """
    try:
        with target.open("wb") as file:
            transfer = _Transfer(
                client,
                (collection, record, name),
                file=file,
                workspace=workspace,
                cancelled=cancelled,
                leave=leave,
                progress=progress,
                least_time=least_time,
            )
            outcome = transfer.run()
    except OSError as error:  # of closing too: what is still to be written fails once more
        target.unlink(missing_ok=True)
        raise WorkspaceError(f"{target.parent} can't be written: {error.strerror}") from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if isinstance(outcome, _Whole):
        return Artifact(path=target, size=outcome.size, sha256=outcome.sha256)
    target.unlink(missing_ok=True)
    return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    size: int
    sha256: str


class _Transfer:
    """A download under way: what is on the disk so far, and how to go on."""

    def __init__(
        self,
        client: PocketBase,
        address: tuple[str, str, str],
        *,
        file: IO[bytes],
        workspace: Workspace,
        cancelled: threading.Event,
        leave: int,
        progress: Callable[[int, int], None],
        least_time: float,
    ) -> None:
        self._client = client
        self._address = address
        self._file = file
        self._workspace = workspace
        self._cancelled = cancelled
        self._leave = leave
        self._progress = progress
        self._least_time = least_time
        self._ends = math.inf  # by `time.monotonic`; unknown until the size is
        self._most = -1  # bytes that were there after any try; the first size is progress too
        self._restart()

    def run(self) -> _Whole | Missing | TooLarge | NoRoom:
        while True:
            with deadline(self._time_left()):
                outcome = self._client.retry(self._attempt)
            if outcome is not None:
                return outcome

    def _time_left(self) -> float:
        return self._ends - time.monotonic()

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._received = 0
        self._digest = hashlib.sha256()
        self._validator = ""

    def _attempt(self, _patience: RetryPolicy) -> _Whole | Missing | TooLarge | NoRoom | None:
        """Try once; None where the connection broke, and more of the file is there than ever.

        Such a try has not failed: it neither counts among a call's tries nor opens the circuit.
        """
        try:
            return self._fetch()
        except Transient as failure:
            if self._time_left() <= 0:
                raise BackendError(
                    f"{self._address[2]} comes too slowly ({self._received} bytes in its time):"
                    " check PocketBase and the network to it"
                ) from failure
            if self._received <= self._most or self._ends == math.inf:
                raise
            self._most = self._received
            log.info(
                "download.resumed",
                extra={"file": self._address[2], "at": self._received, "reason": str(failure)},
            )
            return None

    def _fetch(self) -> _Whole | Missing | TooLarge | NoRoom:
        if not self._validator:
            self._restart()
        response = self._client.open_file(
            *self._address, start=self._received, validator=self._validator
        )
        if response is None:
            return Missing()
        with response:
            size = self._begin(response)
            remaining = size - self._received
            if size > self._workspace.capacity():
                return TooLarge(size=size, capacity=self._workspace.capacity())
            if remaining + self._leave > self._workspace.free():
                return NoRoom(size=size)
            if self._ends == math.inf:
                self._ends = time.monotonic() + max(self._least_time, size / LEAST_RATE)
            with _ended(response, self._time_left()):
                self._receive(response, size)
        return _Whole(size=size, sha256=self._digest.hexdigest())

    def _begin(self, response: requests.Response) -> int:
        """Read the file's whole size; start anew where the server does."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise BackendError(
                f"{self._address[2]} comes compressed: a proxy changes what PocketBase sends"
            )
        try:
            if response.status_code == PARTIAL:
                span, _, total = response.headers["Content-Range"].partition("/")
                if span != f"bytes {self._received}-{int(total) - 1}":
                    self._restart()
                    raise Transient(f"answered with another part: {span}")
                return int(total)
            self._restart()
            if response.status_code == UNSATISFIABLE:
                raise Transient("the file is no longer the same")
            self._validator = response.headers.get("Last-Modified", "")
            return int(response.headers["Content-Length"])
        except (KeyError, ValueError) as error:
            raise BackendError(f"{self._address[2]} comes without its length") from error

    def _receive(self, response: requests.Response, size: int) -> None:
        try:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                if self._cancelled.is_set():
                    raise Cancelled("the pass ends")
                self._file.write(chunk)
                self._digest.update(chunk)
                self._received += len(chunk)
                self._progress(self._received, size)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Transient(f"the download broke: {describe(error)}") from error
        self._file.flush()
        if self._received != size:
            raise Transient(f"the download ended at {self._received} of {size} bytes")


@contextmanager
def _ended(response: requests.Response, seconds: float) -> Iterator[None]:
    """End the answer's connection after so many seconds: a drip never meets a read's timeout."""
    with socket.socket(fileno=os.dup(response.raw.fileno())) as connection:

        def end() -> None:
            with suppress(OSError):  # it ended by itself
                connection.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(seconds, 0.0), end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
