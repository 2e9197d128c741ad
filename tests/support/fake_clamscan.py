"""A stand-in for clamscan that misbehaves on demand; see `script` for how to make one.

The steps are words, one for each path that is fed (sentinels don't count, the canary is the first),
the last one for all further paths. Each process starts where the one before it ended.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

FOREVER = 3600


def script(folder: Path, *steps: str) -> Path:
    """Write an executable that follows the steps; give its path."""
    (folder / "steps.json").write_text(json.dumps(steps))
    fake = folder / "clamscan"
    fake.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
    fake.chmod(0o755)
    return fake


def _next_step() -> str:
    memory = Path(__file__).with_name("steps.json")
    steps = json.loads(memory.read_text())
    if len(steps) > 1:
        memory.write_text(json.dumps(steps[1:]))
    return str(steps[0])


def _readable(path: str) -> bool:
    try:
        Path(path).read_bytes()
    except OSError:
        return False
    return True


def _report() -> dict[str, object]:
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    try:
        pid = os.fork()
    except OSError:
        forks = False
    else:
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        forks = True
    mask = os.umask(0o077)
    return {
        "environment": dict(os.environ),
        "descriptors": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())[:-1],
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "file_size": resource.getrlimit(resource.RLIMIT_FSIZE),
        "processes": resource.getrlimit(resource.RLIMIT_NPROC),
        "no_new_privileges": fields["NoNewPrivs"],
        "ignored": int(fields["SigIgn"], 16),
        "own_session": os.getsid(0) == os.getpid(),
        "umask": mask,
        "forks": forks,
        "user": os.getuid(),
        "reads_parent": _readable(f"/proc/{os.getppid()}/environ"),
        "arguments": sys.argv[1:],
        "folder": str(Path.cwd()),
    }


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
        case "report":
            Path(value).write_text(json.dumps(_report()))
            _say(f"{path}: OK")
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
    if _peek("load"):
        _do(_next_step().removeprefix("load-"), "")
    for line in sys.stdin:
        path = line.strip()
        if Path(path).exists() and not Path(path).stat().st_size:
            _say(f"{path}: Empty file")
        else:
            _do(_next_step(), path)


def _peek(prefix: str) -> bool:
    steps = json.loads(Path(__file__).with_name("steps.json").read_text())
    return str(steps[0]).startswith(prefix)


if __name__ == "__main__":
    main()
