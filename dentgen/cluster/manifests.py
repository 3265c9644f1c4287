"""Manifests of one build on Kubernetes: its spec as a ConfigMap, and a RayJob, RayCronJob or CronJob that runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from dentgen.cluster.portable_spec import portable_spec
from dentgen.cluster.schedule import require_schedule, require_time_zone
from dentgen.cluster.templates import Manifest, read_manifest, read_manifests
from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec

Kind = Literal["rayjob", "cronjob", "raycronjob"]

#: KubeRay allows 47 characters for a RayJob; a tick adds a dash and eight digits.
_LONGEST_NAME: Final = 38
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_IMAGE: Final = re.compile(
    r"(?P<name>[a-z0-9]+([._:/-]+[a-z0-9]+)*?)(:(?P<tag>\w[\w.-]{0,127}))?(@sha256:(?P<digest>[0-9a-f]{64}))?"
)
_SPOT: Final = "eks.amazonaws.com/capacityType"
_DIGEST: Final = "dentgen/spec-digest"


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """How a build runs on a cluster; nothing of it decides bytes.

    Attributes:
        kind: What runs it: once, or on a schedule of Kubernetes or of KubeRay.
        image: Image of all pods, with a tag or a digest.
        gpus: GPUs, all of one model; the head has one of them.
        spot: Take all GPUs but the head's from spot capacity.
        schedule: Cron expression, of kinds that have one and need one.
        time_zone: In which the schedule is meant.
        name: Name of the build's objects.
        namespace: Where they are created.
        service_account: Whose rights pods have.
    """

    kind: Kind
    image: str
    gpus: int = 1
    spot: bool = False
    schedule: str | None = None
    time_zone: str = "Etc/UTC"
    name: str = "dentgen"
    namespace: str = "dentgen"
    service_account: str = "dentgen"

    def require_valid(self) -> None:
        """Check what Kubernetes would refuse, or find out when pods start.

        Raises:
            SpecError: If an option is wrong.
        """
        names = {"--name": (self.name, _LONGEST_NAME), "--namespace": (self.namespace, 63),
                 "--service-account": (self.service_account, 63)}  # fmt: skip
        for key, (name, longest) in names.items():
            if len(name) > longest or _NAME.fullmatch(name) is None:
                expected = f"at most {longest} lower-case letters, digits and dashes, a letter first"
                raise SpecError(key=key, found=name, expected=expected)
        image = _IMAGE.fullmatch(self.image)
        if image is None or (image["digest"] is None and image["tag"] in {None, "latest"}):
            expected = "REGISTRY/NAME:TAG or @sha256:DIGEST; another image may make other bytes, so no 'latest'"
            raise SpecError(key="--image", found=self.image, expected=expected)
        if self.gpus < 1 or (self.spot and self.gpus < 2):
            expected = "at least 2 with --spot, because the head's is on demand" if self.spot else "at least 1"
            raise SpecError(key="--gpus", found=self.gpus, expected=expected)
        self._require_schedule()
        require_time_zone(self.time_zone)

    def _require_schedule(self) -> None:
        wanted = "none: a rayjob runs once" if self.kind == "rayjob" else "one, such as '0 3 * * *'"
        if (self.schedule is None) != (self.kind == "rayjob"):
            raise SpecError(key="--schedule", found=self.schedule or "nothing", expected=wanted)
        if self.schedule is not None:
            require_schedule(self.schedule)


def manifests(spec: BuildSpec, file: str | Path, run: ClusterRun) -> list[Manifest]:
    """The manifests of a build, in the order in which to apply them.

    Args:
        spec: The build.
        file: Where the spec comes from, for messages.
        run: How it runs.

    Raises:
        SpecError: If an option is wrong, or the spec cannot be used by pods.
    """
    run.require_valid()
    if spec.pipeline.gpus_per_actor not in (None, 1.0):
        raise SpecError(
            key="pipeline.gpus_per_actor", found=spec.pipeline.gpus_per_actor, expected="none: a pod has a GPU"
        )
    text = portable_spec(spec, file)
    job = sized(read_manifest("base/rayjob.yaml"), run.gpus, spot=run.spot)
    documents = [_config(run, text), *_running(job, run)]
    for document in documents:
        document["metadata"] |= {"namespace": run.namespace, "annotations": {_DIGEST: spec.digest()}}
        _name_everywhere(document, run)
    return documents


def sized(job: Manifest, gpus: int, *, spot: bool) -> Manifest:
    """The RayJob of ``base/`` for a number of GPUs, as the overlays size it.

    Args:
        job: The RayJob, which is changed.
        gpus: GPUs, the head's included.
        spot: Take the workers from spot capacity.
    """
    cluster = job["spec"]["rayClusterSpec"]
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    # A range of actors: those of lost spot nodes need not be waited for.
    actors = f"'pipeline.actors={{min: {gpus}, max: {gpus}}}'" if spot else f"pipeline.actors={gpus}"
    job["spec"]["entrypoint"] = f"dentgen generate /etc/dentgen/build.yaml --set {actors}"
    if gpus == 1:
        cluster["enableInTreeAutoscaling"] = False
        del cluster["autoscalerOptions"], cluster["workerGroupSpecs"]
        head["rayStartParams"]["num-cpus"] = "2"
        head["template"]["spec"]["automountServiceAccountToken"] = False
        return job
    (group,) = [group for group in workers if group["groupName"] == "gpu"]
    group |= {"replicas": gpus - 1, "maxReplicas": gpus - 1}
    if spot:
        group |= {"groupName": "gpu-spot", "replicas": 0}
        pod = group["template"]["spec"]
        pod["nodeSelector"] = {_SPOT: "SPOT"}
        pod["tolerations"].append({"key": _SPOT, "operator": "Equal", "value": "SPOT", "effect": "NoSchedule"})
    return job


def as_yaml(documents: Sequence[Manifest]) -> str:
    """Manifests as one file; equal ones give equal text."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, explicit_start=True)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, and no references from one place to another."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _config(run: ClusterRun, text: str) -> Manifest:
    labels = {"app.kubernetes.io/name": "dentgen"}
    metadata = {"name": f"{run.name}-build", "namespace": run.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"build.yaml": text}}


def _running(job: Manifest, run: ClusterRun) -> list[Manifest]:
    """What runs the build; names are still those of the files."""
    match run.kind:
        case "rayjob":
            return [job]
        case "raycronjob":
            cron = read_manifest("raycronjob.yaml")
            cron["spec"] |= {"schedule": run.schedule, "timeZone": run.time_zone, "jobTemplate": job["spec"]}
            return [cron]
        case "cronjob":
            job["spec"]["suspend"] = True
            cron = read_manifest("schedule/cronjob.yaml")
            cron["spec"] |= {"schedule": run.schedule, "timeZone": run.time_zone}
            return [*read_manifests("schedule/rbac.yaml"), job, cron]


def _name_everywhere(document: Manifest, run: ClusterRun) -> None:
    """Replace image, names, namespace and service account of the files by the run's."""
    names = {"dentgen": run.name, "dentgen-build": f"{run.name}-build", "dentgen-schedule": f"{run.name}-schedule"}
    document["metadata"]["name"] = names.get(document["metadata"]["name"], document["metadata"]["name"])
    for part in _mappings(document):
        if "image" in part:
            part["image"] = run.image
        if "serviceAccountName" in part:
            account = part["serviceAccountName"]
            part["serviceAccountName"] = run.service_account if account == "dentgen" else names[account]
        if "configMap" in part:
            part["configMap"]["name"] = names[part["configMap"]["name"]]
        if part.get("kind") in {"Role", "ServiceAccount"} and "name" in part:  # of a RoleBinding
            part["name"] = names[part["name"]]
        if "namespace" in part:
            part["namespace"] = run.namespace
        if "command" in part:
            part["command"] = [names.get(word, word) if i else word for i, word in enumerate(part["command"])]


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a manifest."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _mappings(part)
