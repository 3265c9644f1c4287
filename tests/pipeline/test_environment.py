"""What of a machine decides bytes, and how it differs from a plan's."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from dentgen.errors import SpecError
from dentgen.pipeline.environment import environment, environment_difference
from tests.conftest import small_spec
from tests.report.fake_builds import fake_plan

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


def test_versions_slots_and_threads_are_named(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, tmp_path, engine={"slots": 6, "threads": 3})
    found = environment(spec)
    assert found["torch"] == version("torch")
    assert found["dentgen"] == version("dentgen")
    assert (found["slots"], found["control_slots"], found["threads"]) == ("6", str(spec.control_slots), "3")
    assert platform.machine() in found["device_kind"] or torch.cuda.is_available()


def test_a_patch_release_of_python_decides_nothing(tmp_path: Path) -> None:
    assert environment(small_spec(tmp_path, tmp_path))["python"] == ".".join(platform.python_version().split(".")[:2])


@WITHOUT_GPU
@pytest.mark.parametrize(("dtype", "found"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_precision_is_resolved(dtype: str, found: str, tmp_path: Path) -> None:
    here = environment(small_spec(tmp_path, tmp_path, engine={"dtype": dtype}))
    assert (here["device"], here["dtype"]) == ("cpu", found)


@WITHOUT_GPU
def test_a_cuda_graph_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        environment(small_spec(tmp_path, tmp_path, engine={"cuda_graph": True}))
    assert caught.value.key == "engine.cuda_graph"


def test_a_plan_of_this_environment_does_not_differ() -> None:
    plan = fake_plan()
    assert environment_difference(replace(plan, environment=environment(plan.spec))) == []


def test_every_difference_is_named_with_both_values() -> None:
    plan = fake_plan()
    other = {**environment(plan.spec), "torch": "1.0", "gpu_driver": "5"}
    other.pop("numpy")
    lines = environment_difference(replace(plan, environment=other))
    assert sorted(line.split(":")[0] for line in lines) == ["gpu_driver", "numpy", "torch"]
    (line,) = [line for line in lines if line.startswith("torch")]
    assert "1.0" in line
    assert version("torch") in line
