"""Training specs: every recipe has exactly the keys that it reads; files, overrides, schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from dentgen.errors import SpecError
from dentgen.spec.train import (
    CONTROL_KINDS,
    RECIPES,
    TRAIN_SPEC,
    AdapterSpec,
    AutoencoderSpec,
    BaseSpec,
    CommonSpec,
    ControlBaseSpec,
    ControlLoraSpec,
    ControlNetSpec,
    KlDecoderSpec,
    LcmLoraSpec,
    PixelWeights,
    TextToImageSpec,
    TinyDecoderSpec,
    read_train_spec,
)
from tests.conftest import ROOT

SHIPPED = sorted((ROOT / "jobs" / "specs").glob("train-*.yaml"))
KINDS: tuple[type[CommonSpec], ...] = (
    AutoencoderSpec, TextToImageSpec, BaseSpec, ControlBaseSpec, AdapterSpec, ControlNetSpec, ControlLoraSpec,
    LcmLoraSpec, TinyDecoderSpec, KlDecoderSpec,
)  # fmt: skip
PATHS = {"bundle": "b", "checkpoints": "c"}


def valid(recipe: str, **values: Any) -> Any:
    return TRAIN_SPEC.validate_python({"recipe": recipe, **PATHS, **values})


def wrong_keys(recipe: str, **values: Any) -> list[str]:
    """Dotted keys that validation rejects."""
    with pytest.raises(ValidationError) as caught:
        valid(recipe, **values)
    tags = 2 if recipe == "decoder" else 1
    return [".".join(map(str, error["loc"][tags:])) for error in caught.value.errors()]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_specs_that_ship_are_valid(path: Path) -> None:
    spec = read_train_spec(path)
    assert f"recipe: {spec.recipe}\n" in path.read_text()
    jsonschema.validate(spec.model_dump(mode="json", exclude_unset=True), TRAIN_SPEC.json_schema())


@pytest.mark.parametrize(
    ("name", "overrides", "kind"),
    [
        ("train-adapter", ("control_image=normal", "loss.tooth=1", "checkpoints=work/train/normal"), AdapterSpec),
        ("train-autoencoder", ("dtype=bfloat16",), AutoencoderSpec),
        ("train-controlnet", ("recipe=control-lora",), ControlLoraSpec),
        ("train-decoder", ("adversarial=0.05",), TinyDecoderSpec),
        ("train-kl-decoder", ("adversarial=0.05",), KlDecoderSpec),
    ],
)
def test_overrides_that_their_comments_name_are_valid(
    name: str, overrides: tuple[str, ...], kind: type[CommonSpec]
) -> None:
    path = ROOT / "jobs" / "specs" / f"{name}.yaml"
    assert all(f"--set {override}" in path.read_text() for override in overrides if "checkpoints" not in override)
    assert type(read_train_spec(path, overrides)) is kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described_and_most_have_a_default(kind: type[CommonSpec]) -> None:
    required = {"recipe", "bundle", "checkpoints"} | ({"decoder"} if kind is KlDecoderSpec else set())
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


#: Keys that only some recipes read, and those recipes.
READERS = {
    "start": {"autoencoder", "text-to-image", "base", "control-base", "decoder"},
    "align": {"autoencoder"},
    "cache_latents": set(RECIPES) - {"autoencoder"},
    "channels_last": {"autoencoder", "decoder"},
    "loss": set(RECIPES) - {"lcm-lora", "decoder"},
    "tasks": {"base", "control-base"},
    "control_image": {"adapter", "controlnet", "control-lora", "lcm-lora", "decoder"},
    "bare_teeth": {"adapter"},
    "rank": {"control-base", "adapter", "control-lora", "lcm-lora"},
    "name": {"adapter", "controlnet", "control-lora", "lcm-lora"},
    "adapter": {"lcm-lora", "decoder"},
    "adapter_scale": {"decoder"},
    "guidance": {"lcm-lora"},
    "ladder": {"lcm-lora"},
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
            assert valid(recipe, **{key: defaults.get(key, "tiny")})
        else:
            assert wrong_keys(recipe, **{key: defaults[key]}) == [key]


def test_sections_have_only_the_keys_that_their_recipe_reads() -> None:
    assert wrong_keys("text-to-image", conditions={"alpha": 0.3}) == ["conditions.alpha"]
    assert wrong_keys("autoencoder", loss={"snr_floor": 0.0}) == ["loss.snr_floor"]
    assert wrong_keys("decoder", decoder="kl", generated=0.0, start=None) == ["generated", "start"]


@pytest.mark.parametrize("key", ["start", "align", "tensorboard", "name", "adapter", "validate_split"])
def test_none_is_null_and_never_an_empty_text(key: str) -> None:
    recipe = {"start": "base", "align": "autoencoder", "adapter": "decoder"}.get(key, "adapter")
    assert getattr(valid(recipe, **{key: None}), key) is None
    assert wrong_keys(recipe, **{key: ""}) == [key]


@pytest.mark.parametrize("key", ["threads", "workers", "validate_steps"])
def test_none_is_null_and_never_zero(key: str) -> None:
    assert getattr(valid("adapter", **{key: None}), key) is None
    assert wrong_keys("adapter", **{key: 0}) == [key]


def test_a_null_split_takes_all_records() -> None:
    assert valid("adapter").source.split == "train"
    assert valid("adapter", source={"split": None}).source.split is None


@pytest.mark.parametrize(
    ("recipe", "values", "key"),
    [
        ("lcm-lora", {"ladder": 300}, "ladder"),
        ("lcm-lora", {"guidance": [15, 5]}, "guidance"),
        ("lcm-lora", {"adapter": "normal"}, "control_image"),
        ("decoder", {"adapter": "normal", "generated": 0.5}, "control_image"),
        ("decoder", {"generated": 0.5}, "adapter"),
        ("decoder", {"generated": 0.5, "adapter": "blended", "distil": False}, "generated"),
        ("control-base", {"tasks": ["normal", "normal"]}, "tasks"),
        ("adapter", {"bundle": "s3://there/sd15"}, "bundle"),
        ("adapter", {"accumulate": 2, "loss": {"normalise": "batch"}}, "loss.normalise"),
        ("autoencoder", {"accumulate": 2, "loss": {"normalise": "batch"}}, "loss.normalise"),
        ("adapter", {"workers": 3}, "batch"),
        ("adapter", {"workers": 4, "accumulate": 8}, "batch"),
        ("adapter", {"learning_rate": float("nan")}, "learning_rate"),
        ("adapter", {"loss": {"tooth": float("inf")}}, "loss.tooth"),
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
    ],
)
def test_control_images_that_rows_need(recipe: str, values: dict[str, Any], kinds: tuple[str, ...]) -> None:
    assert valid(recipe, **values).control_kinds == kinds


def test_weights_of_one_are_plain() -> None:
    assert PixelWeights().is_plain
    assert PixelWeights(boundary_pixels=5, normalise="none").is_plain
    for values in ({"tooth": 2.0}, {"boundary": 0.1}, {"background": 0.0}, {"gingiva": 0.5}):
        assert not PixelWeights.model_validate(values).is_plain


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "key", "found"),
    [
        ("", "recipe", "none"),
        ("recipe: adaptor", "recipe", "'adaptor'"),
        ("recipe: [adapter]", "recipe", "['adapter']"),
    ],
)
def test_a_missing_or_unknown_recipe_lists_the_recipes(tmp_path: Path, line: str, key: str, found: str) -> None:
    path = write(tmp_path, f"{line}\nbundle: b\n")
    with pytest.raises(SpecError) as caught:
        read_train_spec(path)
    assert (caught.value.file, caught.value.key, caught.value.found) == (str(path), key, found)
    assert all(recipe in caught.value.expected for recipe in RECIPES)


def test_an_unknown_decoder_lists_the_decoders(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_train_spec(write(tmp_path, "recipe: decoder\ndecoder: big\n"))
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("decoder", "'big'", "one of tiny, kl")


def test_overrides_reach_inner_keys_and_choose_the_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, "recipe: adapter\nbundle: b\ncheckpoints: c\nloss: {tooth: 5}\n")
    spec = read_train_spec(path, ("loss.tooth=3", "workers=4", "source.split=null", "learning_rate=1e-4"))
    assert isinstance(spec, AdapterSpec)
    assert (spec.loss.tooth, spec.workers, spec.source.split, spec.learning_rate) == (3.0, 4, None, 1e-4)
    assert isinstance(read_train_spec(path, ("recipe=controlnet",)), ControlNetSpec)


def test_every_wrong_key_is_named_with_the_keys_of_its_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, "recipe: controlnet\nbundle: b\ncheckpoints: c\nrank: 16\nloss: {teeth: 5}\nbatch: 0\n")
    with pytest.raises(SpecError) as caught:
        read_train_spec(path)
    faults = {fault.key: fault for fault in caught.value.faults}
    assert set(faults) == {"rank", "loss.teeth", "batch"}
    assert "control_image" in faults["rank"].expected
    assert "bare_teeth" not in faults["rank"].expected
    assert "tooth" in faults["loss.teeth"].expected


def test_a_spec_survives_json() -> None:
    """Ray workers get their spec as plain values."""
    for spec in (valid("decoder"), valid("decoder", decoder="kl"), valid("lcm-lora", guidance=[0, 1])):
        assert TRAIN_SPEC.validate_python(spec.model_dump(mode="json")) == spec


def test_the_schema_accepts_what_it_describes() -> None:
    schema = TRAIN_SPEC.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for recipe in RECIPES:
        jsonschema.validate({"recipe": recipe, **PATHS}, schema)
    for values in ({"recipe": "controlnet", "rank": 4}, {"recipe": "decoder", "decoder": "kl", "start": None}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | PATHS, schema)
