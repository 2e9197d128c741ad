"""A pseudo-terminal for a command: its screen, and all bytes that were sent to it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass

import pyte

TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The screen after the end of a command; `sent` are the bytes written to the terminal."""

    code: int
    sent: bytes
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def on_terminal(
    *arguments: str,
    env: Mapping[str, str],
    columns: int = 80,
    rows: int = 60,
    typed: bytes = b"",
) -> Shown:
    """Run avscan on a terminal; `typed` is the user's input."""
    leader, follower = pty.openpty()
    size = struct.pack("HHHH", rows, columns, 0, 0)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(
        [sys.executable, "-m", "avscan", *arguments],
        env={"TERM": "xterm-256color", "LANG": "C.UTF-8", **env},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    os.write(leader, typed)
    sent = b""
    try:
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not piece:
                break
            sent += piece
        code = process.wait(TIMEOUT)
    finally:
        process.kill()
        os.close(leader)
    screen = pyte.Screen(columns, rows)
    pyte.ByteStream(screen).feed(sent)
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return Shown(code=code, sent=sent, lines=lines)
