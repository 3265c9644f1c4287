"""Strict validation of manifests: unknown keys, and what the operator or the scheduler would refuse later."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dentgen.cluster.schedule import require_schedule
from dentgen.errors import SpecError
from tests.conftest import ROOT

Manifest = dict[str, Any]

#: Strict schemas of KubeRay's CRDs, which are not part of the repository.
KUBERAY_SCHEMAS = Path(os.environ.get("DENTGEN_KUBERAY_SCHEMAS", ROOT.parent / "shared" / "data" / "kuberay-v1.7.0"))
needs_kuberay = pytest.mark.skipif(
    not KUBERAY_SCHEMAS.is_dir(),
    reason=f"no schemas of KubeRay in {KUBERAY_SCHEMAS}; DENTGEN_KUBERAY_SCHEMAS says where",
)
_KUBERNETES = Path(__file__).parent / "kubernetes-1.36.strict.json"
_RAY = ("RayCluster", "RayJob", "RayCronJob")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_FACTOR: dict[str | None, Decimal] = {
    None: Decimal(1), "m": Decimal("0.001"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip
#: KubeRay leaves room for what it appends.
_LONGEST_RAY_NAME = 47


@cache
def _schema(kind: str) -> dict[str, Any]:
    if kind in _RAY:
        found: dict[str, Any] = json.loads((KUBERAY_SCHEMAS / f"{kind.lower()}s.v1.strict.json").read_text())
        return {**found, "required": ["apiVersion", "kind", "metadata", "spec"]}
    known = json.loads(_KUBERNETES.read_text())
    return {**known["kinds"][kind], "$defs": known["$defs"]}


def kinds() -> set[str]:
    """Kinds that can be validated."""
    return {*_RAY, *json.loads(_KUBERNETES.read_text())["kinds"]}


def faults(manifest: Manifest) -> list[str]:
    """Every fault of a manifest, as ``a.b.0.c: what is wrong``."""
    kind = manifest.get("kind")
    if kind not in kinds():
        return [f"kind: unknown {kind!r}"]
    if kind in _RAY and manifest.get("apiVersion") != "ray.io/v1":
        return [f"apiVersion: {manifest.get('apiVersion')!r}, expected 'ray.io/v1'"]
    errors = jsonschema.Draft202012Validator(_schema(kind)).iter_errors(manifest)
    return [*(_described(error) for error in errors), *_semantic(manifest)]


def _described(error: jsonschema.ValidationError) -> str:
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


def _semantic(manifest: Manifest) -> Iterator[str]:
    """What schemas cannot say."""
    if manifest["kind"] in _RAY and len(str(manifest.get("metadata", {}).get("name", ""))) > _LONGEST_RAY_NAME:
        yield f"metadata.name: over {_LONGEST_RAY_NAME} characters"
    for path, part in _mappings(manifest, ""):
        yield from _of_schedule(path, part)
        yield from _of_containers(path, part)
        yield from _of_resources(path, part)
        yield from _of_groups(path, part)
        yield from _of_jobs(path, part)


def _of_schedule(path: str, part: Manifest) -> Iterator[str]:
    if isinstance(schedule := part.get("schedule"), str):
        try:
            require_schedule(schedule)
        except SpecError as error:
            yield f"{path}schedule: {error}"


def _of_containers(path: str, part: Manifest) -> Iterator[str]:
    if not isinstance(part.get("containers"), list):
        return
    volumes = {volume.get("name") for volume in part.get("volumes", [])}
    for n, container in enumerate(part["containers"]):
        if not container.get("image"):
            yield f"{path}containers.{n}.image: missing"
        for mount in container.get("volumeMounts", []):
            if mount.get("name") not in volumes:
                yield f"{path}containers.{n}.volumeMounts: no volume {mount.get('name')!r}"


def _of_resources(path: str, part: Manifest) -> Iterator[str]:
    if "limits" not in part and "requests" not in part:
        return
    limits, requests = part.get("limits", {}), part.get("requests", {})
    for place, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            if _quantity(value) is None:
                yield f"{path}{place}.{name}: {value!r} is no quantity"
    for name, value in limits.items():
        limit, request = _quantity(value), _quantity(requests.get(name))
        if "/" in name and request != limit:
            yield f"{path}requests.{name}: {requests.get(name)!r}, expected the limit, {value!r}"
        elif limit is not None and request is not None and request > limit:
            yield f"{path}requests.{name}: {requests[name]!r}, expected at most the limit, {value!r}"


def _quantity(value: Any) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(value))
    return None if match is None else Decimal(match[1]) * _FACTOR[match[2]]


def _of_groups(path: str, part: Manifest) -> Iterator[str]:
    if "groupName" in part:
        counts = [part.get("minReplicas"), part.get("replicas", part.get("minReplicas")), part.get("maxReplicas")]
        numbers = [count for count in counts if isinstance(count, int)]
        if numbers != sorted(numbers):
            yield f"{path}replicas: min, replicas, max are {counts}"
    if any("idleTimeoutSeconds" in group for group in part.get("workerGroupSpecs", []) if isinstance(group, dict)):
        options = part.get("autoscalerOptions", {})
        if not part.get("enableInTreeAutoscaling") or options.get("version") != "v2":
            yield f"{path}workerGroupSpecs: idleTimeoutSeconds needs the autoscaler, version v2"


def _of_jobs(path: str, part: Manifest) -> Iterator[str]:
    """Rules of the operator's validation.go."""
    if part.get("authOptions", {}).get("mode") == "token" and not part.get("rayVersion"):
        yield f"{path}rayVersion: authOptions needs it"
    if "rayClusterSpec" in part:
        shuts_down = part.get("shutdownAfterJobFinishes", False)
        if not shuts_down and (part.get("suspend") or part.get("ttlSecondsAfterFinished")):
            yield f"{path}shutdownAfterJobFinishes: suspend and ttlSecondsAfterFinished need it"


def _mappings(value: Any, path: str) -> Iterator[tuple[str, Manifest]]:
    if isinstance(value, dict):
        yield path, value
        for key, part in value.items():
            yield from _mappings(part, f"{path}{key}.")
    elif isinstance(value, list):
        for n, part in enumerate(value):
            yield from _mappings(part, f"{path}{n}.")
