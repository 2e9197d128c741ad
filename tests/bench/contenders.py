"""Ways to have files scanned: avscan's, the least it could take, and what others do."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from avscan.clamav.clamscan import Clamscan
from avscan.clamav.program import MAX_FILE_SIZE
from bench.measure import run

ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
CLAMD_START = 120.0
# None found, or some found: the files are avscan's business, not the benchmark's.
SCANNED = (0, 1)


def one_clamscan(files: Sequence[Path], signatures: Path, scratch: Path) -> float:
    """Scan all files with one clamscan, told the same as avscan tells its own; in seconds."""
    (scratch / "tmp").mkdir(exist_ok=True)  # without it, clamscan unpacks nothing
    clamscan = Clamscan(program="clamscan", workspace=scratch, database=signatures)
    command = clamscan.command(scratch)
    listed = "".join(f"{file}\n" for file in files)
    return run(command, env=ENVIRONMENT, stdin=listed, good=SCANNED).wall


def clamscan_each(files: Sequence[Path], signatures: Path) -> float:
    """Scan each file with a clamscan of its own, as a simple script does; in seconds."""
    command = ["clamscan", "--no-summary", f"--database={signatures}"]
    return sum(run([*command, file], env=ENVIRONMENT, good=SCANNED).wall for file in files)


class Clamd:
    """A daemon that has its signatures loaded already, with the same limits."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def scan(self, files: Sequence[Path]) -> float:
        """Scan all files, one after another; in seconds."""
        return run([*self._client(), "--allmatch", *files], env=ENVIRONMENT, good=SCANNED).wall

    def is_ready(self) -> bool:
        """Return whether it has loaded its signatures."""
        done = subprocess.run([*self._client(), "--ping=1"], capture_output=True, check=False)
        return done.returncode == 0

    def _client(self) -> list[str]:
        return ["clamdscan", "--fdpass", "--no-summary", f"--config-file={self._config}"]


@contextmanager
def warm_clamd(signatures: Path) -> Iterator[Clamd]:
    """Run a clamd and wait until it is warm."""
    folder = Path(tempfile.mkdtemp(prefix="clamd-"))  # a socket's path must be short
    config = folder / "clamd.conf"
    config.write_text(_config(signatures, folder))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["clamd", f"--config-file={config}"], stdout=log, stderr=log)
    try:
        clamd, deadline = Clamd(config), time.monotonic() + CLAMD_START
        while not clamd.is_ready():
            words = (folder / "log").read_text()
            assert process.poll() is None, f"clamd ended: {words}"
            assert time.monotonic() < deadline, f"clamd does not get ready: {words}"
            time.sleep(0.5)
        yield clamd
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _config(signatures: Path, folder: Path) -> str:
    lines = {
        "Foreground": "yes",
        "DatabaseDirectory": signatures,
        "LocalSocket": folder / "socket",
        "TemporaryDirectory": folder,
        "DisableCache": "yes",  # else the second run is for free
        "AlertExceedsMax": "yes",
        "AlertEncrypted": "yes",
        "MaxFileSize": MAX_FILE_SIZE,
        "MaxScanSize": 0,
        "MaxFiles": 0,
        "MaxRecursion": 100,
        "MaxScanTime": 0,
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())
