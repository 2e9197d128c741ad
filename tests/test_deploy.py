"""What ships to run it: Kubernetes manifests, crontab, Dockerfile, example of the settings."""

from __future__ import annotations

import re
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.backend import REPOSITORY

from avscan import __version__
from avscan.cli import main
from avscan.settings import VARIABLES, Settings

Document = dict[str, Any]

MANIFEST = (REPOSITORY / "cronjob.yaml").read_text(encoding="utf-8")
SETTINGS = {variable.name for variable in VARIABLES} | {"AVSCAN_SHARDS"}
KUBERNETES = ("1.33", "1.37")
USER = 65532


def documents(text: str = MANIFEST) -> dict[str, Document]:
    return {f"{each['kind']} {each['metadata']['name']}": each for each in yaml.safe_load_all(text)}


def sharded() -> str:
    """Return the manifest for several machines, edited as its comments say."""
    text = re.sub(
        r"^ +backoffLimit: 0\n(?= +(# A pass.*\n +)?activeDeadlineSeconds: 14400\n +# For)",
        "",
        MANIFEST,
        flags=re.MULTILINE,
    )
    return re.sub(
        r"^( +)# (completion|parallelism|backoffLimitPerIndex|env:|  - name: AVSCAN|    value)",
        r"\1\2",
        text,
        flags=re.MULTILINE,
    )


def job(name: str, text: str = MANIFEST) -> Document:
    found: Document = documents(text)[f"CronJob {name}"]["spec"]["jobTemplate"]["spec"]
    return found


def pod(name: str) -> Document:
    found: Document = job(name)["template"]["spec"]
    return found


def container(name: str) -> Document:
    (found,) = pod(name)["containers"]
    assert isinstance(found, dict)
    return found


JOBS = pytest.mark.parametrize("name", ["avscan-scan", "avscan-refresh"])


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", documents())
def test_kubernetes_takes_each_document(name: str, version: str) -> None:
    kubernetes_validate.validate(documents()[name], version, strict=True)


def test_kubernetes_takes_the_job_for_several_machines() -> None:
    text = sharded()
    kubernetes_validate.validate(documents(text)["CronJob avscan-scan"], KUBERNETES[0], strict=True)
    several = job("avscan-scan", text)
    assert several["completionMode"] == "Indexed"
    assert several["completions"] == several["parallelism"]
    assert "backoffLimit" not in several
    env = several["template"]["spec"]["containers"][0]["env"]
    assert {"name": "AVSCAN_SHARDS", "value": str(several["completions"])} in env


def test_a_mistake_is_found() -> None:
    document = documents()["CronJob avscan-scan"]
    document["spec"]["jobTemplate"]["spec"]["backofLimit"] = 0
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES[0], strict=True)


def test_the_namespace_is_the_readers() -> None:
    assert not [name for name, each in documents().items() if "namespace" in each["metadata"]]


@JOBS
def test_a_pod_may_do_nothing_but_its_work(name: str) -> None:
    spec, running = pod(name), container(name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == USER
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert running["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


@JOBS
def test_jobs_neither_overlap_nor_pile_up_nor_last_for_ever(name: str) -> None:
    spec = documents()[f"CronJob {name}"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert job(name)["backoffLimit"] == 0
    assert pod(name)["restartPolicy"] == "Never"
    for limit in (
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
        "startingDeadlineSeconds",
    ):
        assert spec[limit] > 0
    assert job(name)["activeDeadlineSeconds"] > 0
    assert container(name)["resources"]["limits"]["memory"]


def test_scans_read_the_signatures_that_the_refresh_writes() -> None:
    mounts = {
        name: {mount["name"]: mount for mount in container(name)["volumeMounts"]}
        for name in ("avscan-scan", "avscan-refresh")
    }
    assert mounts["avscan-scan"]["signatures"]["readOnly"] is True
    assert "readOnly" not in mounts["avscan-refresh"]["signatures"]
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for name in mounts
        for volume in pod(name)["volumes"]
        if volume["name"] == "signatures"
    ]
    assert set(claims) == {"avscan-signatures"}
    assert "PersistentVolumeClaim avscan-signatures" in documents()


def test_an_upgrade_resets_no_secret() -> None:
    assert not [name for name in documents() if name.startswith("Secret")]
    assert container("avscan-scan")["envFrom"] == [{"secretRef": {"name": "avscan"}}]


def test_the_refresh_knows_no_secret() -> None:
    assert not {"env", "envFrom"} & set(container("avscan-refresh"))
    assert "secret" not in yaml.safe_dump(pod("avscan-refresh")).lower()


@JOBS
def test_a_network_policy_holds_each_pod_and_lets_nobody_in(name: str) -> None:
    policy = documents()[f"NetworkPolicy {name}"]["spec"]
    labels = job(name)["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert len(policy["egress"]) == 2


@JOBS
def test_a_job_runs_a_command_that_there_is(name: str) -> None:
    program, command = container(name)["args"]
    assert (program, command in main.commands) == ("avscan", True)


def test_the_settings_in_the_manifest_are_settings() -> None:
    names = re.findall(r"- name: ([A-Z_]+)", MANIFEST)
    assert names
    assert set(names) <= SETTINGS


@JOBS
def test_the_image_has_the_tag_of_this_version(name: str) -> None:
    assert container(name)["image"] == f"registry.example.com/avscan:{__version__}"


def test_the_crontab_runs_commands_that_there_are_each_minute() -> None:
    text = (REPOSITORY / "crontab").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    words = [shlex.split(line) for line in lines]
    assert [line[:5] for line in words] == [["*"] * 5] * len(words)
    assert [line[5:] for line in words] == [
        ["exec", "avscan", "run"],
        ["exec", "avscan", "refresh"],
    ]
    assert {line[7] for line in words} <= set(main.commands)


def test_the_example_of_the_settings_can_be_used() -> None:
    text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    found = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert set(found) <= SETTINGS
    Settings.parse(found | {"POCKETBASE_TOKEN": "a-token"})
    Settings.parse(found | {"SIGNATURE_DIR": "signatures"}, command="refresh")
    defaults = {variable.name: variable.default for variable in VARIABLES if variable.default}
    assert {name: found[name] for name in found.keys() & defaults} == {
        name: defaults[name] for name in found.keys() & defaults
    }


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        [hadolint, "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
