"""Readers in Rust and Go, built once and kept running: archives in, answers out."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
CRATES = Path("/usr/share/cargo/registry")
"""Where Debian's packages put the sources of crates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The readers that were built; Go's may be missing."""

    launcher: Path
    golang: Path | None


def build(folder: Path) -> Programs:
    """Build the readers in a folder. The launcher's has to be there; Go's may be missing."""
    golang = build_go(folder) if shutil.which("go") else None
    return Programs(launcher=build_launcher(folder), golang=golang)


def build_launcher(folder: Path) -> Path:
    """Build the launcher's pair, flate2 and tar-rs, from Debian's packages; return the program."""
    debian = Path("/usr/bin/cargo")
    cargo = str(debian) if debian.exists() else shutil.which("cargo")
    assert cargo, "install cargo"
    assert CRATES.is_dir(), "install librust-tar-dev and librust-flate2-dev"
    source = shutil.copytree(HERE / "launcher", folder / "launcher")
    command = [
        *(cargo, "build", "--release", "--offline", "--quiet"),
        *("--config", 'source.crates-io.replace-with="debian"'),
        *("--config", f'source.debian.directory="{CRATES}"'),
    ]
    env = os.environ | {
        "CARGO_HOME": str(folder / "cargo"),
        "CARGO_TARGET_DIR": str(folder / "out"),
    }
    if debian.exists():
        env["PATH"] = f"{debian.parent}:{env.get('PATH', '')}"
    subprocess.run(command, cwd=source, env=env, check=True)
    return folder / "out" / "release" / "launcher"


def build_go(folder: Path) -> Path:
    """Build the reader of Go's standard library; return the program."""
    program = folder / "golang"
    env = os.environ | {"GOCACHE": str(folder / "gocache"), "GO111MODULE": "off"}
    command = ["go", "build", "-o", str(program), str(HERE / "golang" / "main.go")]
    subprocess.run(command, env=env, check=True)
    return program


class Helper:
    """A program that answers a line for each `mode TAB archive TAB folder`."""

    def __init__(self, program: Path, seconds: float) -> None:
        self._program = program
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, mode: str, archive: Path, folder: Path) -> None:
        """Have an archive unpacked; a program that hangs or dies is started anew the next time."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{mode}\t{archive}\t{folder}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], self._seconds)
            more = os.read(process.stdout.fileno(), 4096) if ready else b""
            if not more:
                self.close()
                return
            answer += more

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [self._program],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process
