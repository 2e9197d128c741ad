"""What is packed so that its unpacking takes memory without end: in a process with little of it."""

from __future__ import annotations

import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.samples import EICAR, tar

LIMIT = 512 << 20
LAYERS = 24

EXAMINE = """
import resource, sys
from pathlib import Path
from avscan.archives.bounds import Bounds
from avscan.archives.unpack import examine
from avscan.findings import Findings
from support.examine import OneByOne

class Engine(OneByOne):
    def scan(self, path):
        found = b"EICAR" in path.read_bytes()
        return Findings(signatures=("Eicar",) if found else ())

resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]),) * 2)
examine(
    Path(sys.argv[1]),
    engine=Engine(),
    workspace=Path(sys.argv[1]).parent,
    bounds=Bounds(depth=60),
    report=lambda finding: print(finding.kind, finding.text),
)
"""


def compress(data: bytes) -> bytes:
    """Compress with a dictionary of 192 MiB, which an unpacking program has to have at once."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 192 << 20}]
    return lzma.compress(data, filters=filters)


def examined(path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", EXAMINE, str(path), str(LIMIT)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    assert not [*path.parent.glob("member-*")]
    return done.stdout.splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "artifact"


def test_layers_of_xz_take_the_memory_of_one(path: Path) -> None:
    data = EICAR
    for _ in range(LAYERS):
        data = compress(data)
    path.write_bytes(data)
    assert examined(path) == ["signature Eicar"]


@pytest.mark.slow
def test_decoders_that_are_open_at_once_are_an_error_of_the_artifact(path: Path) -> None:
    data = b"x"
    for layer in range(LAYERS):
        data = compress(tar([(f"{layer}.tar.xz", data), ("e", EICAR)]))
    path.write_bytes(data)
    *_, line = examined(path)
    assert line.startswith("error ")
    assert "cannot be scanned whole: needs more memory" in line
