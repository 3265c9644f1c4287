"""Training specs of few-step students: phases that DDIM can step through, ladders that meet their edges."""

from __future__ import annotations

from typing import Any

import pytest
from diffusers import DDIMScheduler

from dentgen.training.miniature import SCHEDULER_CONFIG
from tests.spec.train_specs import valid, wrong_keys


@pytest.mark.parametrize("phases", range(1, 9))
def test_phases_are_those_that_ddim_steps_through(phases: int) -> None:
    """With other counts DDIM's trailing timesteps are unequally far apart, and a step ends beside the next start."""
    scheduler = DDIMScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(phases)
    starts = [int(step) for step in scheduler.timesteps]
    ends = [start - 1000 // phases for start in starts]
    if ends[:-1] == starts[1:]:
        assert valid("phased-lora", phases=phases, ladder=200).phases == phases
    else:
        assert wrong_keys("phased-lora", phases=phases, ladder=200) == ["phases"]


@pytest.mark.parametrize(
    ("recipe", "values", "key"),
    [
        ("phased-lora", {"ladder": 20, "phases": 8}, "ladder"),
        ("phased-lora", {"ladder": 300}, "ladder"),
        ("phased-lora", {"phases": 9}, "phases"),
        ("phased-lora", {"guidance": [4, 1]}, "guidance"),
        ("phased-lora", {"adapter": "normal"}, "control_image"),
        ("dmd-lora", {"adapter": "normal"}, "control_image"),
        ("dmd-lora", {"start_lora": "dmd"}, "start_lora"),
        ("dmd-lora", {"name": "own", "start_lora": "own"}, "start_lora"),
        ("dmd-lora", {"guidance": -1.0}, "guidance"),
        ("dmd-lora", {"critic_steps": 0}, "critic_steps"),
        ("dmd-lora", {"sampling_steps": 9}, "sampling_steps"),
        ("noise-consistency", {"levels": 0}, "levels"),
        ("noise-consistency", {"boundary": -1.0}, "boundary"),
        ("noise-consistency", {"judge": "nobody"}, "judge"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused_by_key(recipe: str, values: dict[str, Any], key: str) -> None:
    assert wrong_keys(recipe, **values) == [key]


def test_a_student_without_adapter_needs_no_control_image() -> None:
    for recipe in ("lcm-lora", "phased-lora", "dmd-lora", "pruned-unet"):
        assert valid(recipe, adapter=None, control_image="normal").control_kinds == ()
    assert valid("noise-consistency").control_kinds == ()
    assert (valid("noise-consistency").part, valid("noise-consistency", name="own").part) == ("one-step", "own")


def test_a_student_may_start_from_another() -> None:
    assert valid("dmd-lora", start_lora="phased").start_lora == "phased"
    assert valid("dmd-lora").control_kinds == valid("phased-lora").control_kinds == ("blended",)
