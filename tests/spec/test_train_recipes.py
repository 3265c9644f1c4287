"""The spec of every recipe has exactly the keys that the recipe reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from dentgen.spec.train import RECIPES
from dentgen.spec.train_personal import DreamBoothSpec, TextualInversionSpec
from dentgen.spec.train_recipes import (
    AdapterSpec,
    AutoencoderSpec,
    BaseSpec,
    ControlBaseSpec,
    ControlLoraSpec,
    ControlNetSpec,
    JudgeSpec,
    KlDecoderSpec,
    TextToImageSpec,
    TinyDecoderSpec,
    TwoFrameSpec,
)
from dentgen.spec.train_reward import RewardSpec
from dentgen.spec.train_sections import CONTROL_KINDS, CommonSpec
from dentgen.spec.train_students import (
    DmdLoraSpec,
    LcmLoraSpec,
    NoiseConsistencySpec,
    PhasedLoraSpec,
    PrunedUnetSpec,
)
from tests.spec.train_specs import valid, wrong_keys

KINDS: tuple[type[CommonSpec], ...] = (
    AutoencoderSpec, TextToImageSpec, BaseSpec, ControlBaseSpec, AdapterSpec, ControlNetSpec, ControlLoraSpec,
    LcmLoraSpec, PhasedLoraSpec, DmdLoraSpec, PrunedUnetSpec, TwoFrameSpec, TinyDecoderSpec, KlDecoderSpec, JudgeSpec,
    RewardSpec, NoiseConsistencySpec, DreamBoothSpec, TextualInversionSpec,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described_and_most_have_a_default(kind: type[CommonSpec]) -> None:
    needed: dict[type[CommonSpec], str] = {
        KlDecoderSpec: "decoder", DreamBoothSpec: "instance_prompt", TextualInversionSpec: "name"
    }  # fmt: skip
    required = {"recipe", "bundle", "checkpoints"} | ({needed[kind]} if kind in needed else set())
    fields = dict(leaves(kind))
    assert not [key for key, field in fields.items() if not field.description]
    assert {key for key, field in fields.items() if field.is_required()} == required


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and fields, sections included."""
    for name, field in kind.model_fields.items():
        yield prefix + name, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")


def test_every_recipe_has_a_spec() -> None:
    recipes = [name for kind in KINDS for name in get_args(kind.model_fields["recipe"].annotation)]
    assert set(recipes) == set(RECIPES)
    for recipe in RECIPES:
        assert valid(recipe).recipe == recipe


#: Recipes of few-step students.
STUDENTS = {"lcm-lora", "phased-lora", "dmd-lora"}
#: Recipes that ask a judge.
JUDGED = {"reward", "noise-consistency"}

#: Recipes of a look.
PERSONAL = {"dreambooth", "textual-inversion"}

#: Keys that only some recipes read, and those recipes.
READERS = {
    "start": {"autoencoder", "text-to-image", "base", "control-base", "decoder"},
    "align": {"autoencoder"},
    "cache_latents": set(RECIPES) - {"autoencoder", "judge"},
    "channels_last": {"autoencoder", "decoder"},
    "loss": set(RECIPES) - {*STUDENTS, "noise-consistency", "pruned-unet", "decoder", "judge"},
    "network": {"judge"},
    "photometric": {"judge"},
    "tasks": {"autoencoder", "base", "control-base"},
    "crop": {"autoencoder"},
    "perceptual": {"autoencoder"},
    "colour": {"autoencoder"},
    "control_image": {
        "adapter",
        "reward",
        "controlnet",
        "control-lora",
        *STUDENTS,
        "pruned-unet",
        "two-frame",
        "decoder",
    },
    "bare_teeth": {"adapter", "reward"},
    "rank": {"control-base", "adapter", "control-lora", *STUDENTS, "noise-consistency", "two-frame", "dreambooth"},
    "name": {"adapter", *JUDGED, "controlnet", "control-lora", *STUDENTS, "two-frame", *PERSONAL},
    "instance_prompt": {"dreambooth"},
    "class_prompt": {"dreambooth"},
    "prior_weight": {"dreambooth"},
    "class_pictures": {"dreambooth"},
    "class_steps": {"dreambooth"},
    "class_guidance": {"dreambooth"},
    "train_text_encoder": {"dreambooth"},
    "vectors": {"textual-inversion"},
    "initializer": {"textual-inversion"},
    "prompts": {"textual-inversion"},
    "adapter": {"reward", *STUDENTS, "pruned-unet", "two-frame", "decoder"},
    "adapter_scale": {*STUDENTS, "pruned-unet", "two-frame", "decoder"},
    "teacher": {"pruned-unet"},
    "layers": {"pruned-unet"},
    "middle": {"pruned-unet"},
    "attention": {"pruned-unet"},
    "features": {"pruned-unet"},
    "weight": {"reward"},
    "lighting_weight": {"reward"},
    "reward_timesteps": {"reward"},
    "reward_share": {"reward"},
    "reward_decoder": {"reward"},
    "judges": JUDGED,
    "judge": JUDGED,
    "generator": {"noise-consistency"},
    "levels": {"noise-consistency"},
    "boundary": {"noise-consistency"},
    "watch": {"reward"},
    "uncertainty": {"reward"},
    "pairs": {"two-frame"},
    "reference_weight": {"two-frame"},
    "edit_weight": {"two-frame"},
    "guidance": STUDENTS,
    "ladder": {"lcm-lora", "phased-lora"},
    "phases": {"phased-lora"},
    "sampling_steps": {"dmd-lora"},
    "critic_steps": {"dmd-lora"},
    "critic_learning_rate": {"dmd-lora"},
    "start_lora": {"dmd-lora"},
    "decoder": {"decoder"},
    "decoder_width": {"decoder"},
    "decoder_blocks": {"decoder"},
    "adversarial": {"decoder"},
    "generated": {"decoder"},
    "distil": {"decoder"},
    "detail": {"decoder", "autoencoder"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_key_that_the_recipe_does_not_read_is_refused_also_at_its_default(recipe: str) -> None:
    defaults: dict[str, Any] = {}
    for kind in KINDS:
        defaults = kind.model_construct().model_dump() | defaults
    for key, readers in READERS.items():
        if recipe in readers:
            assert valid(recipe, **{key: valid(recipe).model_dump()[key]})
        else:
            assert wrong_keys(recipe, **{key: defaults.get(key, "a text")}) == [key]


def test_sections_have_only_the_keys_that_their_recipe_reads() -> None:
    assert wrong_keys("text-to-image", conditions={"alpha": 0.3}) == ["conditions.alpha"]
    assert wrong_keys("autoencoder", loss={"snr_floor": 0.0}) == ["loss.snr_floor"]
    assert wrong_keys("decoder", decoder="kl", generated=0.0, start=None) == ["generated", "start"]


@pytest.mark.parametrize(
    ("recipe", "values", "key"),
    [
        ("lcm-lora", {"ladder": 300}, "ladder"),
        ("lcm-lora", {"guidance": [15, 5]}, "guidance"),
        ("lcm-lora", {"adapter": "normal"}, "control_image"),
        ("two-frame", {"adapter": "normal"}, "control_image"),
        ("pruned-unet", {"adapter": "normal"}, "control_image"),
        ("pruned-unet", {"layers": 0}, "layers"),
        ("decoder", {"adapter": "normal", "generated": 0.5}, "control_image"),
        ("decoder", {"generated": 0.5}, "adapter"),
        ("decoder", {"generated": 0.5, "adapter": "blended", "distil": False}, "generated"),
        ("control-base", {"tasks": ["normal", "normal"]}, "tasks"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_key(recipe: str, values: dict[str, Any], key: str) -> None:
    assert wrong_keys(recipe, **values) == [key]


def test_an_adapter_of_another_name_may_be_shown_any_control_image() -> None:
    for kind in CONTROL_KINDS:
        assert valid("lcm-lora", adapter="own", control_image=kind).control_image == kind


def test_a_part_is_named_after_its_control_image_unless_it_has_a_name() -> None:
    assert valid("adapter", control_image="normal").part == "normal"
    assert valid("controlnet", name="own").part == "own"
    assert (valid("lcm-lora").part, valid("lcm-lora", name="own").part) == ("lcm", "own")
    assert (valid("phased-lora").part, valid("dmd-lora").part, valid("dmd-lora", name="own").part) == (
        "phased",
        "dmd",
        "own",
    )
    assert (valid("two-frame").part, valid("two-frame", name="own").part) == ("two-frame", "own")


@pytest.mark.parametrize(
    ("recipe", "values", "kinds"),
    [
        ("text-to-image", {}, ()),
        ("decoder", {}, ()),
        ("decoder", {"decoder": "kl"}, ()),
        ("decoder", {"generated": 0.5, "adapter": "x", "control_image": "depth"}, ("depth",)),
        ("base", {"tasks": ["depth", "depth", "normal"]}, ("depth", "depth", "normal")),
        ("adapter", {}, ("blended", "blended-teeth")),
        ("adapter", {"control_image": "normal"}, ("normal",)),
        ("controlnet", {}, ("blended",)),
        ("autoencoder", {}, ("segmentation", "lighting", "normal", "curvature", "blended", "blended-teeth")),
        ("autoencoder", {"tasks": ["findings"]}, ("findings",)),
    ],
)
def test_control_images_that_rows_need(recipe: str, values: dict[str, Any], kinds: tuple[str, ...]) -> None:
    assert valid(recipe, **values).control_kinds == kinds
