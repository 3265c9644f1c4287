"""Manifests of a build spec: valid, sized as the overlays, renamed everywhere, the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from dentgen.cluster.manifests import ClusterRun, Kind, as_yaml, manifests, sized
from dentgen.cluster.templates import read_manifest
from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.cluster.kustomize import KUBERAY, Manifest, containers, one, overlay_with, rendered
from tests.cluster.validation import faults, needs_kuberay

KINDS: tuple[Kind, ...] = get_args(Kind)
every_kind = pytest.mark.parametrize("kind", KINDS)
#: What sizes each overlay.
SIZES: dict[str, dict[str, Any]] = {
    "one-gpu": {"gpus": 1},
    "eight-gpus": {"gpus": 8},
    "spot": {"gpus": 8, "spot": True},
}


def spec() -> BuildSpec:
    """A spec over a bucket."""
    values = {
        "source": {"path": "s3://teeth/conditions"},
        "output": {"path": "s3://teeth/out"},
        "sampling": {"seed": 3},
    }
    return BuildSpec.model_validate(values)


def run_of(kind: Kind, **options: Any) -> ClusterRun:
    """A run of an image that has a tag."""
    schedule = None if kind == "rayjob" else "0 3 * * *"
    return ClusterRun(kind, "registry.example.com/dentgen:7", **{"schedule": schedule, **options})


def made(kind: Kind, **options: Any) -> list[Manifest]:
    """The manifests of a run, as they are read back from their text."""
    return list(yaml.safe_load_all(as_yaml(manifests(spec(), "build.yaml", run_of(kind, **options)))))


@needs_kuberay
@pytest.mark.parametrize("size", SIZES)
@every_kind
def test_manifests_are_valid(kind: Kind, size: str) -> None:
    assert [fault for manifest in made(kind, **SIZES[size]) for fault in faults(manifest)] == []


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_that_of_its_overlay(size: str) -> None:
    """One source of truth: files and command give the same job."""
    options = SIZES[size]
    job = sized(read_manifest("base/rayjob.yaml"), options["gpus"], spot=options.get("spot", False))
    assert job == one(rendered(KUBERAY / "overlays" / size), "RayJob")


def test_a_schedule_is_that_of_its_component(tmp_path: Path) -> None:
    files = rendered(overlay_with(tmp_path, "eight-gpus", "schedule"))
    command = made("cronjob", gpus=8)
    for kind in ("Role", "RoleBinding", "CronJob", "RayJob"):
        theirs, ours = (
            json.dumps(one(found, kind)).replace("dentgen:0.2.0", "dentgen:7") for found in (files, command)
        )
        expected, manifest = json.loads(theirs), json.loads(ours)
        del manifest["metadata"]["annotations"]
        assert manifest == expected


def test_the_config_map_holds_the_spec(tmp_path: Path) -> None:
    config = one(made("rayjob"), "ConfigMap")
    file = tmp_path / "build.yaml"
    file.write_text(config["data"]["build.yaml"])
    assert read_spec(file) == spec()
    assert config["metadata"]["annotations"] == {"dentgen/spec-digest": spec().digest()}
    volumes = one(made("rayjob"), "RayJob")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert {"name": "build", "configMap": {"name": config["metadata"]["name"]}} in volumes


@every_kind
def test_names_are_replaced_everywhere(kind: Kind) -> None:
    documents = made(kind, gpus=4, name="kids", namespace="research", service_account="reader")
    assert {document["metadata"]["namespace"] for document in documents} == {"research"}
    assert {document["metadata"]["name"] for document in documents} <= {"kids", "kids-build", "kids-schedule"}
    assert {container["image"] for container in containers(documents)} == {"registry.example.com/dentgen:7"}
    text = "\n".join(line for line in as_yaml(documents).splitlines() if "app.kubernetes.io/name" not in line)
    for word in ("serviceAccountName: dentgen", "name: dentgen", "namespace: dentgen", "dentgen-"):
        assert word not in text, word
    assert "serviceAccountName: reader" in text
    if kind == "cronjob":
        (container,) = one(documents, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["command"][:5] == ["dentgen", "cluster", "start", "kids", "--name"]
        assert one(documents, "RayJob")["spec"]["suspend"] is True
        binding = one(documents, "RoleBinding")
        assert binding["roleRef"]["name"] == one(documents, "Role")["metadata"]["name"] == "kids-schedule"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "kids-schedule", "namespace": "research"}]


@pytest.mark.parametrize(("kind", "scheduled"), [("cronjob", "CronJob"), ("raycronjob", "RayCronJob")])
def test_schedules_and_time_zones(kind: Kind, scheduled: str) -> None:
    cron = one(made(kind, schedule="30 1 * * mon-fri", time_zone="Europe/Berlin"), scheduled)["spec"]
    assert (cron["schedule"], cron["timeZone"]) == ("30 1 * * mon-fri", "Europe/Berlin")


def test_a_schedule_of_kuberay_has_the_job_as_its_template() -> None:
    job, cron = one(made("rayjob", gpus=3), "RayJob"), one(made("raycronjob", gpus=3), "RayCronJob")
    assert cron["spec"]["jobTemplate"] == job["spec"]
    assert job["spec"]["entrypoint"] == "dentgen generate /etc/dentgen/build.yaml --set pipeline.actors=3"


def test_parts_of_gpus_do_not_fit_into_pods_of_one() -> None:
    halves = spec().model_copy(update={"pipeline": spec().pipeline.model_copy(update={"gpus_per_actor": 0.5})})
    with pytest.raises(SpecError) as caught:
        manifests(halves, "a.yaml", run_of("rayjob"))
    assert (caught.value.key, caught.value.found) == ("pipeline.gpus_per_actor", 0.5)


def test_equal_specs_give_equal_text() -> None:
    texts = {as_yaml(manifests(spec(), file, run_of("cronjob", gpus=8))) for file in ("a.yaml", "b.yaml")}
    assert len(texts) == 1
    assert "&id" not in texts.pop(), "no references from one place to another"


@pytest.mark.parametrize(("options", "key", "found"), [
    ({"image": "registry.example.com/dentgen"}, "--image", "registry.example.com/dentgen"),
    ({"image": "dentgen:latest"}, "--image", "dentgen:latest"),
    ({"image": "Dentgen:1"}, "--image", "Dentgen:1"),
    ({"image": ""}, "--image", ""),
    ({"gpus": 0}, "--gpus", 0),
    ({"gpus": 1, "spot": True}, "--gpus", 1),
    ({"name": "a" * 39}, "--name", "a" * 39),
    ({"name": "7up"}, "--name", "7up"),
    ({"namespace": "Research"}, "--namespace", "Research"),
    ({"service_account": "x-"}, "--service-account", "x-"),
    ({"schedule": "0 3 * *"}, "--schedule", "0 3 * *"),
    ({"schedule": None}, "--schedule", "nothing"),
    ({"kind": "rayjob"}, "--schedule", "@daily"),
    ({"time_zone": "Berlin"}, "--time-zone", "Berlin"),
])  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], key: str, found: object) -> None:
    values = {"kind": "cronjob", "image": "dentgen:7", "schedule": "@daily", **options}
    with pytest.raises(SpecError) as error:
        ClusterRun(**values).require_valid()
    assert (error.value.key, error.value.found) == (key, found)


@pytest.mark.parametrize("image", [
    "dentgen:0.2.0", "localhost:5000/a/dentgen:1", f"ghcr.io/x/dentgen@sha256:{'0' * 64}", "a.b-c/d_e:v1_2.3",
])  # fmt: skip
def test_images_with_a_tag_or_digest_are_taken(image: str) -> None:
    ClusterRun("rayjob", image).require_valid()
