"""The manifests in ``cluster/kuberay/``: valid, safe, of one source, and rendered as kubectl renders them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from dentgen.spec.yaml_file import read_spec
from tests.cluster.kustomize import (
    KUBERAY,
    OVERLAYS,
    Manifest,
    by_kubectl,
    containers,
    load,
    needs_kubectl,
    one,
    overlay_with,
    rendered,
)
from tests.cluster.validation import faults, needs_kuberay
from tests.conftest import ROOT

ALONE = [KUBERAY / "raycluster.yaml", KUBERAY / "raycronjob.yaml"]
COMPONENTS = ("identity/aws", "identity/gcp", "schedule")
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def every_manifest(folder: Path) -> list[Manifest]:
    """Of every overlay with every component, and the files that stand alone."""
    overlays = [rendered(overlay_with(folder, name, *COMPONENTS)) for name in OVERLAYS]
    return [manifest for manifests in [*overlays, *map(load, ALONE)] for manifest in manifests]


@needs_kuberay
def test_every_manifest_is_valid(tmp_path: Path) -> None:
    manifests = every_manifest(tmp_path)
    assert {manifest["kind"] for manifest in manifests} == {
        "Namespace", "ServiceAccount", "NetworkPolicy", "ConfigMap", "Role", "RoleBinding", "CronJob", "RayJob",
        "RayCronJob", "RayCluster",
    }  # fmt: skip
    assert [fault for manifest in manifests for fault in faults(manifest)] == []


def test_kubernetes_own_kinds_are_valid(tmp_path: Path) -> None:
    """Also where there are no schemas of KubeRay."""
    native = [manifest for manifest in every_manifest(tmp_path) if not manifest["kind"].startswith("Ray")]
    assert len(native) >= 8 * len(OVERLAYS)
    assert [fault for manifest in native for fault in faults(manifest)] == []


#: What somebody may write by mistake into the overlay of eight GPUs: operation, and what must name it.
CLUSTER = "/spec/rayClusterSpec"
POD = f"{CLUSTER}/headGroupSpec/template/spec"
MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "misspelt field": ("RayJob", {"op": "add", "path": "/spec/backofLimit", "value": 2}, "backofLimit"),
    "misspelt field of a container": (
        "RayJob", {"op": "add", "path": f"{POD}/containers/0/imagePullpolicy", "value": "Always"}, "imagePullpolicy"),
    "field of another kind": ("RayCronJob", {"op": "add", "path": "/spec/concurrencyPolicy", "value": "Forbid"},
                              "concurrencyPolicy"),
    "wrong type": ("RayJob", {"op": "replace", "path": f"{CLUSTER}/workerGroupSpecs/1/replicas", "value": "seven"},
                   "spec.rayClusterSpec.workerGroupSpecs.1.replicas: 'seven'"),
    "missing required field": ("RayJob", {"op": "remove", "path": f"{CLUSTER}/headGroupSpec"},
                               "spec.rayClusterSpec: 'headGroupSpec' is a required property"),
    "missing schedule": ("RayCronJob", {"op": "remove", "path": "/spec/schedule"}, "spec: 'schedule' is a required"),
    "bad cron expression": ("CronJob", {"op": "replace", "path": "/spec/schedule", "value": "0 25 * * *"},
                            "spec.schedule: --schedule, hour: found 25"),
    "bad cron expression of KubeRay": ("RayCronJob", {"op": "replace", "path": "/spec/schedule", "value": "daily"},
                                       "spec.schedule: --schedule: found daily"),
    "bad quantity": (
        "RayJob", {"op": "replace", "path": f"{POD}/containers/0/resources/limits/memory", "value": "32GB"},
        "limits.memory: '32GB' is no quantity"),
    "unknown kind": ("RayJob", {"op": "replace", "path": "/kind", "value": "RayBatch"}, "kind: unknown 'RayBatch'"),
    "wrong apiVersion of KubeRay": ("RayJob", {"op": "replace", "path": "/apiVersion", "value": "ray.io/v1alpha1"},
                                    "apiVersion: 'ray.io/v1alpha1'"),
    "wrong apiVersion of Kubernetes": ("CronJob", {"op": "replace", "path": "/apiVersion", "value": "batch/v1beta1"},
                                       "apiVersion: 'batch/v1beta1'"),
    "fewest replicas over most": (
        "RayJob", {"op": "replace", "path": f"{CLUSTER}/workerGroupSpecs/1/minReplicas", "value": 8},
        "workerGroupSpecs.1.replicas: min, replicas, max are [8, 7, 7]"),
    "missing image": ("RayJob", {"op": "remove", "path": f"{POD}/containers/0/image"}, "containers.0.image: missing"),
    "GPU limit without request": (
        "RayJob", {"op": "remove", "path": f"{POD}/containers/0/resources/requests/nvidia.com~1gpu"},
        "requests.nvidia.com/gpu: None"),
    "request over limit": (
        "RayJob", {"op": "replace", "path": f"{POD}/containers/0/resources/requests/cpu", "value": "12"},
        "requests.cpu: '12'"),
    "mount without volume": ("RayJob", {"op": "replace", "path": f"{POD}/volumes/1/name", "value": "smh"},
                             "volumeMounts: no volume 'shm'"),
    "unknown value": ("RayJob", {"op": "replace", "path": f"{CLUSTER}/authOptions/mode", "value": "password"},
                      "authOptions.mode: 'password'"),
    "timeouts of groups with the old autoscaler": (
        "RayJob", {"op": "replace", "path": f"{CLUSTER}/autoscalerOptions/version", "value": "v1"},
        "idleTimeoutSeconds needs the autoscaler"),
    "token without a version of Ray": ("RayJob", {"op": "remove", "path": f"{CLUSTER}/rayVersion"}, "rayVersion"),
    "cluster that stays after a suspended job": (
        "RayJob", {"op": "replace", "path": "/spec/shutdownAfterJobFinishes", "value": False},
        "shutdownAfterJobFinishes"),
    "name over the operator's limit": ("RayJob", {"op": "replace", "path": "/metadata/name", "value": "a" * 48},
                                       "metadata.name: over 47"),
    "misspelt selector of a policy": (
        "NetworkPolicy", {"op": "move", "from": "/spec/podSelector", "path": "/spec/podSelectors"}, "podSelectors"),
}  # fmt: skip


@needs_kuberay
@pytest.mark.parametrize(("kind", "mistake", "named"), MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_is_named(kind: str, mistake: dict[str, Any], named: str, tmp_path: Path) -> None:
    manifests = [*rendered(overlay_with(tmp_path, "eight-gpus", "schedule")), *load(KUBERAY / "raycronjob.yaml")]
    right = one(manifests, kind)
    assert faults(right) == []
    found = faults(jsonpatch.apply_patch(right, [mistake]))
    assert any(named in fault for fault in found), found


@needs_kubectl
@pytest.mark.parametrize("components", [(), ("identity/aws",), ("identity/gcp", "schedule")])
@every_overlay
def test_kubectl_renders_the_same(overlay: str, components: tuple[str, ...], tmp_path: Path) -> None:
    folder = overlay_with(tmp_path, overlay, *components)
    ours, theirs = ({(m["kind"], m["metadata"]["name"]): m for m in manifests}
                    for manifests in (rendered(folder), by_kubectl(folder)))  # fmt: skip
    assert ours == theirs


@needs_kubectl
@every_overlay
def test_kubectl_renders_what_is_in_the_repository(overlay: str) -> None:
    assert one(by_kubectl(KUBERAY / "overlays" / overlay), "RayJob") == one(
        rendered(KUBERAY / "overlays" / overlay), "RayJob"
    )


@every_overlay
def test_an_image_is_filled_in_at_one_place(overlay: str, tmp_path: Path) -> None:
    folder = overlay_with(tmp_path, overlay, "schedule")
    file = folder / "kustomization.yaml"
    values = yaml.safe_load(file.read_text())
    values["images"][0] |= {"newName": "ecr.example.org/teeth", "newTag": "7"}
    file.write_text(yaml.safe_dump(values))
    assert {container["image"] for container in containers(rendered(folder))} == {"ecr.example.org/teeth:7"}


def test_a_bucket_is_filled_in_at_one_place() -> None:
    places = [path for path in sorted(KUBERAY.rglob("*.yaml")) if "BUCKET" in path.read_text()]
    assert places == [KUBERAY / "base" / "build.yaml"]
    spec = read_spec(places[0])
    assert (spec.source.path, spec.output.path) == ("s3://BUCKET/conditions/", "s3://BUCKET/datasets/demo/")


def test_files_that_stand_alone_have_the_job_of_base() -> None:
    (job,), (cluster,), (cron,) = map(load, [KUBERAY / "base" / "rayjob.yaml", *ALONE])
    assert cluster["spec"] == job["spec"]["rayClusterSpec"]
    assert cron["spec"]["jobTemplate"] == job["spec"]


def test_versions_are_those_of_the_project() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    (job,) = load(KUBERAY / "base" / "rayjob.yaml")
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pins["ray"]
    assert {container["image"] for container in containers(job)} == {f"registry.example.com/dentgen:{version[1]}"}


@every_overlay
def test_there_are_as_many_gpus_as_actors(overlay: str) -> None:
    """An actor takes a GPU and no CPU; one more than there are GPUs would wait for ever."""
    spec = one(rendered(KUBERAY / "overlays" / overlay), "RayJob")["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [(1, cluster["headGroupSpec"]), *((g["maxReplicas"], g) for g in cluster.get("workerGroupSpecs", []))]
    gpus = sum(count * int(_limits(group).get("nvidia.com/gpu", 0)) for count, group in groups)
    *_, override = shlex.split(spec["entrypoint"])
    actors = yaml.safe_load(override.removeprefix("pipeline.actors="))
    assert actors == ({"min": gpus, "max": gpus} if overlay == "spot" else gpus), "lost spot nodes are not waited for"
    assert _limits(cluster["headGroupSpec"])["nvidia.com/gpu"] == "1", "the driver plans on a GPU of the build's kind"


@every_overlay
def test_commits_find_cpus_beside_those_that_pack(overlay: str) -> None:
    """A commit and the rows of units take a quarter of a CPU each; a pod with a GPU keeps its cores for packers."""
    cluster = one(rendered(KUBERAY / "overlays" / overlay), "RayJob")["spec"]["rayClusterSpec"]
    groups = [(1, cluster["headGroupSpec"]), *((g["minReplicas"], g) for g in cluster.get("workerGroupSpecs", []))]
    logical = [
        (count, float(group["rayStartParams"].get("num-cpus", _limits(group)["cpu"])), group) for count, group in groups
    ]
    assert sum(count * cpus for count, cpus, _ in logical) >= 2
    for _, cpus, group in logical:
        if "nvidia.com/gpu" in _limits(group):
            assert float(_limits(group)["cpu"]) - cpus >= 8


def test_spot_capacity_holds_neither_the_head_nor_what_commits() -> None:
    cluster = one(rendered(KUBERAY / "overlays" / "spot"), "RayJob")["spec"]["rayClusterSpec"]
    selected = {
        group["groupName"]: group["template"]["spec"].get("nodeSelector", {}) for group in cluster["workerGroupSpecs"]
    }
    assert selected == {"cpu": {}, "gpu-spot": {"eks.amazonaws.com/capacityType": "SPOT"}}
    assert "nodeSelector" not in cluster["headGroupSpec"]["template"]["spec"]
    (spot,) = [group for group in cluster["workerGroupSpecs"] if group["groupName"] == "gpu-spot"]
    assert spot["minReplicas"] == spot["replicas"] == 0, "a build starts although no spot capacity is there"


def _limits(group: Manifest) -> dict[str, str]:
    limits: dict[str, str] = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return limits


def test_no_pod_is_privileged(tmp_path: Path) -> None:
    for manifest in every_manifest(tmp_path):
        for pod in _pods(manifest):
            assert pod["securityContext"]["runAsNonRoot"], manifest["kind"]
            assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
            assert all("hostPath" not in volume for volume in pod.get("volumes", []))
            for container in pod["containers"]:
                context = container["securityContext"]
                assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
                assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


def test_every_ray_pod_has_shared_memory_for_its_object_store() -> None:
    for manifest in (*load(KUBERAY / "base" / "rayjob.yaml"),):
        cluster = manifest["spec"]["rayClusterSpec"]
        for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
            pod = group["template"]["spec"]
            (volume,) = [v for v in pod["volumes"] if v["name"] == "shm"]
            assert volume["emptyDir"]["medium"] == "Memory"
            assert {"name": "shm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
            store = int(group["rayStartParams"]["object-store-memory"])
            assert store < int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30


def test_no_manifest_holds_a_secret_or_a_key(tmp_path: Path) -> None:
    manifests = every_manifest(tmp_path)
    assert all(manifest["kind"] != "Secret" for manifest in manifests)
    names = {name for container in containers(manifests) for name in (e["name"] for e in container.get("env", []))}
    assert names == {"DENTGEN_CACHE", "HF_HOME", "TICK", "TICK_UID"}
    text = yaml.safe_dump_all(manifests)
    assert not re.search(r"AKIA|aws_secret|password|BEGIN [A-Z ]*PRIVATE KEY", text, re.IGNORECASE)


def test_ray_asks_for_a_token_and_is_reached_by_its_own_pods_alone(tmp_path: Path) -> None:
    manifests = every_manifest(tmp_path)
    for manifest in manifests:
        for cluster in _clusters(manifest):
            assert cluster["authOptions"] == {"mode": "token"}
            assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    policy = one(rendered(KUBERAY / "setup"), "NetworkPolicy")["spec"]
    labels = policy["podSelector"]["matchLabels"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in policy["ingress"]:
        (peer,) = rule["from"]
        assert peer == {"podSelector": {"matchLabels": labels}} or {port["port"] for port in rule["ports"]} <= {
            8265,
            8080,
        }
    for manifest in manifests:
        for template in _templates(manifest):
            assert labels.items() <= template["metadata"]["labels"].items(), "the policy selects every pod"


def test_pods_do_not_reach_the_metadata_service_of_their_node() -> None:
    egress = one(rendered(KUBERAY / "setup"), "NetworkPolicy")["spec"]["egress"]
    blocks = [peer["ipBlock"] for rule in egress for peer in rule["to"] if "ipBlock" in peer]
    assert blocks == [{"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}]


@pytest.mark.parametrize(
    ("component", "key"), [("aws", "eks.amazonaws.com/role-arn"), ("gcp", "iam.gke.io/gcp-service-account")]
)
def test_credentials_come_from_the_service_account(component: str, key: str, tmp_path: Path) -> None:
    manifests = rendered(overlay_with(tmp_path, "spot", f"identity/{component}"))
    assert key in one(manifests, "ServiceAccount")["metadata"]["annotations"]
    accounts = {pod["serviceAccountName"] for pod in _pods(one(manifests, "RayJob"))}
    assert accounts == {"dentgen"}


def test_a_schedule_may_create_ray_jobs_and_nothing_else(tmp_path: Path) -> None:
    manifests = rendered(overlay_with(tmp_path, "one-gpu", "schedule"))
    assert one(manifests, "Role")["rules"] == [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "create"]}
    ]
    job, cron = one(manifests, "RayJob"), one(manifests, "CronJob")
    assert job["spec"]["suspend"], "a template, not a build"
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"][:4] == ["dentgen", "cluster", "start", job["metadata"]["name"]]
    assert "ttlSecondsAfterFinished" not in cron["spec"]["jobTemplate"]["spec"], "it would remove builds that run"


@every_overlay
def test_a_job_ends_is_tried_again_and_cleaned_up(overlay: str) -> None:
    spec = one(rendered(KUBERAY / "overlays" / overlay), "RayJob")["spec"]
    assert spec["shutdownAfterJobFinishes"]
    assert spec["activeDeadlineSeconds"] > spec["preRunningDeadlineSeconds"] > 0
    assert spec["backoffLimit"] >= 1
    assert spec["ttlSecondsAfterFinished"] > 0


def _templates(value: Any) -> list[Manifest]:
    """Every pod template of a manifest."""
    found = []
    if isinstance(value, dict):
        if isinstance(value.get("spec"), dict) and "containers" in value["spec"]:
            found.append(value)
        found += [template for part in value.values() for template in _templates(part)]
    elif isinstance(value, list):
        found += [template for part in value for template in _templates(part)]
    return found


def _pods(manifest: Manifest) -> list[Manifest]:
    return [template["spec"] for template in _templates(manifest)]


def _clusters(value: Any) -> list[Manifest]:
    """Every specification of a Ray cluster in a manifest."""
    if isinstance(value, list):
        return [cluster for part in value for cluster in _clusters(part)]
    if not isinstance(value, dict):
        return []
    return [*([value] if "headGroupSpec" in value else []), *(c for part in value.values() for c in _clusters(part))]
