"""Settings of the quality gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec
from dentgen.spec.quality import GateSpec, LimitSpec, QualitySpec


def spec(gate: dict[str, Any] | None, **sections: Any) -> BuildSpec:
    return BuildSpec.model_validate({"quality": {"gate": gate}, **sections})


def test_there_is_no_gate_unless_one_is_asked_for() -> None:
    assert BuildSpec().quality.gate is None
    assert spec({}).quality.gate == GateSpec()


@pytest.mark.parametrize(
    "limit", [{}, {"least": 2, "most": 1}, {"least": float("nan")}, {"at_least": 1}, {"least": None, "most": None}]
)
def test_limits_without_an_end_or_upside_down_are_refused(limit: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LimitSpec.model_validate(limit)


@pytest.mark.parametrize(
    "gate",
    [
        {"limits": {"fid": {"least": 1}}},
        {"retry": 9},
        {"lose": 0.9},
        {"judges": ""},
        {"retry": 1, "on_failure": "record"},
    ],
)
def test_unknown_figures_and_impossible_values_are_refused(gate: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GateSpec.model_validate(gate)


def test_a_gate_needs_labels_to_compare_with() -> None:
    with pytest.raises(ValidationError, match="segmentation"):
        spec({}, conditions={"use": ["lighting"], "combine": "sum"})


@pytest.mark.parametrize(
    "sections", [{"variants": {"same_noise": True, "change": ["prompt"], "prompts": ["decay"]}},
                 {"sampling": {"seed_to": 4}}]
)  # fmt: skip
def test_variants_that_share_their_noise_cannot_be_made_again(sections: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="retry"):
        spec({"retry": 1}, **sections)
    spec({"retry": 0}, **sections)


def test_the_gate_decides_the_dataset_and_its_places_do_not(tmp_path: Path) -> None:
    plain = BuildSpec()
    assert plain.digest() != spec({}).digest()
    assert spec({}).digest() != spec({"lose": 0.1}).digest()
    places = {"judges": str(tmp_path / "j"), "reference": str(tmp_path / "r")}
    assert spec({}).digest() == spec(places).digest()


def test_places_are_replaced_and_nothing_else() -> None:
    quality = spec({"judges": "a", "reference": "b", "retry": 3}).quality
    moved = quality.with_places("c", "d")
    assert moved.gate == GateSpec(judges="c", reference="d", retry=3)
    assert quality.with_places("c").gate == GateSpec(judges="c", reference="b", retry=3)
    assert (quality.judges, QualitySpec().judges) == ("a", "")
    assert QualitySpec().with_places("c", "d") == QualitySpec()
