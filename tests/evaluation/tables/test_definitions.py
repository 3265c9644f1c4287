"""The candidates of T2 to T6: valid specs that differ in what the table asks about, and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.tables.candidates import DecisionTable, Training
from dentgen.evaluation.tables.definitions import (
    GUIDANCE,
    TOOTH_WEIGHTS,
    combined_conditions,
    control_methods,
    guidance_of_single_conditions,
    samplers,
    tooth_weights,
)
from dentgen.evaluation.tables.options import parse_students
from dentgen.spec.build import BuildSpec
from tests.evaluation.small_evaluation import small_build_spec

BASE = small_build_spec()


def specs(table: DecisionTable) -> dict[str, BuildSpec]:
    """The spec of every candidate."""
    return {candidate.name: small_build_spec(*candidate.changes) for candidate in table.candidates}


def parts(table: DecisionTable) -> list[dict[str, object]]:
    """Keys of every trained part."""
    return [dict(part) for training in table.trainings for part in training.parts]


def test_control_methods_differ_in_their_recipe_alone() -> None:
    table = control_methods(BASE)
    by_name = specs(table)
    assert by_name["no control"].model.adapters == {"blended": 0.0}
    for name in ("ControlNet", "Control-LoRA"):
        assert (by_name[name].model.adapters, by_name[name].model.controlnets) == ({}, {"trained": 1.0})
    assert by_name["ctrLoRA adapter"].model.adapters == {"trained": 1.0}
    trained = parts(table)
    assert [part["recipe"] for part in trained] == ["controlnet", "control-lora", "adapter"]
    assert len({str((part["control_image"], part["loss"])) for part in trained}) == 1


def test_no_control_needs_an_adapter_to_silence() -> None:
    with pytest.raises(SpecError) as caught:
        control_methods(small_build_spec("model.adapters={}"))
    assert caught.value.key == "model.adapters"


def test_every_condition_meets_every_guidance_scale() -> None:
    found = specs(guidance_of_single_conditions(BASE)).values()
    ran = [(*spec.conditions.use, *spec.model.adapters, spec.sampling.guidance_scale) for spec in found]
    kinds = ("segmentation", "lighting", "normal", "curvature")
    assert ran == [(kind, kind, scale) for kind in kinds for scale in GUIDANCE]


def test_combinations_are_those_of_the_bundle_and_of_trained_adapters() -> None:
    table = combined_conditions(BASE, {"reward": ("elsewhere", "rewarded")})
    by_name = specs(table)
    assert [spec.conditions.combine for spec in by_name.values()].count("sum") == 3
    assert by_name["blend, by class"].model.adapters["blended"] == {"tooth": 1.5, "gingiva": 1.0, "background": 0.5}
    assert (by_name["reward"].model.bundle, by_name["reward"].model.adapters) == ("elsewhere", {"rewarded": 1.0})
    assert sorted(len(training.parts) for training in table.trainings) == [1, 1, 2, 2]
    weights = {candidate.name: _weights(candidate.training) for candidate in table.candidates if candidate.training}
    assert weights.pop("sum, trained here") == weights.pop("blend, trained here") == {1}
    assert set(map(frozenset, weights.values())) == {frozenset({5})}
    for training in table.trainings:
        if len(training.parts) == 2:
            assert [part["name"] for part in training.parts] == ["segmentation", "lighting"], (
                "names that a sum looks for"
            )


def _weights(training: Training) -> set[int]:
    return {part["loss"]["tooth"] for part in training.parts}


def test_a_taken_name_is_rejected() -> None:
    with pytest.raises(SpecError) as caught:
        combined_conditions(BASE, {"sum": ("elsewhere", "rewarded")})
    assert caught.value.found == "'sum' twice"


def test_tooth_weights_differ_in_the_weight_alone() -> None:
    trained = parts(tooth_weights())
    assert [part.pop("loss") for part in trained] == [{"tooth": w, "snr_floor": 0.1} for w in TOOTH_WEIGHTS]
    assert all(part == trained[0] for part in trained)


def test_tables_share_the_trainings_that_they_have_in_common() -> None:
    five, one = (tooth_weights().candidates[TOOTH_WEIGHTS.index(weight)].training for weight in (5, 1))
    assert five in control_methods(BASE).trainings
    assert {five.name, one.name} <= {t.name for t in combined_conditions(BASE).trainings}  # type: ignore[union-attr]


def test_samplers_and_students() -> None:
    table = samplers(BASE, parse_students(["DMD 1=dmd:ddim:1:999"]))
    ran = {
        name: (spec.sampling.scheduler, spec.sampling.steps, spec.sampling.timesteps, *spec.model.loras)
        for name, spec in specs(table).items()
    }
    assert ran == {
        "DDIM 50": ("ddim", 50, None),
        "UniPC 4": ("unipc", 4, None),
        "LCM 4": ("lcm", 4, None, "lcm"),
        "DMD 1": ("ddim", 1, (999,), "dmd"),
    }


def test_samplers_keep_neither_loras_nor_scheduler_options_of_the_spec() -> None:
    own = (
        "model.loras={lcm: 0.5}",
        "sampling.scheduler=lcm",
        "sampling.scheduler_options={original_inference_steps: 20}",
    )
    table = samplers(small_build_spec(*own), parse_students(["plain 2=:ddim:2"]))
    ran = {each.name: small_build_spec(*own, *each.changes) for each in table.candidates}
    assert {name: spec.model.loras for name, spec in ran.items()} == {
        "DDIM 50": {}, "UniPC 4": {}, "LCM 4": {"lcm": 1.0}, "plain 2": {},
    }  # fmt: skip
    assert all(spec.sampling.scheduler_options == {} for spec in ran.values())


@pytest.mark.parametrize("table", [guidance_of_single_conditions, combined_conditions, samplers])
def test_a_bundle_without_the_parts_is_rejected(table: object, tmp_path: Path) -> None:
    for part in ("tokenizer", "text_encoder", "vae", "unet", "scheduler"):
        (tmp_path / "bundle" / part).mkdir(parents=True)
    with pytest.raises(SpecError) as caught:
        table(small_build_spec(f"model.bundle={tmp_path / 'bundle'}"))  # type: ignore[operator]
    assert caught.value.key == "model.bundle"
