"""Settings and the build spec of the same pictures."""

from __future__ import annotations

import pytest

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.studio.settings import Settings
from tests.studio.conftest import SPEC

BASE = BuildSpec.model_validate(SPEC)


def test_settings_of_a_spec_give_that_spec() -> None:
    assert Settings.of(BASE).build_spec(BASE) == BASE


@pytest.mark.parametrize("strength", [0.01, 0.1, 0.35, 0.4, 1.0])
def test_a_spec_that_starts_from_photos_stays_so(strength: float) -> None:
    base = BuildSpec.model_validate({**SPEC, "sampling": {"start_from": "photo", "strength": strength, "steps": 4}})
    settings = Settings.of(base)
    assert settings.build_spec(base) == base
    without = settings.model_copy(update={"background": 0.0}).build_spec(base)
    assert (without.sampling.start_from, without.sampling.strength) == ("photo", 1.0)


def test_the_background_is_what_is_left_of_the_photo() -> None:
    sampling = Settings(background=0.3).build_spec(BASE).sampling
    assert (sampling.start_from, sampling.strength) == ("photo", 0.7)
    assert Settings().build_spec(BASE).sampling.start_from == "noise"


def test_every_setting_reaches_the_spec() -> None:
    settings = Settings(
        seed=7, steps=6, scheduler="lcm", guidance_scale=2.0, negative_prompt="blur", variants=3,
        adapters={"blended": {"tooth": 2.0}},
    )  # fmt: skip
    spec = settings.build_spec(BASE, painted=2)
    sampling = spec.sampling
    assert (sampling.seed, sampling.steps, sampling.scheduler, sampling.variants) == (7, 6, "lcm", 3)
    assert (sampling.guidance_scale, sampling.negative_prompt) == (2.0, "blur")
    assert (spec.model.adapters, spec.regions.painted) == ({"blended": {"tooth": 2.0}}, 2)


def test_slots_grow_to_the_rows_of_a_picture() -> None:
    spec = Settings(guidance_scale=2.0, adapters={"blended": 1.5}).build_spec(BASE, painted=8)
    assert spec.engine.slots == spec.first_rows == 18
    assert Settings(adapters={"blended": 1.5}).build_spec(BASE, painted=2).engine.slots == BASE.engine.slots


def test_a_negative_prompt_waits_for_guidance() -> None:
    assert Settings(negative_prompt="blur").build_spec(BASE).sampling.negative_prompt == ""


def test_the_prompt_is_the_records() -> None:
    base = BASE.model_copy(update={"sampling": BASE.sampling.model_copy(update={"prompt": "one for all"})})
    assert Settings().build_spec(base).sampling.prompt is None


def test_a_solver_with_a_config_of_its_own_stays() -> None:
    config = {"_class_name": "DDIMScheduler", "beta_start": 0.001}
    base = BuildSpec.model_validate({**SPEC, "sampling": {"scheduler": config}})
    assert Settings.of(base).build_spec(base).sampling.scheduler == config


def test_settings_that_do_not_go_together_are_named() -> None:
    base = BuildSpec.model_validate({**SPEC, "sampling": {"guidance": "initialize", "guidance_scale": 1.2}})
    with pytest.raises(SpecError) as caught:
        Settings.of(base).build_spec(base, painted=1)
    assert "initialize" in str(caught.value)
