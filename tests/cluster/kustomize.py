"""What the kustomizations of ``cluster/kuberay/`` use of kustomize: enough to render them where there is no kubectl."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from tests.conftest import ROOT

Manifest = dict[str, Any]

KUBERAY = ROOT / "cluster" / "kuberay"
OVERLAYS = ("one-gpu", "eight-gpus", "spot")
#: Keys of a kustomization that ``rendered`` knows.
_KNOWN = {
    "apiVersion",
    "kind",
    "resources",
    "components",
    "configMapGenerator",
    "generatorOptions",
    "images",
    "patches",
}
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl is installed")


def load(path: Path) -> list[Manifest]:
    """Every document of a YAML file; anchors are not shared."""
    return [json.loads(json.dumps(document)) for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)]


def rendered(folder: Path) -> list[Manifest]:
    """What ``kubectl kustomize FOLDER`` prints, in another order."""
    return _applied(folder, [])


def by_kubectl(folder: Path) -> list[Manifest]:
    """What kubectl itself renders."""
    assert KUBECTL is not None
    run = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return list(yaml.load_all(run.stdout, Loader=yaml.CSafeLoader))


def one(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The only manifest of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def overlay_with(folder: Path, name: str, *components: str) -> Path:
    """A copy of ``cluster/kuberay/`` in which an overlay uses components, as a user edits it; the overlay's folder."""
    shutil.copytree(KUBERAY, folder / "kuberay", dirs_exist_ok=True)
    overlay = folder / "kuberay" / "overlays" / name
    file = overlay / "kustomization.yaml"
    values = yaml.safe_load(file.read_text())
    values["components"] = [f"../../{component}" for component in components]
    file.write_text(yaml.safe_dump(values))
    return overlay


def _applied(folder: Path, manifests: list[Manifest]) -> list[Manifest]:
    (values,) = load(folder / "kustomization.yaml")
    assert values.keys() <= _KNOWN, values.keys() - _KNOWN
    manifests = [*manifests]
    for name in values.get("resources", []):
        place = folder / name
        manifests += _applied(place, []) if place.is_dir() else load(place)
    for generator in values.get("configMapGenerator", []):
        assert values["generatorOptions"] == {"disableNameSuffixHash": True}
        data = {name: (folder / name).read_text() for name in generator["files"]}
        metadata = {"name": generator["name"], "namespace": generator["namespace"]}
        manifests.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    for name in values.get("components", []):
        manifests = _applied(folder / name, manifests)
    for patch in values.get("patches", []):
        _patch(manifests, patch["target"], yaml.safe_load(patch["patch"]))
    for image in values.get("images", []):
        for container in containers(manifests):
            if container["image"].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    return manifests


def _patch(manifests: list[Manifest], target: dict[str, str], operations: list[dict[str, Any]]) -> None:
    places = [n for n, manifest in enumerate(manifests)
              if (manifest["kind"], manifest["metadata"]["name"]) == (target["kind"], target["name"])]  # fmt: skip
    assert places, f"the patch of {target} changes nothing"
    for place in places:
        manifests[place] = jsonpatch.apply_patch(manifests[place], operations)


def containers(value: Any) -> Iterator[dict[str, Any]]:
    """Every container in manifests."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key in {"containers", "initContainers"}:
                yield from part
            yield from containers(part)
    elif isinstance(value, list):
        for part in value:
            yield from containers(part)
