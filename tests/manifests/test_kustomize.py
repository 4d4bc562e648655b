"""Our renderer of kustomizations: the same as kustomize's, and strict."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.kustomize import key_of, render
from tests.manifests.scenarios import ALL, name_of

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
PLACES = (os.environ.get("KUBEBUILDER_ASSETS", ""), str(CACHE / "local-kube" / "bin"))


@pytest.mark.parametrize("folder", ALL, ids=name_of)
def test_it_renders_what_kubectl_renders(folder: Path) -> None:
    kubectl = shutil.which("kubectl", path=os.pathsep.join([*PLACES, os.environ["PATH"]]))
    if kubectl is None:
        pytest.skip("there is no kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    theirs = list(yaml.safe_load_all(done.stdout))
    assert sorted(render(folder), key=key_of) == sorted(theirs, key=key_of)


def kustomization(folder: Path, **more: Any) -> Path:
    said = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **more}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return folder


DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {"tolerations": [{"key": "x"}], "env": [{"name": "A", "value": "1"}, {"name": "B"}]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(DEPLOYMENT))
    return tmp_path


def test_a_field_that_is_not_known_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"\['namePrefix'\] is not known here"):
        render(kustomization(folder, namePrefix="x-"))


def test_a_merge_of_lists_whose_key_is_not_known_is_refused(folder: Path) -> None:
    patch = {**DEPLOYMENT, "spec": {"tolerations": [{"key": "y"}]}}
    with pytest.raises(KeyError, match="tolerations"):
        render(kustomization(folder, resources=["a.yaml"], patches=[{"patch": yaml.dump(patch)}]))


def test_a_patch_of_what_is_not_there_is_refused(folder: Path) -> None:
    patch = {"kind": "Deployment", "metadata": {"name": "b"}}
    with pytest.raises(ValueError, match="not enough values"):
        render(kustomization(folder, resources=["a.yaml"], patches=[{"patch": yaml.dump(patch)}]))


def test_an_operation_whose_test_fails_is_refused(folder: Path) -> None:
    patch = {
        "target": {"kind": "Deployment", "name": "a"},
        "patch": yaml.dump([{"op": "test", "path": "/spec/env/0/name", "value": "B"}]),
    }
    with pytest.raises(ValueError, match="does not hold"):
        render(kustomization(folder, resources=["a.yaml"], patches=[patch]))


def test_an_object_that_is_there_twice_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        render(kustomization(folder, resources=["a.yaml", "a.yaml"]))
