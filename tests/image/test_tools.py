"""What contrib/ holds is accepted by the programs that read it: systemd, Prometheus, kubectl.

`.ci/run` installs them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.backend import REPOSITORY

pytestmark = pytest.mark.image

CONTRIB = REPOSITORY / "contrib"


def done(*command: str, folder: Path) -> tuple[int, str]:
    """Run a command; return its exit code and all that it wrote."""
    ran = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout


def test_systemd_finds_nothing_in_the_units(tmp_path: Path) -> None:
    folder = shutil.copytree(CONTRIB / "systemd", tmp_path / "units")
    units = [*folder.glob("*.service"), *folder.glob("*.timer")]
    for unit in units:  # a program that is here
        unit.write_text(unit.read_text().replace("/opt/avscan/bin/avscan", sys.executable))
    command = ("systemd-analyze", "verify", "--man=no", *map(str, units))
    assert done(*command, folder=folder) == (0, "")


def test_systemd_finds_a_mistake_in_a_unit(tmp_path: Path) -> None:
    unit = tmp_path / "avscan.timer"
    text = (CONTRIB / "systemd" / unit.name).read_text()
    unit.write_text(text.replace("minutely", "each minute"))
    _, said = done("systemd-analyze", "verify", "--man=no", str(unit), folder=tmp_path)
    assert "Failed to parse calendar specification" in said


def test_prometheus_accepts_the_alerts_and_fires_them_when_it_should() -> None:
    folder = CONTRIB / "prometheus"
    code, said = done("promtool", "check", "rules", "alerts.yml", folder=folder)
    assert code == 0, said
    code, said = done("promtool", "test", "rules", "alerts.test.yml", folder=folder)
    assert code == 0, said


def test_each_alert_fires_in_a_test_of_it() -> None:
    rules = yaml.safe_load((CONTRIB / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    tests = (CONTRIB / "prometheus/alerts.test.yml").read_text()
    assert not [rule["alert"] for rule in rules if f'alertname="{rule["alert"]}"' not in tests]


def rendered(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what `kubectl apply -k` would apply, from an installation's folder."""
    ran = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    every = yaml.safe_load_all(ran.stdout)
    return {f"{each['kind']} {each['metadata']['name']}": each for each in every}


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """Make an installation's folder, as docs/kubernetes.md says."""
    names = ("cronjob.yaml", "contrib/kubernetes/kustomization.yaml")
    for name in (*names, "contrib/kubernetes/metrics.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copy(REPOSITORY / ".env.example", tmp_path / ".env")
    return tmp_path


def test_one_line_sets_the_image_of_every_pod(installation: Path) -> None:
    page = (REPOSITORY / "docs/kubernetes.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^sed -i .*0\.2\.0.*$", page, re.MULTILINE)
    assert done("sh", "-c", command, folder=installation) == (0, "")
    found = yaml.safe_dump_all(rendered(installation).values())
    images = [line.split()[-1] for line in found.splitlines() if "image:" in line]
    assert len(images) == 4
    assert set(images) == {"registry.example.com/avscan:0.2.0"}


def test_the_settings_become_the_secret_that_the_pods_name(installation: Path) -> None:
    found = rendered(installation)
    assert {"POCKETBASE_URL", "POCKETBASE_TOKEN"} <= found["Secret avscan"]["data"].keys()
    assert {each["metadata"]["namespace"] for each in found.values()} == {"avscan"}


def test_one_patch_says_where_pocketbase_is_for_all_that_reach_it(installation: Path) -> None:
    found = rendered(installation)
    peers = [
        found[f"NetworkPolicy avscan-{name}"]["spec"]["egress"][1] for name in ("scan", "metrics")
    ]
    assert peers[0] == peers[1]
    assert peers[0]["ports"] == [{"protocol": "TCP", "port": 8090}]
    selector = peers[0]["to"][0]["namespaceSelector"]["matchLabels"]
    assert selector == {"kubernetes.io/metadata.name": "zapuskalka"}


def test_the_patches_that_are_comments_can_be_used(installation: Path) -> None:
    path = installation / "kustomization.yaml"
    path.write_text(re.sub(r"^  # (?=- target|  )", "  ", path.read_text(), flags=re.MULTILINE))
    found = rendered(installation)
    assert found["PersistentVolumeClaim avscan-signatures"]["spec"]["accessModes"] == [
        "ReadWriteMany"
    ]
    webhook = found["NetworkPolicy avscan-scan"]["spec"]["egress"][2]
    assert webhook["ports"] == [{"protocol": "TCP", "port": 443}]
