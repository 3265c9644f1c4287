"""Schedulers by name and by configuration, on the embedded bundle's noise schedule."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler

from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.build import SchedulerName

FOLDER = find_bundle("miniature")
BUNDLED = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text())
CLASSES = {
    "unipc": "UniPCMultistepScheduler", "lcm": "LCMScheduler", "ddim": "DDIMScheduler", "ddpm": "DDPMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler", "dpmpp_2m_karras": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler", "euler_ancestral": "EulerAncestralDiscreteScheduler", "pndm": "PNDMScheduler",
    "heun": "HeunDiscreteScheduler",
}  # fmt: skip


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_names(name: SchedulerName) -> None:
    scheduler = make_scheduler(name, FOLDER)
    assert type(scheduler).__name__ == CLASSES[name]
    assert scheduler.config.timestep_spacing == "trailing"
    for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps", "prediction_type"):
        assert scheduler.config[key] == BUNDLED[key], key
    betas = torch.linspace(BUNDLED["beta_start"] ** 0.5, BUNDLED["beta_end"] ** 0.5, 1000) ** 2
    assert torch.equal(scheduler.betas, betas)


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_names_never_clip(name: SchedulerName, tmp_path: Path) -> None:
    """Whatever the bundle says, and also where the class would only carry the setting along."""
    shutil.copytree(FOLDER / "scheduler", tmp_path / "scheduler")
    config = {**BUNDLED, "clip_sample": True, "thresholding": True, "timestep_spacing": "leading"}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    made = make_scheduler(name, tmp_path).config
    assert (made.get("clip_sample", False), made.get("thresholding", False)) == (False, False)
    assert made.timestep_spacing == "trailing"


def test_names_that_share_a_class() -> None:
    assert not make_scheduler("dpmpp_2m", FOLDER).config.use_karras_sigmas
    assert make_scheduler("dpmpp_2m_karras", FOLDER).config.use_karras_sigmas


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unipc", {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
        ("dpmpp_2m", {"use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}),
        ("lcm", {"original_inference_steps": 100}),
        ("ddim", {"timestep_spacing": "leading", "clip_sample": True}),
        ("euler", {"prediction_type": "v_prediction"}),
    ],
)
def test_options_come_last(name: SchedulerName, options: dict[str, Any]) -> None:
    config = make_scheduler(name, FOLDER, options).config
    assert {key: config[key] for key in options} == options


def test_unknown_options_are_refused() -> None:
    with pytest.raises(SpecError, match=r"EulerDiscreteScheduler has no option solver_order, expected .*beta_start"):
        make_scheduler("euler", FOLDER, {"solver_order": 2})
    with pytest.raises(SpecError, match="self"):
        make_scheduler("euler", FOLDER, {"self": 2})


@pytest.mark.parametrize(
    "options", [{"solver_type": "bh7"}, {"use_karras_sigmas": True, "use_exponential_sigmas": True}]
)
def test_options_that_the_class_refuses_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="UniPCMultistepScheduler refuses its settings"):
        make_scheduler("unipc", FOLDER, options)


def test_configurations_take_missing_noise_schedules_from_the_bundle() -> None:
    scheduler = make_scheduler({"_class_name": "EulerDiscreteScheduler", "beta_end": 0.02}, FOLDER)
    assert isinstance(scheduler, EulerDiscreteScheduler)
    config = scheduler.config
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.00085, 0.02, "scaled_linear")
    assert config.timestep_spacing == "linspace", "otherwise it is the class's own default"


def test_configurations_are_used_as_given() -> None:
    config = {"_class_name": "DDIMScheduler", "clip_sample": True, "timestep_spacing": "leading", "steps_offset": 1}
    made = make_scheduler(config, FOLDER).config
    assert {key: made[key] for key in config if key != "_class_name"} == {
        key: value for key, value in config.items() if key != "_class_name"
    }


def test_configuration_files_of_diffusers_are_read(tmp_path: Path) -> None:
    """They carry settings of the schedulers that they were made from, which are no mistake."""
    unipc = make_scheduler("unipc", FOLDER, {"solver_order": 3})
    DPMSolverMultistepScheduler.from_config(unipc.config).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "scheduler_config.json").read_text())
    assert "set_alpha_to_one" in config
    made = make_scheduler(config, FOLDER, {"use_karras_sigmas": True})
    assert isinstance(made, DPMSolverMultistepScheduler)
    assert (made.config.solver_order, made.config.use_karras_sigmas) == (3, True)
    assert isinstance(make_scheduler({**config, "_class_name": "PNDMScheduler"}, FOLDER), PNDMScheduler)


@pytest.mark.parametrize(
    "name", [None, 3, "UNet2DConditionModel", "SchedulerMixin", "NoSuchScheduler", "os", "FlaxDDIMScheduler"]
)
def test_configurations_of_no_scheduler_are_refused(name: Any) -> None:
    with pytest.raises(SpecError, match=f"found _class_name {name!r}"):
        make_scheduler({"_class_name": name}, FOLDER)
    with pytest.raises(SpecError, match="found _class_name None"):
        make_scheduler({"solver_order": 2}, FOLDER)


def test_misspelt_keys_are_refused() -> None:
    with pytest.raises(SpecError, match=r"found solver_oder, expected settings of UniPC.*solver_order"):
        make_scheduler({"_class_name": "UniPCMultistepScheduler", "solver_oder": 3}, FOLDER)
