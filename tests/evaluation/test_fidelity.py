"""Small real evaluations: every command on a handful of small jaws, with judges that hardly learn.

Figures of such runs mean nothing; that those which need no judge are right, that parts are kept, and that another model
gets other pictures does.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.errors import BuildError, SpecError
from dentgen.evaluation.conditioning import StudySettings, compare_adapters, read_ways, study_figures, study_table
from dentgen.evaluation.fidelity import FidelitySettings, figure_lines, measure_fidelity, write_figures
from dentgen.evaluation.fidelity_sheet import best_median_worst
from dentgen.evaluation.generated_images import finished_build, generated_pictures
from dentgen.evaluation.judge_cache import JudgeSettings
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.evaluation.synthetic_to_real import SyntheticToRealSettings, measure_synthetic_to_real
from dentgen.quality.metrics import variant_spread
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT

SIZE, RECORDS = 64, 10
FEW = JudgeSettings(records=RECORDS, unet_steps=4, dilated_steps=4, detector_steps=3)
DEMO_SPEC = ROOT / "jobs" / "specs" / "demo.yaml"


def small(*overrides: str) -> BuildSpec:
    return read_spec(DEMO_SPEC, [f"conditions.size={SIZE}", "sampling.steps=2", *overrides])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def jaws(work: Path) -> ReferenceSet:
    return reference_set(str(work), RECORDS, TEST_SEED, SIZE, workers=1)


def builds(work: Path) -> set[str]:
    return {path.name for path in (work / "builds").iterdir()}


def test_best_median_and_worst() -> None:
    assert best_median_worst(np.array([0.2, 0.9, 0.5, 0.4, 0.7])) == (1, 2, 0)
    assert best_median_worst(np.array([0.5])) == (0, 0, 0)


def test_figures_are_written_as_json_that_everything_reads(tmp_path: Path) -> None:
    write_figures({"a": 1 / 3, "b": math.nan}, tmp_path / "new" / "figures.json")
    assert json.loads((tmp_path / "new" / "figures.json").read_text()) == {"figures": {"a": 0.3333, "b": None}}


def test_ways_are_specs_with_a_bundle_each() -> None:
    ways = read_ways(DEMO_SPEC, ["sampling.seed=3"], [], [["A", "x", "y"], ["D", "z"]])
    assert {name: [spec.model.bundle for spec in specs] for name, specs in ways.items()} == {
        "A": ["x", "y"],
        "D": ["z"],
    }
    assert {spec.sampling.seed for specs in ways.values() for spec in specs} == {3}
    assert ways["A"][0].conditions.combine == "sum"
    assert ways["A"][0].model.adapters == {"segmentation": 1.0, "lighting": 1.0}
    assert ways["D"][0].model.adapters == {"blended": 1.0}
    own = read_ways(DEMO_SPEC, [], [["only", str(DEMO_SPEC), "conditions.alpha=0.5"]], [])
    assert own["only"][0].conditions.alpha == 0.5
    assert own["only"][0].model.bundle == "miniature"


def test_wrong_ways_are_refused() -> None:
    with pytest.raises(SpecError, match="found ways \\['B'\\], expected some of \\['A', 'D'\\]"):
        read_ways(DEMO_SPEC, [], [], [["B", "x"]])
    with pytest.raises(SpecError, match="one size for all ways"):
        read_ways(DEMO_SPEC, [], [["a", "conditions.size=64"], ["b"]], [])
    with pytest.raises(SpecError, match="at most one"):
        read_ways(DEMO_SPEC, [], [["a", "one.yaml", "two.yaml"]], [])


def test_halves_share_no_mouth() -> None:
    groups = [*"aaaab", *"bbbcc", *"cdd"]
    nothing = np.zeros((len(groups), 1, 1), np.uint8)
    records = ReferenceSet("", groups, groups, groups, nothing, nothing, nothing, nothing)
    for split in range(10):
        first, second = records.halves(split)
        assert sorted([*first, *second]) == list(range(len(groups)))
        assert len({groups[n] for n in first}) == len({groups[n] for n in second}) == 2
    assert len({tuple(records.halves(split)[0]) for split in range(10)}) > 1
    assert np.array_equal(records.halves()[0], records.halves(0)[0])


@pytest.mark.slow
def test_pictures_lie_beside_their_own_records(work: Path, jaws: ReferenceSet) -> None:
    """A build of one record gives the pictures that stand at its place among all."""
    everything = generated_pictures(str(work), small(), jaws, variants=2)
    assert everything.shape == (RECORDS, 2, SIZE, SIZE, 3)
    first = generated_pictures(str(work), small(), jaws, variants=2, limit=3)
    assert np.array_equal(first, everything[:3])
    lacking = ReferenceSet(jaws.source, ["no-such-record"], ["g"], [""], *([jaws.photos[:1]] + [jaws.seg[:1]] * 3))
    with pytest.raises(BuildError, match="found no picture no-such-record-v000"):
        generated_pictures(str(work), small(), lacking, variants=2)


@pytest.mark.slow
def test_fidelity_of_two_models_with_the_same_judges(work: Path, jaws: ReferenceSet) -> None:
    settings = FidelitySettings(str(work), small(), RECORDS, word_records=2, judges=FEW)
    found = measure_fidelity(settings)
    figures = found.figures
    assert all(math.isfinite(v) for name, v in figures.items() if not name.startswith("reference_")), figures
    variants = generated_pictures(str(work), settings.spec, jaws, variants=4)
    assert figures["spread_variants"] == pytest.approx(np.mean([variant_spread(v) for v in variants]))
    assert figures["light_correlation_fill"] > 0.9, "the colour fill is its lighting"
    assert figures["miou_ratio_dilated"] == figures["miou_generated_dilated"] / figures["miou_reference_dilated"]
    assert {f"{n}_{k}{j}" for n in ("miou", "tooth_recall", "bleed_in", "bleed_out", "boundary_f1", "kernel_distance")
            for k in ("generated", "reference", "fill") for j in ("", "_dilated")} <= figures.keys()  # fmt: skip
    assert {"miou_shuffled", "miou_labels_shuffled", "detector_generated", "detector_reference"} <= figures.keys()
    assert Image.open(found.sheet).size == (7 * (SIZE + 4), 3 * (SIZE + 4))
    assert len(set(found.sheet_keys)) == 3

    judges, before = {path.name for path in (work / "judges").glob("[ud]*")}, builds(work)
    again = measure_fidelity(settings)
    assert again.figures == pytest.approx(figures, nan_ok=True)
    assert builds(work) == before, "nothing was made twice"
    other = measure_fidelity(FidelitySettings(str(work), small("model.adapters={}"), RECORDS, 2, FEW))
    kinds = [path.name.split("-")[0] for path in (work / "judges").glob("*") if path.name not in judges]
    assert kinds == ["detector_generated"], "another model's detector is the only judge that is new"
    assert other.figures["miou_reference"] == figures["miou_reference"]
    assert other.figures["spread_variants"] != figures["spread_variants"]
    assert len(builds(work) - before) == 9, "test set, judges' set and seven words"

    assert len(figure_lines(figures)) == len(figures)


@pytest.mark.slow
def test_tstr_reads_a_build_as_its_users_do(work: Path, jaws: ReferenceSet) -> None:
    figures = measure_synthetic_to_real(SyntheticToRealSettings(str(work), small(), "", RECORDS, FEW))
    for kind in ("synthetic", "reference"):
        seeds = [figures[f"miou_{kind}_seed{seed}"] for seed in (0, 1)]
        assert figures[f"miou_{kind}"] == pytest.approx(np.mean(seeds))
        ious = [figures[f"iou_{name}_{kind}"] for name in ("background", "gingiva", "tooth")]
        assert figures[f"miou_{kind}"] == pytest.approx(np.mean(ious))
        assert seeds[0] != seeds[1]
    assert figures["miou_ratio"] == figures["miou_synthetic"] / figures["miou_reference"]
    learnt = reference_set(str(work), RECORDS, JUDGE_SEED, SIZE)
    out = finished_build(str(work), small(), learnt.source, variants=1)
    given = measure_synthetic_to_real(SyntheticToRealSettings(str(work), small(), out, RECORDS, FEW))
    assert given == figures, "the build that it would make is the build that is given"
    with pytest.raises(SpecError, match="found pictures of 64 x 64, expected 128 x 128"):
        measure_synthetic_to_real(SyntheticToRealSettings(str(work), read_spec(DEMO_SPEC), out, RECORDS, FEW))


@pytest.mark.slow
def test_two_ways_of_conditioning_side_by_side(work: Path, jaws: ReferenceSet) -> None:
    """The bare base under a sum, and the blended adapter; the same bundle twice has no spread."""
    small_ones = [f"conditions.size={SIZE}", "sampling.steps=2"]
    ways = read_ways(
        DEMO_SPEC, small_ones, [["sum", "conditions.combine=sum", "model.adapters={}"], ["blend"]],
        [["blend", "miniature", "miniature"]],
    )  # fmt: skip
    found = compare_adapters(StudySettings(str(work), ways, RECORDS, judges=FEW))
    assert found["reference"]["ghost_edges"] == 1
    assert len(found["blend"]["ghost_edges"]) == 2
    figures = study_figures(found)
    assert figures["blend_light_correlation_spread"] == 0
    assert math.isnan(figures["sum_light_correlation_spread"])
    assert figures["blend_light_correlation_mean"] != figures["sum_light_correlation_mean"]
    assert figures["blend_bundles"] == 2
    assert {f"blend_{name}_{judge}_mean" for name in ("boundary_f1", "bleed_in", "bleed_out", "miou", "tooth_pieces")
            for judge in ("unet", "dilated")} <= figures.keys()  # fmt: skip
    table = study_table(found)
    assert len(table) == 1 + len(found["sum"])
    assert "nan" not in "".join(table), "one bundle has no spread"
    assert f"{figures['blend_ghost_edges_mean']:.4f} +- 0.0000" in table[-1]


@pytest.mark.slow
def test_the_job_prints_and_writes(work: Path, jaws: ReferenceSet) -> None:
    few = ["--judge-records", str(RECORDS), "--unet-steps", "4", "--dilated-steps", "4", "--records", str(RECORDS)]
    command = [sys.executable, "jobs/evaluate.py", "tstr", "--work", str(work), "--json", str(work / "tstr.json"), *few,
               "--set", f"conditions.size={SIZE}", "--set", "sampling.steps=2"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=400
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    figures = json.loads((work / "tstr.json").read_text())["figures"]
    assert f"{'miou_synthetic':34s} {figures['miou_synthetic']:9.4f}" in run.stdout
    run = subprocess.run(
        [*command, "--build", str(work)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        timeout=400,
    )  # fmt: skip
    assert run.returncode == 1
    assert "expected a finished build" in run.stderr
