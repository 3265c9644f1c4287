"""Training specs as files: what ships, overrides, errors, JSON and its schema."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from dentgen.errors import SpecError
from dentgen.spec.train import RECIPES, TRAIN_SPEC, read_train_spec
from dentgen.spec.train_recipes import (
    AdapterSpec,
    AutoencoderSpec,
    ControlLoraSpec,
    ControlNetSpec,
    KlDecoderSpec,
    TinyDecoderSpec,
)
from dentgen.spec.train_sections import CommonSpec
from tests.conftest import ROOT
from tests.spec.train_specs import NEEDED, PATHS, valid

SHIPPED = sorted((ROOT / "jobs" / "specs").glob("train-*.yaml"))


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


@pytest.mark.slow
def test_the_schema_accepts_what_it_describes() -> None:
    schema = TRAIN_SPEC.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for recipe in RECIPES:
        jsonschema.validate({"recipe": recipe, **PATHS, **NEEDED.get(recipe, {})}, schema)
    for values in ({"recipe": "controlnet", "rank": 4}, {"recipe": "decoder", "decoder": "kl", "start": None}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | PATHS, schema)
