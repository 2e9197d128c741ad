"""A local HTTP server that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from avscan.backend.pocketbase import PocketBase
from avscan.backend.session import Password, Token
from avscan.backend.transport import RetryPolicy, Transport

NOW = 1_760_000_000  # the server's clock, unless an answer says otherwise
PASSWORD = "pässword-that-never-shows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; `cut` sends as many bytes of the body and then ends, `reset` sends nothing."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def reply(value: object, status: int = 200, **headers: str) -> Answer:
    """Answer with JSON; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(
        status=status,
        body=json.dumps(value).encode(),
        headers={"Content-Type": "application/json"} | named,
    )


def items(*rows: Mapping[str, object]) -> Answer:
    """Answer as a list does."""
    return reply({"items": list(rows)})


def refusal(status: int, message: str = "Refused.", **codes: str) -> Answer:
    """Answer as PocketBase refuses a request."""
    data = {name: {"code": code} for name, code in codes.items()}
    return reply({"status": status, "message": message, "data": data}, status)


def token(name: str = "first") -> str:
    """Make a token."""
    return f"header.claims.{name}"


def signed_in(name: str = "first") -> Answer:
    """Answer a sign-in."""
    return reply({"token": token(name), "record": {}})


class Scripted:
    """The server; `answers` are given in order, one a request."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.requests: list[Request] = []
        self.slept: list[float] = []
        self.url = ""
        self._transports: list[Transport] = []

    def say(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    def transport(self, policy: RetryPolicy | None = None, *, url: str = "") -> Transport:
        """Make a transport whose waits are noted in `slept` instead of waited."""
        transport = Transport(
            url or self.url,
            policy=policy or RetryPolicy(timeout=5.0),
            user_agent="avscan",
            sleep=self.slept.append,
        )
        self._transports.append(transport)
        return transport

    def client(
        self, policy: RetryPolicy | None = None, *, credentials: Password | Token | None = None
    ) -> PocketBase:
        """Make a client; without credentials it has a token."""
        return PocketBase(self.transport(policy), credentials or Token(token=token()))

    def with_password(self, policy: RetryPolicy | None = None) -> PocketBase:
        """Make a client that can sign in again."""
        credentials = Password(identity="root@example.com", password=PASSWORD)
        return self.client(policy, credentials=credentials)

    @property
    def asked(self) -> list[tuple[str, str]]:
        return [(request.method, request.path) for request in self.requests]

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


@contextmanager
def scripted() -> Iterator[Scripted]:
    """Run a server on a free port of this machine."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            length = int(self.headers.get("Content-Length", 0))
            parts = urlsplit(self.path)
            script.requests.append(
                Request(
                    method=self.command,
                    path=parts.path,
                    query={name: values[-1] for name, values in parse_qs(parts.query).items()},
                    headers=dict(self.headers.items()),
                    body=self.rfile.read(length),
                )
            )
            unscripted = Answer(status=418, body=b"the script has no answer left")
            self._answer(script.answers.popleft() if script.answers else unscripted)

        def _answer(self, answer: Answer) -> None:
            time.sleep(answer.delay)
            if answer.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            headers = {
                "Date": formatdate(NOW, usegmt=True),
                "Content-Length": str(len(answer.body)),
            }
            for name, value in (headers | dict(answer.headers)).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])
            self.wfile.flush()
            if answer.cut is not None:
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that leave early are part of the script."""

    with Server(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield script
        finally:
            script.close()
            server.shutdown()
            thread.join()
