"""Schedulers by name and by configuration, on the embedded bundle's noise schedule."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler

from dentgen.errors import BundleError, SpecError
from dentgen.models.bundle import find_bundle
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.sampling import SchedulerName

FOLDER = find_bundle("miniature")
BUNDLED = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text())
CLASSES = {
    "unipc": "UniPCMultistepScheduler", "lcm": "LCMScheduler", "ddim": "DDIMScheduler", "ddpm": "DDPMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler", "dpmpp_2m_karras": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler", "euler_ancestral": "EulerAncestralDiscreteScheduler", "pndm": "PNDMScheduler",
    "heun": "HeunDiscreteScheduler",
}  # fmt: skip


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_named_schedulers_use_the_bundles_noise_schedule(name: SchedulerName) -> None:
    scheduler = make_scheduler(name, FOLDER)
    assert type(scheduler).__name__ == CLASSES[name]
    assert scheduler.config.timestep_spacing == "trailing"
    for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps", "prediction_type"):
        assert scheduler.config[key] == BUNDLED[key], key
    betas = torch.linspace(BUNDLED["beta_start"] ** 0.5, BUNDLED["beta_end"] ** 0.5, 1000) ** 2
    assert torch.equal(scheduler.betas, betas)


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_named_schedulers_never_clip_whatever_the_bundle_says(name: SchedulerName, tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "scheduler", tmp_path / "scheduler")
    config = {**BUNDLED, "clip_sample": True, "thresholding": True, "timestep_spacing": "leading"}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    made = make_scheduler(name, tmp_path).config
    assert (made.get("clip_sample", False), made.get("thresholding", False)) == (False, False)
    assert made.timestep_spacing == "trailing"


def test_karras_sigmas_are_part_of_a_name() -> None:
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
def test_options_override_all_other_settings(name: SchedulerName, options: dict[str, Any]) -> None:
    config = make_scheduler(name, FOLDER, options).config
    assert {key: config[key] for key in options} == options


@pytest.mark.parametrize("option", ["solver_order", "self"])
def test_unknown_options_are_an_error(option: str) -> None:
    with pytest.raises(SpecError) as caught:
        make_scheduler("euler", FOLDER, {option: 2})
    error = caught.value
    assert (error.key, error.found) == ("sampling.scheduler_options", option)
    assert "EulerDiscreteScheduler" in error.expected
    assert "beta_start" in error.expected


def test_numbers_as_text_are_an_error() -> None:
    with pytest.raises(SpecError) as caught:
        make_scheduler("euler", FOLDER, {"beta_start": "1e-4"})
    assert (caught.value.key, caught.value.found) == ("sampling.scheduler", "text for beta_start")


@pytest.mark.parametrize(
    "options", [{"solver_type": "bh7"}, {"use_karras_sigmas": True, "use_exponential_sigmas": True}]
)
def test_options_that_the_class_rejects_are_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        make_scheduler("unipc", FOLDER, options)
    assert caught.value.key == "sampling.scheduler"
    assert "UniPCMultistepScheduler" in caught.value.message


def test_configurations_without_a_noise_schedule_use_the_bundles() -> None:
    scheduler = make_scheduler({"_class_name": "EulerDiscreteScheduler", "beta_end": 0.02}, FOLDER)
    assert isinstance(scheduler, EulerDiscreteScheduler)
    config = scheduler.config
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.00085, 0.02, "scaled_linear")
    assert config.timestep_spacing == "linspace", "all else is the class's default"


def test_configurations_are_used_as_given() -> None:
    config = {"_class_name": "DDIMScheduler", "clip_sample": True, "timestep_spacing": "leading", "steps_offset": 1}
    made = make_scheduler(config, FOLDER).config
    assert {key: made[key] for key in config if key != "_class_name"} == {
        key: value for key, value in config.items() if key != "_class_name"
    }


def test_configuration_files_of_diffusers_are_read(tmp_path: Path) -> None:
    """They may carry settings of other schedulers, from which they were converted."""
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
def test_configurations_of_no_scheduler_are_an_error(name: Any) -> None:
    for config in ({"_class_name": name}, {"solver_order": 2} if name is None else {"_class_name": name, "x": 1}):
        with pytest.raises(SpecError) as caught:
            make_scheduler(config, FOLDER)
        assert (caught.value.key, caught.value.found) == ("sampling.scheduler._class_name", repr(name))


def test_misspelt_keys_are_an_error() -> None:
    with pytest.raises(SpecError) as caught:
        make_scheduler({"_class_name": "UniPCMultistepScheduler", "solver_oder": 3}, FOLDER)
    assert (caught.value.key, caught.value.found) == ("sampling.scheduler", "solver_oder")
    assert "solver_order" in caught.value.expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_train_timesteps", 10**9), ("num_train_timesteps", 0), ("num_train_timesteps", 1.5),
        ("beta_end", float("nan")),
        ("beta_end", 1), ("beta_start", -1e-3), ("beta_start", "small"), ("trained_betas", 3), ("trained_betas", [0.1]),
        ("trained_betas", [0.1] * 999 + ["x"]), ("steps_offset", 10**400),
    ],
)  # fmt: skip
def test_noise_schedules_that_no_model_has_are_refused(tmp_path: Path, key: str, value: object) -> None:
    """In a bundle's config and in a spec's."""
    config = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text())
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(BundleError) as caught:
        make_scheduler("unipc", tmp_path)
    assert (caught.value.file, caught.value.key) == (str(tmp_path / "scheduler"), key)
    with pytest.raises(SpecError) as wrong:
        make_scheduler({"_class_name": "DDIMScheduler", key: value}, FOLDER)
    assert wrong.value.key == f"sampling.scheduler.{key}"


def test_a_bundle_without_a_noise_schedule_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "scheduler").mkdir()
    with pytest.raises(BundleError) as caught:
        make_scheduler("unipc", tmp_path)
    assert caught.value.file == str(tmp_path / "scheduler")
