"""Ways of conditioning: read as specs, reported as means and spreads, measured on small jaws."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.errors import SpecError
from dentgen.evaluation.conditioning import (
    ConditioningSettings,
    _edges_over_reference,
    compare_conditioning,
    conditioning_figures,
    conditioning_table,
    read_ways,
    require_way,
)
from dentgen.evaluation.generated_images import generated_images
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.models.bundle import find_bundle
from dentgen.quality.metrics import variant_spread
from tests.evaluation.small_evaluation import DEMO_SPEC, FEW, RECORDS


def test_ways_are_specs_with_one_bundle_each(tmp_path: Path) -> None:
    x, y, z = (str(tmp_path / name) for name in "xyz")
    for name in (x, y, z):
        Path(name).symlink_to(find_bundle("miniature"))
    ways = read_ways(DEMO_SPEC, ["sampling.seed=3"], [], [["A", x, y], ["D", z]])
    assert {name: [spec.model.bundle for spec in specs] for name, specs in ways.items()} == {"A": [x, y], "D": [z]}
    assert {spec.sampling.seed for specs in ways.values() for spec in specs} == {3}
    assert ways["A"][0].conditions.combine == "sum"
    assert ways["A"][0].model.adapters == {"segmentation": 1.0, "lighting": 1.0}
    assert ways["D"][0].model.adapters == {"blended": 1.0}
    own = read_ways(DEMO_SPEC, [], [["only", str(DEMO_SPEC), "conditions.alpha=0.5"]], [])
    assert own["only"][0].conditions.alpha == 0.5
    assert own["only"][0].model.bundle == "miniature"


def test_wrong_ways_are_rejected() -> None:
    with pytest.raises(SpecError) as unknown:
        read_ways(DEMO_SPEC, [], [], [["B", "x"]])
    assert (unknown.value.key, unknown.value.found) == ("--bundle", "B")
    with pytest.raises(SpecError) as sizes:
        read_ways(DEMO_SPEC, [], [["a", "conditions.size=64"], ["b"]], [])
    assert (sizes.value.key, sizes.value.found) == ("conditions.size", "64 in a, 256 in b")
    with pytest.raises(SpecError) as shape:
        read_ways(DEMO_SPEC, ["conditions.size=[64,96]"], [["a"]], [])
    assert (shape.value.key, shape.value.found) == ("conditions.size", [64, 96])
    with pytest.raises(SpecError) as files:
        read_ways(DEMO_SPEC, [], [["a", "one.yaml", "two.yaml"]], [])
    assert (files.value.key, files.value.found) == ("--way", "spec files one.yaml, two.yaml")
    with pytest.raises(SpecError) as baseline:
        require_way({"a": [], "b": []}, "c")
    assert (baseline.value.key, baseline.value.found) == ("--baseline", "c")


def test_figures_are_mean_and_sample_deviation_over_bundles() -> None:
    by_way = {
        "A": {"miou unet": np.array([0.5, 0.7, 0.9]), "ghost_edges": np.array([1.0, 2.0, 6.0])},
        "D": {"miou unet": np.array([0.25]), "ghost_edges": np.array([3.0])},
    }
    figures = conditioning_figures(by_way)
    assert figures["A_miou_unet_mean"] == pytest.approx(0.7)
    assert figures["A_ghost_edges_spread"] == pytest.approx(statistics.stdev([1, 2, 6]))
    assert math.isnan(figures["D_miou_unet_spread"])
    assert (figures["A_bundles"], figures["D_bundles"]) == (3, 1)
    header, *lines = [line.split() for line in conditioning_table(by_way)]
    assert header == ["A", "D"]
    assert lines == [
        ["miou", "unet", "0.7000", "+-", "0.2000", "0.2500"],
        ["ghost_edges", "3.0000", "+-", "2.6458", "3.0000"],
    ]


def test_edges_are_relative_to_reference_images() -> None:
    figures = {
        name: np.array([value]) for name, value in (("interior_edges", 3.0), ("stray_edges", 8.0), ("miou", 0.5))
    }
    relative = _edges_over_reference(figures, {"interior_edges": 2.0, "stray_edges": 4.0, "miou": 1.0})
    assert {name: float(value[0]) for name, value in relative.items()} == {
        "miou": 0.5,
        "interior_edges": 1.5,
        "ghost_edges": 2.0,
    }


@pytest.mark.slow
def test_two_ways_side_by_side(work: Path, jaws: ReferenceSet, tmp_path: Path) -> None:
    """The bare base under a sum, and the blended adapter; the same bundle twice has no spread."""
    ways = read_ways(
        DEMO_SPEC, ["conditions.size=64", "sampling.steps=2"],
        [["sum", "conditions.combine=sum", "model.adapters={}"], ["blend"]], [["blend", "miniature", "miniature"]],
    )  # fmt: skip
    sheet = tmp_path / "sheet.png"
    by_way = compare_conditioning(ConditioningSettings(str(work), ways, RECORDS, judges=FEW, sheet=str(sheet)))
    assert Image.open(sheet).size == (5 * 68, 6 * 68), "maps, reference picture and two ways of six records"
    images = generated_images(str(work), ways["blend"][0], jaws, variants=2)
    expected = np.mean([variant_spread(variants) for variants in images])
    assert by_way["blend"]["spread_variants"].tolist() == pytest.approx([expected] * 2)
    assert by_way["reference"]["spread_variants"] == 0
    assert by_way["blend"]["kernel_distance unet"][0] != by_way["sum"]["kernel_distance unet"][0]
    assert by_way["reference"]["ghost_edges"] == 1
    assert len(by_way["blend"]["ghost_edges"]) == 2
    figures = conditioning_figures(by_way)
    assert figures["blend_light_correlation_spread"] == 0
    assert figures["blend_light_correlation_mean"] != figures["sum_light_correlation_mean"]
    assert {f"blend_{name}_{judge}_mean" for name in ("boundary_f1", "bleed_in", "bleed_out", "miou", "tooth_pieces")
            for judge in ("unet", "dilated")} <= figures.keys()  # fmt: skip
