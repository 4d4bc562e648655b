"""The manifests that run locust in a cluster."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from loadtest.targets import read_targets
from tests.manifests.kustomize import Object, key_of, read_yaml, render
from tests.manifests.pod_security import violations

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "loadtest" / "kubernetes"
SAMPLES = ROOT / "manifests" / "samples"


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return render(FOLDER)


def only(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [obj for obj in objects if key_of(obj)[::2] == (kind, name)]
    return found


def jobs(objects: list[Object]) -> list[Object]:
    return [obj for obj in objects if obj["kind"] == "Job"]


def container(job: Object) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return dict(found)


def variables(objects: list[Object], job: Object) -> dict[str, str]:
    """What the Pods of a Job find in their environment."""
    settings = only(objects, "ConfigMap", "settings")["data"]
    return {**settings, **{each["name"]: each["value"] for each in container(job)["env"]}}


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.36"])
def test_the_api_takes_every_object(objects: list[Object], version: str) -> None:
    for obj in objects:
        kubernetes_validate.validate(obj, version, strict=True)


def test_kubectl_renders_the_same(objects: list[Object]) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", "--load-restrictor", "LoadRestrictionsNone", FOLDER],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    theirs = list(yaml.safe_load_all(done.stdout))
    assert sorted(objects, key=key_of) == sorted(theirs, key=key_of)


def test_every_file_is_applied(objects: list[Object]) -> None:
    keys = {key_of(obj) for obj in objects}
    for file in FOLDER.glob("*.yaml"):
        if file.name != "kustomization.yaml":
            assert {key_of(obj) for obj in read_yaml(file)} <= keys, file


def test_pods_are_restricted(objects: list[Object]) -> None:
    """The namespace enforces the profile: others would not be let in."""
    for job in jobs(objects):
        assert violations(job["spec"]["template"]["spec"]) == []


def test_the_image_is_the_locked_version(objects: list[Object]) -> None:
    locked = re.search(
        r"^locust==(\S+)", (ROOT / "requirements" / "load.txt").read_text(), re.MULTILINE
    )
    assert locked is not None
    images = {container(job)["image"] for job in jobs(objects)}
    assert images == {f"locustio/locust:{locked[1]}"}


def test_the_master_waits_for_as_many_workers_as_there_are(objects: list[Object]) -> None:
    master, workers = (only(objects, "Job", f"locust-{name}") for name in ("master", "workers"))
    expected = int(variables(objects, master)["LOCUST_EXPECT_WORKERS"])
    assert workers["spec"]["parallelism"] == workers["spec"]["completions"] == expected


def test_workers_find_the_master(objects: list[Object]) -> None:
    master, workers = (only(objects, "Job", f"locust-{name}") for name in ("master", "workers"))
    service = only(objects, "Service", variables(objects, workers)["LOCUST_MASTER_NODE_HOST"])
    labels = master["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    (port,) = service["spec"]["ports"]
    assert {"name": port["targetPort"], "containerPort": 5557} in container(master)["ports"]


def test_the_code_in_the_pods_is_whole(objects: list[Object], tmp_path: Path) -> None:
    """Laid out as in the Pods, everything that is imported is there, and nothing is too much."""
    (master, workers) = jobs(objects)
    assert container(master)["volumeMounts"][:3] == container(workers)["volumeMounts"][:3]
    pod = master["spec"]["template"]["spec"]
    maps = {volume["name"]: volume.get("configMap", {}).get("name") for volume in pod["volumes"]}
    for mount in container(master)["volumeMounts"]:
        if (name := maps[mount["name"]]) is None:
            continue
        folder = tmp_path / mount["mountPath"].removeprefix("/")
        folder.mkdir(parents=True)
        for key, text in only(objects, "ConfigMap", name)["data"].items():
            (folder / key).write_text(text)
    files = {
        str(file.relative_to(tmp_path / "load" / part))
        for part in ("code", "scenarios")
        for file in (tmp_path / "load" / part).rglob("*.py")
    }
    seen: set[str] = set()
    wanted = ["loadtest/locustfile.py"]
    while wanted:
        name = wanted.pop()
        assert name in files, f"{name} is imported, but not in a ConfigMap"
        seen.add(name)
        text = (ROOT / name).read_text()
        for module in re.findall(r"^from (loadtest\.\S+) import", text, re.MULTILINE):
            path = module.replace(".", "/") + ".py"
            if path not in seen:
                wanted.append(path)
    assert files == seen
    environment = variables(objects, master)
    assert environment["PYTHONPATH"] == "/load/code:/load/scenarios"
    for name in ("LOCUST_LOCUSTFILE", "LOADTEST_TARGETS"):
        assert (tmp_path / environment[name].removeprefix("/")).is_file()


def test_rights_are_those_that_the_scenarios_need(objects: list[Object]) -> None:
    settings = only(objects, "ConfigMap", "settings")["data"]
    namespace, _, deployment = settings["LOADTEST_ROLLING_DEPLOYMENT"].partition("/")
    rules = read_targets(only(objects, "ConfigMap", "targets")["data"]["targets.toml"]).rules
    assert rules is not None
    granted = {
        (obj["metadata"]["namespace"], *map(tuple, map(sorted, rule.values())))
        for obj in objects
        if obj["kind"] == "Role"
        for rule in obj["rules"]
    }
    assert granted == {
        (rules.namespace, ("networking.k8s.io",), ("ingresses",), ("create", "delete", "patch")),
        (namespace, ("apps",), ("deployments",), (deployment,), ("get", "patch")),
    }
    account = only(objects, "Job", "locust-workers")["spec"]["template"]["spec"]
    for binding in (obj for obj in objects if obj["kind"] == "RoleBinding"):
        assert binding["roleRef"]["name"] == binding["metadata"]["name"]
        assert [subject["name"] for subject in binding["subjects"]] == [
            account["serviceAccountName"]
        ]


def test_the_targets_are_rules_of_the_sample_applications(objects: list[Object]) -> None:
    targets = read_targets((FOLDER / "targets.toml").read_text())
    samples = render(SAMPLES)
    hosts = {
        rule["host"] for obj in samples if obj["kind"] == "Ingress" for rule in obj["spec"]["rules"]
    }
    every = (*targets.pages, *targets.uploads, *targets.websockets, *targets.downloads)
    assert {target.host for target in every} <= hosts
    assert hosts <= {target.host for target in targets.pages} | {"live.example"}
    assert targets.rules is not None
    services = {key_of(obj) for obj in samples if obj["kind"] == "Service"}
    for backend in targets.rules.backends:
        assert ("Service", targets.rules.namespace, backend.service) in services
