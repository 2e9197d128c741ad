"""A bad network in front of a PocketBase: a proxy that does harm, by a script or by chance.

`Proxy.plan` does harm to the requests that a test names. `Proxy.rate` is the share of all other
requests that are harmed, by a seeded generator. Files are sent on in pieces, so that a download can
be caught in its middle.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
PIECE = 16 * 1024
MAX_WAIT = 60.0
# Headers that are about one connection (RFC 9110, 7.6.1), or that the proxy writes itself.
OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length"}


# -- what can happen to a request -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks before the request is passed on."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The request is done, and its answer is lost."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The request waits before it is passed on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Truncate:
    """The connection breaks in the middle of the answer's body."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The request is done twice; the second answer comes back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy answers itself, and passes nothing on."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Stall:
    """The answer stops in its middle until it is released."""

    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Throttle:
    """The answer's body comes at so many bytes a second."""

    rate: float


@dataclass(frozen=True, slots=True)
class Drip:
    """The answer's body, or already its head, comes a byte at a time and has no end."""

    pause: float = 0.05
    head: bool = False


@dataclass(frozen=True, slots=True)
class Lengthen:
    """The answer's `Content-Length` is larger than its body."""

    by: int


@dataclass(frozen=True, slots=True)
class Skew:
    """The answer's `Date` is off by so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Before:
    """Something else happens just before the request is passed on."""

    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class After:
    """Something else happens after the request is done, before its answer comes back."""

    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Guest:
    """The request arrives without its token, as if that had expired."""


Fault: TypeAlias = (
    Reset
    | Drop
    | Delay
    | Truncate
    | Duplicate
    | Answer
    | Stall
    | Throttle
    | Drip
    | Lengthen
    | Skew
    | Before
    | After
    | Guest
)

BAD_STATUS = (429, 500, 502, 503)


def any_fault(chance: random.Random) -> Fault:
    """Draw one of the faults that a network and an overloaded server have."""
    faults: tuple[Callable[[], Fault], ...] = (
        Reset,
        Drop,
        Truncate,
        Duplicate,
        lambda: Delay(chance.uniform(0.05, 1.0)),
        lambda: Answer(chance.choice(BAD_STATUS)),
    )
    return chance.choice(faults)()


# -- which request --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a predicate is asked about."""

    method: str
    path: str
    body: bytes = field(default=b"", repr=False)


Predicate: TypeAlias = Callable[[Request], bool]


def request_to(method: str, fragment: str, *, holding: str = "") -> Predicate:
    """Match a method, a part of the path, and a part of the body."""
    return lambda request: (
        request.method == method and fragment in request.path and holding.encode() in request.body
    )


def download_of(build: str = "") -> Predicate:
    """Match the downloads of a build's files; of any build's where none is named."""
    return request_to("GET", f"/api/files/app_builds/{build}")


def settling(status: str = "") -> Predicate:
    """Match the write of a verdict; of this one where it is named."""
    statuses = (status,) if status else ("clean", "infected", "error")
    return lambda request: (
        request.method == "PATCH"
        and any(f'"status": "{each}"'.encode() in request.body for each in statuses)
    )


def claiming(request: Request) -> bool:
    """Match the write of a claim."""
    return request.method == "PATCH" and b'"status": "scanning"' in request.body


@dataclass(slots=True)
class _Plan:
    predicate: Predicate
    fault: Fault
    times: int | None


class Proxy:
    """A context manager; `target` is the address of the server behind it.

    `skew` is how many seconds the `Date` of its answers is ahead.
    """

    def __init__(
        self,
        target: str,
        *,
        seed: int = 0,
        rate: float = 0.0,
        skew: float = 0.0,
        draw: Callable[[random.Random], Fault] = any_fault,
    ) -> None:
        self.target = urlsplit(target)
        self.rate = rate
        self.skew = skew
        self.seen: list[Request] = []
        self.harmed = 0
        self.errors: list[BaseException] = []
        self._draw = draw
        self._chance = random.Random(seed)
        self._plans: list[_Plan] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="proxy"
        )

    @property
    def url(self) -> str:
        """The address to use in the server's place."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def is_idle(self) -> bool:
        """Whether every connection has ended, and so every request that came through one."""
        return self._server.is_idle

    def plan(self, predicate: Predicate, fault: Fault, *, times: int | None = 1) -> None:
        """Do this harm to the next requests that match, as often as `times` (None: always)."""
        with self._lock:
            self._plans.append(_Plan(predicate, fault, times))

    def matching(self, predicate: Predicate) -> list[Request]:
        """List the requests so far that match."""
        return [request for request in self.seen.copy() if predicate(request)]

    def decide(self, request: Request) -> Fault | None:
        """Note a request and say what is to happen to it."""
        with self._lock:
            self.seen.append(request)
            for plan in self._plans:
                if plan.times != 0 and plan.predicate(request):
                    if plan.times is not None:
                        plan.times -= 1
                    self.harmed += 1
                    return plan.fault
            if self._chance.random() < self.rate:
                self.harmed += 1
                return self._draw(self._chance)
        return None

    def wait(self, seconds: float) -> None:
        """Wait, but not beyond the proxy's end."""
        self._closing.wait(seconds)

    def drip(self, pause: float) -> Iterator[bytes]:
        """Yield a byte at a time, until the proxy's end."""
        while not self._closing.wait(pause):
            yield b"x"

    def hold(self, stall: Stall) -> None:
        """Hold an answer until it is released, but not beyond the proxy's end."""
        stall.reached.set()
        while not (stall.released.wait(0.02) or self._closing.is_set()):
            pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()
        if error is None and self.errors:
            raise AssertionError(f"the proxy itself failed: {self.errors}") from self.errors[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that `server_close` waits for them, and none outlives its test
    request_queue_size = 64
    proxy: Proxy

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    @property
    def is_idle(self) -> bool:
        return not self._open

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in self._open.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        # A client that was killed, or the end of the test.
        if error is not None and not isinstance(error, OSError):
            self.proxy.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        proxy = self.server.proxy
        request = Request(method=self.command, path=self.path, body=body)
        fault = proxy.decide(request)
        match fault:
            case Reset():
                self._break()
                return
            case Answer():
                self._answer(fault.status, fault.headers, fault.body)
                return
            case Delay(seconds=seconds):
                proxy.wait(seconds)
            case Before(action=action):
                action()
            case Duplicate():
                with suppress(OSError, http.client.HTTPException):
                    self._pass_on(body, None, send_back=False)
            case _:
                pass
        try:
            self._pass_on(body, fault, send_back=not isinstance(fault, Drop))
        except (OSError, http.client.HTTPException):
            # The server behind is down, or went down: its client sees the connection break.
            self._break()

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - theirs

    def _pass_on(self, body: bytes, fault: Fault | None, *, send_back: bool) -> None:
        target = self.server.proxy.target
        connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=MAX_WAIT)
        try:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() != "connection"
            }
            if isinstance(fault, Guest):
                headers.pop("Authorization", None)
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            match fault:
                case After(action=action):
                    whole = answer.read()
                    action()
                    self._answer(answer.status, answer.getheaders(), whole)
                case Lengthen(by=by):
                    whole = answer.read()
                    self._head(answer.status, answer.getheaders(), len(whole) + by)
                    self.wfile.write(whole)
                    self.close_connection = True
                case Skew(seconds=seconds):
                    whole = answer.read()
                    self._answer(answer.status, _skewed(answer.getheaders(), seconds), whole)
                case Drip():
                    self._drip(fault, answer)
                case _ if send_back:
                    self._send_back(answer, fault)
                case _:
                    answer.read()
                    if isinstance(fault, Drop):
                        self._break()
        finally:
            connection.close()

    def _send_back(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        if answer.length is None:  # chunked: short in PocketBase's API
            whole = answer.read()
            length, pieces = len(whole), iter([whole[: len(whole) // 2], whole[len(whole) // 2 :]])
        else:
            length = answer.length
            pieces = iter(lambda: answer.read(PIECE), b"")
        self._head(answer.status, answer.getheaders(), length)
        if isinstance(fault, Throttle):
            pieces = self._paced(pieces, fault.rate)
        sent, broken = 0, isinstance(fault, Truncate)
        if length == 0 and broken:
            self._break()
            return
        for piece in pieces:
            if isinstance(fault, Truncate | Stall) and sent + len(piece) > length // 2:
                half = max(0, length // 2 - sent)
                self.wfile.write(piece[:half])
                self.wfile.flush()
                if isinstance(fault, Truncate):
                    self._break()
                    return
                if not fault.released.is_set():
                    self.server.proxy.hold(fault)
                self.wfile.write(piece[half:])
            else:
                self.wfile.write(piece)
            sent += len(piece)
        if sent != length:
            self._break()

    def _drip(self, fault: Drip, answer: http.client.HTTPResponse) -> None:
        self.close_connection = True
        if fault.head:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        else:
            self._head(answer.status, answer.getheaders(), answer.length or 1 << 20)
        for byte in self.server.proxy.drip(fault.pause):
            self.wfile.write(byte)

    def _paced(self, pieces: Iterator[bytes], rate: float) -> Iterator[bytes]:
        started, sent = time.monotonic(), 0
        for piece in pieces:
            sent += len(piece)
            self.server.proxy.wait(started + sent / rate - time.monotonic())
            yield piece

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self._head(status, headers, len(body))
        self.wfile.write(body)

    def _head(self, status: int, headers: Sequence[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() == "date":
                moment = parsedate_to_datetime(value).timestamp() + self.server.proxy.skew
                self.send_header(name, formatdate(moment, usegmt=True))
            elif name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _break(self) -> None:
        """Break the connection in a way that the client can't take for an orderly end."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The handler's files keep the socket open until they are closed: detach it for real.
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing: the tests read `seen`."""


def _skewed(headers: Sequence[tuple[str, str]], seconds: float) -> list[tuple[str, str]]:
    fields = dict(headers)
    date = parsedate_to_datetime(fields["Date"]) + timedelta(seconds=seconds)
    return list((fields | {"Date": format_datetime(date, usegmt=True)}).items())
