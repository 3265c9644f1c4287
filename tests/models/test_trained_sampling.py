"""Headers of few-step LoRAs: what they say, and the specs that they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dentgen.errors import BundleError, SpecError
from dentgen.generation.generator import solver_table
from dentgen.models.trained_sampling import HEADER, TrainedSampling, read_trained_sampling
from dentgen.pipeline.plan import make_plan
from dentgen.spec.build import BuildSpec
from tests.conftest import JAWS
from tests.models.part_files import lcm_with_header


@pytest.fixture
def student(bundle_copy: Path) -> Path:
    """The miniature with LoRAs for two DDIM steps and for two LCM steps."""
    lcm_with_header(bundle_copy, "phased", TrainedSampling("ddim", (999, 499)).header())
    lcm_with_header(bundle_copy, "dmd", TrainedSampling("lcm", (999, 499)).header())
    return bundle_copy


def spec_of(bundle: Path, loras: dict[str, float], **sampling: Any) -> BuildSpec:
    return BuildSpec.model_validate(
        {"source": {"path": str(JAWS)}, "model": {"bundle": str(bundle), "loras": loras}, "sampling": sampling}
    )


def test_a_header_says_how_a_student_is_sampled(student: Path) -> None:
    assert read_trained_sampling(student / "loras" / "phased") == TrainedSampling("ddim", (999, 499))


def test_other_loras_say_nothing(student: Path) -> None:
    two_frame = lcm_with_header(student, "two-frame", {HEADER: '{"kind": "two-frame", "frames": 2}'})
    assert read_trained_sampling(student / "loras" / "lcm") is None
    assert read_trained_sampling(two_frame) is None


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[" * 100_000,
        "[]",
        '{"kind": "few-step"}',
        '{"kind": "few-step", "scheduler": "ddim", "timesteps": []}',
        '{"kind": "few-step", "scheduler": "ddim", "timesteps": ["999"]}',
        '{"kind": "few-step", "scheduler": 1, "timesteps": [999]}',
        '{"kind": "few-step", "scheduler": "ddim", "timesteps": [true]}',
    ],
)
def test_a_damaged_header_is_refused(bundle_copy: Path, text: str) -> None:
    folder = lcm_with_header(bundle_copy, "damaged", {HEADER: text})
    with pytest.raises(BundleError) as caught:
        read_trained_sampling(folder)
    assert (caught.value.file, caught.value.key) == (str(folder / "weights.safetensors"), HEADER)
    assert caught.value.found == text[:120]


@pytest.mark.parametrize(
    ("lora", "sampling", "key", "found"),
    [
        ("phased", {"scheduler": "ddim", "steps": 4}, "sampling.steps", 4),
        ("phased", {"scheduler": "unipc", "steps": 2}, "sampling.scheduler", "unipc"),
        (
            "phased", {"scheduler": {"_class_name": "DDIMScheduler", "clip_sample": False}, "steps": 2},
            "sampling.scheduler", "DDIMScheduler",
        ),
        (
            "phased", {"scheduler": "ddim", "steps": 2, "scheduler_options": {"timestep_spacing": "leading"}},
            "sampling.timesteps", [501, 1],
        ),
        ("dmd", {"scheduler": "ddim", "steps": 2}, "sampling.scheduler", "ddim"),
        ("dmd", {"scheduler": "lcm", "steps": 2, "timesteps": [999, 259]}, "sampling.timesteps", [999, 259]),
    ],
)  # fmt: skip
def test_a_plan_with_other_steps_is_refused_by_key(
    student: Path, lora: str, sampling: dict[str, Any], key: str, found: Any
) -> None:
    with pytest.raises(SpecError) as caught:
        make_plan(spec_of(student, {lora: 1.0}, **sampling))
    assert (caught.value.key, caught.value.found) == (key, found)
    assert f"model.loras.{lora}" in str(caught.value.expected)


def test_trained_steps_are_planned(student: Path) -> None:
    for lora, scheduler in (("phased", "ddim"), ("dmd", "lcm")):
        table = solver_table(spec_of(student, {lora: 1.0}, scheduler=scheduler, steps=2), student)
        assert table.timesteps.tolist() == [999, 499]


def test_a_lora_of_scale_zero_asks_for_nothing(student: Path) -> None:
    assert (
        solver_table(spec_of(student, {"phased": 0.0, "lcm": 1.0}, scheduler="unipc", steps=4), student).num_steps == 4
    )


def test_image_to_image_runs_the_last_trained_steps(student: Path) -> None:
    spec = spec_of(student, {"phased": 1.0}, scheduler="ddim", steps=2, start_from="photo", strength=0.5)
    assert solver_table(spec, student).timesteps.tolist() == [499]
