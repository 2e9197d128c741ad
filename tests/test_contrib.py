"""What contrib/ holds: units, cron, compose, Kubernetes extras and alert rules agree with avscan."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.backend import REPOSITORY, Backend

from avscan import __version__
from avscan.cli import main
from avscan.settings import VARIABLES
from avscan.workspace import Workspace

CONTRIB = REPOSITORY / "contrib"
SYSTEMD = CONTRIB / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
INSTALLED = "/opt/avscan/bin/avscan"
HERE = sysconfig.get_path("scripts")
SETTINGS = {variable.name for variable in VARIABLES}
PAGES = [REPOSITORY / "docs" / f"{name}.md" for name in ("container", "kubernetes", "systemd")]

Document = dict[str, Any]


def text_of(path: str) -> str:
    return (CONTRIB / path).read_text(encoding="utf-8")


def directives(text: str) -> list[tuple[str, str]]:
    """Parse a unit's directives."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith(("#", "[")))
    return [(name, value) for name, _, value in lines if name]


def blocks(page: Path) -> list[str]:
    """Return a page's blocks of shell commands, each command on one line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)


# -- systemd and cron -----------------------------------------------------------------------------


def test_the_service_and_the_commands_by_hand_have_the_same_settings_and_user() -> None:
    service = dict(directives(text_of("systemd/avscan.service")))
    properties = re.findall(r"--property=(\w+)=(.*?) \\$", text_of("systemd/avscan"), re.MULTILINE)
    unlike = {"Description", "Wants", "After", "Type", "ExecStart", "SuccessExitStatus"}
    assert dict(properties) == {key: service[key] for key in service.keys() - unlike}
    assert service["ExecStart"] == f"{INSTALLED} run"


def test_without_its_settings_the_script_names_their_file(tmp_path: Path) -> None:
    missing = str(tmp_path / "avscan.env")
    script = text_of("systemd/avscan").replace("/etc/avscan.env", missing)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"avscan: {missing} cannot be read: run this as root")


def test_the_service_works_below_the_link_that_systemd_makes_of_its_cache(tmp_path: Path) -> None:
    service = dict(directives(text_of("systemd/avscan.service")))
    cache = f"/var/cache/{service['CacheDirectory']}"
    folder = Path(service["Environment"].removeprefix("WORK_DIR="))
    assert str(folder.parent) == cache
    private = tmp_path / "private"
    private.mkdir()
    (tmp_path / "cache").symlink_to(private)  # under DynamicUser=
    with Workspace(tmp_path / "cache" / folder.name) as workspace:
        assert workspace.folder.is_dir()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_confined_as_a_user_that_owns_nothing(unit: Path) -> None:
    found = dict(directives(unit.read_text(encoding="utf-8")))
    assert found["DynamicUser"] == "yes"
    assert found["CapabilityBoundingSet"] == ""
    assert found["PrivateDevices"] == found["ProtectHome"] == "yes"
    assert found["MemoryMax"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_has_a_timer_and_a_command_that_there_is(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    assert set(re.findall(rf"{INSTALLED} (\w+)", text)) <= set(main.commands)
    assert unit.with_suffix(".timer").exists()


def test_what_the_units_set_are_settings() -> None:
    every = [*UNITS, *SYSTEMD.glob("*.d/*.conf")]
    found = [pair for path in every for pair in directives(path.read_text(encoding="utf-8"))]
    names = {value.partition("=")[0] for name, value in found if name == "Environment"}
    assert names == {"WORK_DIR", "METRICS_FILE"} <= SETTINGS


def test_cron_runs_a_pass_each_minute_as_its_own_user() -> None:
    lines = [line for line in text_of("cron.d/avscan").splitlines() if line and line[0] != "#"]
    *settings, job = lines
    names = {line.partition("=")[0] for line in settings}
    assert "POCKETBASE_TOKEN" not in names  # the file is readable for all
    assert names - {"PATH"} <= SETTINGS | {"POCKETBASE_TOKEN_FILE"}
    assert shlex.split(job)[:8] == ["*"] * 5 + ["avscan", "avscan", "run"]


# -- figures --------------------------------------------------------------------------------------


def run_in_shell(
    command: str, folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    env = env | {"PATH": f"{HERE}:{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def status_of_systemd() -> str:
    (found,) = re.findall(
        r"^ExecStart=/bin/sh -c '(.*)'$", text_of("systemd/avscan-status.service"), re.MULTILINE
    )
    return str(found).replace(INSTALLED, f"{HERE}/avscan")


def status_of_kubernetes(folder: Path) -> str:
    """Return one turn of the loop."""
    containers = kubernetes()["Deployment avscan-metrics"]["spec"]["template"]["spec"]["containers"]
    command = str(containers[0]["args"][2])
    assert command.startswith("while :; do\n")
    return command.replace("sleep 60", "exit").replace("/metrics/", f"{folder}/")


@pytest.mark.parametrize("where", ["systemd", "kubernetes"])
def test_figures_are_written_and_what_can_not_be_renewed_is_removed(
    where: str, backend: Backend, tmp_path: Path
) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    command = status_of_systemd() if where == "systemd" else status_of_kubernetes(folder)
    name = "avscan-status.prom" if where == "systemd" else "avscan.txt"
    backend.init()
    backend.upload({"a.txt": b"a game that no pass has scanned"})
    backend.sql("UPDATE app_builds SET updated = '2026-01-01 00:00:00.000Z'")
    env = backend.environment()
    run_in_shell(command, folder, env)
    assert [each.name for each in folder.iterdir()] == [name]
    assert 'avscan_waiting_builds{state="unchecked"} 1\n' in (folder / name).read_text()
    run_in_shell(
        command, folder, env | {"POCKETBASE_URL": "http://127.0.0.1:1", "MAX_RETRIES": "1"}
    )
    assert not list(folder.iterdir())


def test_alerts_are_about_figures_that_there_are() -> None:
    rules = yaml.safe_load(text_of("prometheus/alerts.yml"))["groups"][0]["rules"]
    named = {name for rule in rules for name in re.findall(r"\bavscan_\w+", rule["expr"])}
    page = (REPOSITORY / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert named
    assert named <= set(re.findall(r"`(avscan_\w+)", page))  # all metrics, as another test shows


def test_each_alert_says_what_it_means_and_how_grave_it_is() -> None:
    for rule in yaml.safe_load(text_of("prometheus/alerts.yml"))["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]
        assert {"summary", "description"} <= rule["annotations"].keys(), rule["alert"]


# -- Kubernetes -----------------------------------------------------------------------------------


def kubernetes() -> dict[str, Document]:
    every = yaml.safe_load_all(text_of("kubernetes/metrics.yaml"))
    return {f"{each['kind']} {each['metadata']['name']}": each for each in every}


@pytest.mark.parametrize("name", kubernetes())
def test_kubernetes_takes_each_document_of_the_metrics(name: str) -> None:
    kubernetes_validate.validate(kubernetes()[name], "1.33", strict=True)


def test_the_pod_of_the_metrics_fits_the_restricted_standard() -> None:
    spec = kubernetes()["Deployment avscan-metrics"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for each in spec["containers"]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert each["image"] == f"registry.example.com/avscan:{__version__}"
    assert not any("hostPath" in volume for volume in spec["volumes"])


def test_who_serves_the_metrics_has_no_credentials() -> None:
    spec = kubernetes()["Deployment avscan-metrics"]["spec"]["template"]["spec"]
    (serving,) = [each for each in spec["containers"] if "ports" in each]
    assert not {"env", "envFrom"} & set(serving)


def test_the_page_makes_a_job_of_health_from_the_cronjob() -> None:
    every = yaml.safe_load_all((REPOSITORY / "cronjob.yaml").read_text(encoding="utf-8"))
    scan, _ = [each for each in every if each["kind"] == "CronJob"]
    spec = json.dumps(scan["spec"]["jobTemplate"]["spec"], separators=(",", ":"))
    (block,) = [each for each in blocks(PAGES[1]) if each.startswith("printf ")]
    command, _, _ = block.partition("\n")
    kubectl = f"kubectl() {{ case $1 in get) echo {shlex.quote(spec)} ;; apply) cat ;; esac; }}"
    done = subprocess.run(
        ["sh", "-euc", f"{kubectl}\n{command}"], capture_output=True, text=True, check=True
    )
    made = json.loads(done.stdout)
    kubernetes_validate.validate(made, "1.33", strict=True)
    (running,) = made["spec"]["template"]["spec"]["containers"]
    assert running["args"] == ["avscan", "health"]


# -- containers -----------------------------------------------------------------------------------


def test_compose_runs_the_container_as_the_page_does() -> None:
    (command,) = [
        shlex.split(line)
        for block in blocks(REPOSITORY / "docs" / "container.md")
        for line in block.splitlines()
        if line.startswith("docker run -d")
    ]
    compose = yaml.safe_load(text_of("compose.yaml"))
    service = compose["services"]["avscan"]
    volumes = [volume.split(":") for volume in service["volumes"]]
    assert command == [
        *("docker", "run", "-d", "--name", service["container_name"]),
        *("--restart", service["restart"], "--env-file", Path(service["env_file"]).name),
        *(["--read-only"] if service["read_only"] else []),
        *(word for each in service["cap_drop"] for word in ("--cap-drop", each)),
        *(word for each in service["security_opt"] for word in ("--security-opt", each)),
        *("--memory", service["mem_limit"]),
        *(
            word
            for name, target in volumes
            for word in ("-v", f"{compose['volumes'][name]['name']}:{target}")
        ),
        service["image"],
    ]


# -- the pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    files = re.findall(r"\bcontrib/[\w./-]*\w", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in files if not (REPOSITORY / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_shell_and_commands_of_avscan(page: Path) -> None:
    found = blocks(page)
    assert found
    for block in found:
        done = subprocess.run(
            ["sh", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), block
        ours = re.findall(r"(?:^|\b(?:avscan|exec|sudo) )avscan ([a-z]+)\b", block, re.MULTILINE)
        assert set(ours) <= {*main.commands, "avscan"}, block  # a container has that name, too
