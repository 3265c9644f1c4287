"""Train on synthetic, test on real, on ten small jaws with segmenters that hardly learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import BuildError, SpecError
from dentgen.evaluation.fidelity import FidelitySettings, measure_fidelity
from dentgen.evaluation.generated_images import finished_build
from dentgen.evaluation.reference_set import JUDGE_SEED, ReferenceSet, reference_set
from dentgen.evaluation.solver_timing import measure_timing
from dentgen.evaluation.synthetic_to_real import SyntheticToRealSettings, _figures, measure_synthetic_to_real
from tests.evaluation.small_evaluation import FEW, RECORDS, SIZE, demo_reference, small_build_spec


def test_figures_are_means_over_seeds_and_classes() -> None:
    ious = {
        "synthetic": [np.array([0.9, 0.3, 0.6]), np.array([0.7, 0.1, 0.4])],
        "reference": [np.array([1.0, 0.5, 0.6]), np.array([1.0, 0.7, 1.0])],
    }
    figures = _figures(ious, (0, 5))
    assert figures["miou_synthetic_seed0"] == pytest.approx(0.6)
    assert figures["miou_synthetic_seed5"] == pytest.approx(0.4)
    assert figures["miou_synthetic"] == pytest.approx(0.5)
    assert figures["miou_ratio"] == pytest.approx(0.5 / 0.8)
    assert figures["iou_gingiva_reference"] == pytest.approx(0.6)
    assert figures["iou_tooth_synthetic"] == pytest.approx(0.5)


def test_an_unfinished_build_is_rejected(tmp_path: Path) -> None:
    settings = SyntheticToRealSettings(str(tmp_path), small_build_spec(), str(tmp_path / "nothing"), RECORDS, FEW)
    with pytest.raises(BuildError) as caught:
        measure_synthetic_to_real(settings)
    assert str(tmp_path / "nothing") in caught.value.file


@pytest.mark.integration
def test_a_build_of_another_size_is_rejected(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    source = demo_reference(tmp_path / "demo", demo_members, 1).source
    out = finished_build(str(tmp_path), small_build_spec("sampling.steps=1"), source, variants=1)
    settings = SyntheticToRealSettings(str(tmp_path), small_build_spec("conditions.size=128"), out, RECORDS, FEW)
    with pytest.raises(SpecError) as caught:
        measure_synthetic_to_real(settings)
    assert (caught.value.file, caught.value.found, caught.value.expected) == (out, "64 x 64", "128 x 128")
    assert caught.value.advice == "--set conditions.size=64"


def test_pictures_that_are_not_square_are_refused(tmp_path: Path) -> None:
    spec = small_build_spec("conditions.size=[64,96]")
    settings = SyntheticToRealSettings(str(tmp_path), spec, "", RECORDS, FEW)
    for measure in (
        lambda: measure_synthetic_to_real(settings),
        lambda: measure_fidelity(FidelitySettings(str(tmp_path), spec, RECORDS, word_records=2, judges=FEW)),
        lambda: measure_timing({"kl": small_build_spec("conditions.size=[64,96]", "engine.slots=2")}, rounds=1),
    ):
        with pytest.raises(SpecError) as caught:
            measure()
        assert (caught.value.key, caught.value.found) == ("conditions.size", [64, 96])
        assert caught.value.expected.startswith("a square")
    assert not list(tmp_path.iterdir()), "nothing is rendered before"


@pytest.mark.slow
def test_a_given_build_counts_as_the_own_one(work: Path, jaws: ReferenceSet) -> None:
    settings = SyntheticToRealSettings(str(work), small_build_spec(), "", RECORDS, FEW)
    figures = measure_synthetic_to_real(settings)
    assert figures["records"] == RECORDS
    for kind in ("synthetic", "reference"):
        assert figures[f"miou_{kind}_seed0"] != figures[f"miou_{kind}_seed1"]
    assert figures["miou_synthetic"] != figures["miou_reference"]
    training = reference_set(str(work), RECORDS, JUDGE_SEED, SIZE)
    out = finished_build(str(work), small_build_spec(), training.source, variants=1)
    assert measure_synthetic_to_real(replace(settings, build=out)) == figures
