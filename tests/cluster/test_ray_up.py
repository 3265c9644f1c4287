"""Files for ``ray up``: valid for Ray's launcher, as safe as the manifests, of the same versions."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cluster.kustomize import KUBERAY, containers, load
from tests.conftest import ROOT

FILES = sorted((ROOT / "cluster" / "ray-up").glob("*.yaml"))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
GPU_HEAD = "the driver plans on a GPU of the build's kind"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema in Ray's wheel, which forbids unknown keys."""
    ray = find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    found: dict[str, Any] = json.loads((Path(ray.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    assert found["additionalProperties"] is False
    return found


def faults(file: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """What the schema says against a file."""
    errors = jsonschema.validators.validator_for(schema)(schema).iter_errors(file)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def test_there_is_a_file_for_each_cloud() -> None:
    assert [file.stem for file in FILES] == ["aws", "gcp"]
    assert [read(file)["provider"]["type"] for file in FILES] == ["aws", "gcp"]


def read(path: Path) -> dict[str, Any]:
    """The only document of a file."""
    (found,) = load(path)
    return found


@every_file
def test_files_are_valid(file: Path, schema: dict[str, Any]) -> None:
    assert faults(read(file), schema) == []


@pytest.mark.parametrize(("change", "named"), [
    ({"idle_timeout_minute": 5}, "idle_timeout_minute"),
    ({"max_worker": 7}, "max_worker"),
    ({"max_workers": "seven"}, "max_workers: 'seven'"),
    ({"provider": {"region": "x"}}, "provider: 'type' is a required property"),
    ({"docker": {"images": "x"}}, "images"),
    ({"available_node_types": {"head": {"resources": {"GPU": 1}}}}, "node_config"),
])  # fmt: skip
def test_planted_mistakes_are_named(change: dict[str, Any], named: str, schema: dict[str, Any]) -> None:
    found = faults({**read(FILES[0]), **change}, schema)
    assert any(named in fault for fault in found), found


@every_file
def test_a_cluster_name_is_required(file: Path, schema: dict[str, Any]) -> None:
    values = read(file)
    del values["cluster_name"]
    assert any("cluster_name" in fault for fault in faults(values, schema))


@every_file
def test_the_head_has_a_gpu_of_the_workers_model(file: Path) -> None:
    values = read(file)
    types = values["available_node_types"]
    assert types[values["head_node_type"]]["resources"]["GPU"] == 1, GPU_HEAD
    model = {"aws": lambda config: config["InstanceType"], "gcp": lambda config: config["guestAccelerators"]}
    kinds = [model[file.stem](node["node_config"]) for node in types.values()]
    assert kinds == [kinds[0]] * 3, "a build refuses nodes that differ from its plan"
    assert sum(node.get("max_workers", 0) for node in types.values()) == values["max_workers"]


@every_file
def test_spot_capacity_is_in_one_group_and_not_the_head(file: Path) -> None:
    types = read(file)["available_node_types"]
    spot = {
        name for name, node in types.items() if "MarketType" in json.dumps(node) or "preemptible" in json.dumps(node)
    }
    assert spot == {"gpu-spot"}


@every_file
def test_ray_asks_for_a_token_and_its_dashboard_listens_on_loopback(file: Path) -> None:
    values = read(file)
    assert values["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    commands = [*values["head_start_ray_commands"], *values["worker_start_ray_commands"]]
    assert all(command.startswith("RAY_AUTH_MODE=token ray ") for command in commands)
    (start,) = [command for command in commands if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in start


@every_file
def test_image_and_shared_memory_are_those_of_the_manifests(file: Path) -> None:
    docker = read(file)["docker"]
    (job,) = load(KUBERAY / "base" / "rayjob.yaml")
    assert {docker["image"]} == {container["image"] for container in containers(job)}
    assert "--shm-size=5g" in docker["run_options"]


def test_rights_come_from_the_machine(schema: dict[str, Any]) -> None:
    aws, gcp = map(read, FILES)
    for node in aws["available_node_types"].values():
        assert node["node_config"]["IamInstanceProfile"] == {"Name": "dentgen"}
        assert node["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}
    for node in gcp["available_node_types"].values():
        assert len(node["node_config"]["serviceAccounts"]) == 1
