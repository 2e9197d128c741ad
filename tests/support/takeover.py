"""A compromised engine: it tries what a hostile artifact would, and reports the result.

It runs in the place of clamscan, started by the real inspector. The test's folder is closed to it, so
its report goes back as what clamscan prints: the name of a signature.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from avscan.errors import EngineError
from avscan.inspector.process import Engine, Inspector
from support.backend import REPOSITORY

NOBODY = 65534

AS_NOBODY = f"""
import os, resource, subprocess, sys, tempfile  # Python may lie where nobody can read
from pathlib import Path
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
from avscan.archives import process, unpack
from support.examine import OneByOne
from avscan.archives.bounds import Bounds
from avscan.findings import Findings
from avscan.inspector import confine
if os.getuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
"""

HEAD = """\
import ctypes, fcntl, os, signal, socket, subprocess, sys

def attempt():
{body}

for line in sys.stdin:
    path = line.strip()
    if not os.path.getsize(path):
        print(f"{{path}}: Empty file", flush=True)
    elif path.endswith("canary.zip"):
        print(f"{{path}}: Eicar FOUND", flush=True)
    else:
        try:
            result = attempt()
        except OSError as error:
            result = "refused-" + os.strerror(error.errno or 0).replace(" ", "-")
        print(f"{{path}}: {{result}} FOUND", flush=True)
"""


def attempt(folder: Path, body: str) -> str:
    """Run the body of a Python function as a compromised engine; return what it returned.

    An `OSError` is returned as `refused-` and its text.
    """
    (folder / "bin").mkdir(parents=True)  # of its own: an engine may read what lies beside it
    program = folder / "bin" / "clamscan"
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    program.write_text(f"#!{sys.executable} -IS\n{HEAD.format(body=indented)}")
    program.chmod(0o755)
    (own := folder / "inspector").mkdir()
    (artifact := folder / "artifact").write_bytes(b"a game")
    engine = Engine(program=str(program), signatures=folder / "signatures")
    inspector = Inspector(engine, own)
    try:
        inspector.prove(lambda: None)
        inspector.begin(artifact)
        inspector.wait(30.0)
    except EngineError as error:
        return f"failed: {error}"
    else:
        (sighting,) = inspector.examination.sightings
        return sighting.signature
    finally:
        inspector.close()


def as_nobody(code: str, data: bytes = b"") -> str:
    """Run Python code, with `data` as its input, without privileges; root is exempt from limits."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + code],
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()
