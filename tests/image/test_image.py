"""The image, built from the Dockerfile and run as its users run it: see `build` beside this file.

Needs root on a Debian machine, installs what it needs there, and takes some minutes:
`pytest -m image tests/image`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.backend import Backend
from support.samples import gzip_bomb
from support.scripted import Answer, Scripted, scripted
from support.signatures import EICAR, write_signatures

pytestmark = pytest.mark.image

IMAGE = "localhost/avscan"
USER = 65532
HERE = Path(__file__).parent

# crun and the default limits do not work everywhere, and healthchecks need systemd.
PODMAN = ("podman", "--runtime", "/usr/sbin/runc")
RUN = ("--no-healthcheck", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
# As docs/container.md and cronjob.yaml have it.
NARROW = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop",
    "all",
    "--security-opt",
    "no-new-privileges",
)

TICK = 60.0
SLACK = 30.0
STOP = 10.0  # when Docker would kill it; five are meant, and a busy machine can stall


@pytest.fixture(scope="session", autouse=True)
def _image() -> None:
    subprocess.run(
        [HERE / "build", IMAGE], check=True, stdout=sys.__stdout__, stderr=sys.__stderr__
    )


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, check=False)


def once(*arguments: str, options: tuple[str, ...] = ("--network", "none")) -> tuple[int, str]:
    """Run a command in a container of its own, to its end."""
    done = podman("run", "--rm", *RUN, *NARROW, *options, IMAGE, *arguments)
    return done.returncode, done.stdout + done.stderr


def settings(backend: Backend) -> list[str]:
    env = backend.environment(SIGNATURE_DIR="", WORK_DIR="")
    chosen = {name: value for name, value in env.items() if name.startswith("POCKETBASE_")}
    return [f"--env={name}={value}" for name, value in chosen.items()]


class Container:
    """The default command at work."""

    def __init__(self, *options: str) -> None:
        done = podman("run", "--detach", *RUN, *NARROW, "--network", "host", *options, IMAGE)
        assert done.returncode == 0, done.stderr
        self.id = done.stdout.strip()

    def logs(self) -> list[dict[str, Any]]:
        """Read what it logged so far, each line of which has to be JSON."""
        done = podman("logs", self.id)
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.logs() if line.get("event") == name]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return podman("exec", self.id, *command)

    def stop(self) -> int:
        """Ask it to stop, as `docker stop` does; give its exit code."""
        podman("kill", "--signal", "TERM", self.id)
        done = subprocess.run(
            [*PODMAN, "wait", self.id], capture_output=True, text=True, check=True, timeout=STOP
        )
        return int(done.stdout)

    def remove(self) -> None:
        podman("rm", "--force", "--volumes", self.id)


def wait_for(what: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.5)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Make a folder that belongs to the container's user."""
    folder = tmp_path / "signatures"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


def test_the_demo_needs_no_network() -> None:
    code, said = once("avscan", "demo")
    assert code == 0, said
    assert "4 builds with 4 files were scanned" in said


def test_supercronic_takes_the_crontab() -> None:
    code, said = once("supercronic", "-test", "/etc/avscan/crontab")
    assert code == 0, said
    assert "crontab is valid" in said


def test_its_user_has_no_name_and_nothing_to_build_with() -> None:
    script = "id; cat /proc/self/status; for tool in cc gcc make pip pip3; do type $tool; done"
    _, said = once("sh", "-c", script)
    assert said.startswith(f"uid={USER}({USER}) gid={USER}({USER}) groups={USER}({USER})\n")
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert said.count("not found") == 5


def test_nothing_but_its_volumes_can_be_written() -> None:
    script = "for place in / /etc /tmp /opt/avscan /work /signatures; do touch $place/x; done"
    _, said = once("sh", "-c", script)
    assert said.count("Read-only file system") == 4
    assert said.count("cannot touch") == 4


def test_the_programs_that_open_archives_are_in_it() -> None:
    code, said = once(
        "python3", "-c", "from avscan.archives import programs as p; print(p.missing())"
    )
    assert (code, said) == (0, "()\n")


def test_no_stale_signatures_are_in_it() -> None:
    _, said = once("sh", "-c", "ls -A /signatures /var/lib/clamav")
    assert said.split() == ["/signatures:", "/var/lib/clamav:"]


def test_docker_asks_for_its_health() -> None:
    done = podman("image", "inspect", "--format", "{{json .HealthCheck.Test}}", IMAGE)
    assert json.loads(done.stdout) == ["CMD", "avscan", "health"]


def test_one_pass(backend: Backend, tmp_path: Path) -> None:
    build = backend.upload({"a.txt": EICAR})
    signatures = write_signatures(tmp_path / "signatures")
    options = ("--network", "host", "--volume", f"{signatures}:/signatures:ro", *settings(backend))
    code, said = once("avscan", "run", options=options)
    assert code == 0, said
    assert backend.status_of(build) == "infected"


def test_the_default_command(
    backend: Backend, server: Scripted, volume: Path, tmp_path: Path
) -> None:
    signature = f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n".encode()
    server.say(Answer(body=signature, delay=3))  # the first pass finds none yet
    infected, clean = backend.upload({"a.exe": EICAR}), backend.upload({"a.txt": b"a game"})
    # Its scan would last for minutes, and comes last.
    bomb = backend.upload({"bomb.gz": gzip_bomb(tmp_path / "bomb.gz", 6 << 30)})
    container = Container(
        "--volume",
        f"{volume}:/signatures",
        "--env=DATABASE_MIRROR=none",
        f"--env=DATABASE_CUSTOM_URL={server.url}/own.ndb",
        *settings(backend),
    )
    try:
        wait_for(lambda: backend.status_of(bomb) == "scanning", 2 * TICK + SLACK)
        assert (backend.status_of(infected), backend.status_of(clean)) == ("infected", "clean")
        first = container.events("pass.failed")[0]["reason"]
        assert first.startswith("waiting for signatures: /signatures has none yet")
        assert len(container.events("refresh.finished")) == 1
        health = container.run("avscan", "health")
        assert health.returncode == 0, health.stdout
        assert container.stop() == 0
        # What it had begun is given back, not left for the next to find.
        assert backend.status_of(bomb) == "pending"
        assert container.events("pass.stopped")
    finally:
        container.remove()
