"""A stand-in for clamscan that misbehaves on demand; see `script` for how to make one.

The steps are words, one for each path that is fed (sentinels don't count, the canary is the first),
the last one for all further paths. Each process starts where the one before it ended: it asks the
test's process for its next step, over a Unix socket, since it is confined to its own folder.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

FOREVER = 3600
ADDRESS = ""  # of the socket, in a script that `script` has made
_PEEK, _NEXT = b"?", b"!"
_left: dict[Path, list[str]] = {}


def script(folder: Path, *steps: str) -> Path:
    """Write an executable that follows the steps; give its path."""
    # Not in `folder`: a socket's path holds 108 bytes.
    address = Path(tempfile.mkdtemp(prefix="fake-")) / "socket"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(address))
    server.listen()
    fake = folder / "clamscan"
    _left[fake] = [*steps]
    threading.Thread(target=_serve, args=(server, _left[fake]), daemon=True).start()
    source = Path(__file__).read_text().replace('ADDRESS = ""', f"ADDRESS = {str(address)!r}", 1)
    fake.write_text(f"#!{sys.executable}\n{source}")
    fake.chmod(0o755)
    return fake


def left(fake: Path) -> int:
    """Return how many steps no process has taken yet; the last one stays."""
    return len(_left[fake])


def _serve(server: socket.socket, steps: list[str]) -> None:
    while True:
        connection, _ = server.accept()
        asked = b""
        with connection, suppress(OSError):  # it was killed while it asked
            asked = connection.recv(1)
            connection.sendall(steps[0].encode())
        if asked == _NEXT and len(steps) > 1:
            del steps[0]


def _ask(what: bytes) -> str:
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(ADDRESS)
        server.sendall(what)
        return b"".join(iter(lambda: server.recv(4096), b"")).decode()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _do(step: str, path: str) -> None:  # noqa: C901, PLR0912 - a flat list of steps
    kind, _, value = step.partition(":")
    match kind:
        case "find":
            _say(f"{path}: {value or 'Eicar'} FOUND")
        case "ok":
            _say(f"{path}: OK")
        case "say":
            _say(value.replace("PATH", path))
        case "die":
            os.kill(os.getpid(), getattr(signal, value))
        case "exit":
            sys.exit(int(value))
        case "hang":
            time.sleep(FOREVER)
        case "slow":
            time.sleep(float(value))
            _say(f"{path}: OK")
        case "flood":
            for _ in range(int(value)):
                sys.stdout.write(f"{path}: Name-of-a-virus FOUND\n")
            sys.stdout.flush()
        case "noise":
            sys.stdout.write("LibClamAV Warning: noise\n" * int(value))
            _say(f"{path}: OK")
        case "quit-after":
            _say(f"{path}: OK")
        case "ok-die":
            _say(f"{path}: OK")
            os.kill(os.getpid(), signal.SIGKILL)
        case "mute":
            os.close(1)
            os.close(2)
            time.sleep(FOREVER)
        case "litter":
            Path(os.environ["TMPDIR"], "2026-scantemp.1").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            sys.exit(f"no such step: {step}")
    if kind == "quit-after":
        _say(f"{sys.stdin.readline().strip()}: Empty file")
        sys.exit(0)


def main() -> None:
    """Answer as clamscan does."""
    if "--version" in sys.argv:
        _say("ClamAV 1.4.6/27800/Mon Nov 23 09:22:00 2026")
        return
    if _ask(_PEEK).startswith("load"):
        _do(_ask(_NEXT).removeprefix("load-"), "")
    for line in sys.stdin:
        path = line.strip()
        if Path(path).exists() and not Path(path).stat().st_size:
            _say(f"{path}: Empty file")
        else:
            _do(_ask(_NEXT), path)


if __name__ == "__main__":
    main()
