"""Whole tables on four records: trained candidates differ, figures are recomputed from what a first run left."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import BundleError, SpecError
from dentgen.evaluation.tables.candidates import Candidate, DecisionTable
from dentgen.evaluation.tables.definitions import control_methods, tooth_weights
from dentgen.evaluation.tables.document import table_document
from dentgen.evaluation.tables.study import TableSettings, candidate_spec, run_table, table_spec
from dentgen.models.bundle import find_bundle
from dentgen.shards.plan_file import read_plan
from tests.conftest import JAWS
from tests.evaluation.small_evaluation import DEMO_SPEC

TWO_STEPS = ("sampling.steps=2", "engine.slots=4")


def settings(work: Path, *overrides: str) -> TableSettings:
    """Two seeds, two training steps, four records."""
    return TableSettings(str(work), DEMO_SPEC, (*TWO_STEPS, *overrides), 4, 2, 2, str(JAWS))


def test_seeds_and_size_are_those_of_the_table(tmp_path: Path) -> None:
    small = settings(tmp_path, "conditions.size=64", "sampling.seed=7")
    base, row = table_spec(small), Candidate("more", ("sampling.steps=3",))
    spec = candidate_spec(small, base, row, 2, "elsewhere")
    assert (spec.sampling.steps, spec.sampling.seed, spec.conditions.size) == (3, 9, 64)
    assert (spec.model.bundle, candidate_spec(small, base, row, 0).model.bundle) == ("elsewhere", "miniature")


def test_a_wrong_change_fails_before_the_work(tmp_path: Path) -> None:
    table = DecisionTable("T9", "?", (Candidate("right", ()), Candidate("wrong", ("sampling.stpes=2",))))
    with pytest.raises(SpecError) as caught:
        run_table(table, settings(tmp_path / "work"))
    assert "sampling.stpes" in caught.value.key
    assert not (tmp_path / "work").exists()


def test_every_seed_may_have_a_training_of_its_own(tmp_path: Path) -> None:
    small = settings(tmp_path)
    base, row = table_spec(small), Candidate("own", ("model.loras={own-{seed}: 1.0}", "model.bundle=work/{seed}"))
    specs = [candidate_spec(small, base, row, seed) for seed in range(2)]
    assert [(spec.model.loras, spec.model.bundle) for spec in specs] == [
        ({"own-0": 1.0}, "work/0"),
        ({"own-1": 1.0}, "work/1"),
    ]


@pytest.mark.parametrize("kind", ["loras", "adapters", "controlnets", "embeddings"])
def test_a_part_that_the_last_seed_lacks_fails_before_the_work(tmp_path: Path, kind: str) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(find_bundle("miniature"), bundle)
    first = bundle / kind / ("own-0.safetensors" if kind == "embeddings" else "own-0")
    first.parent.mkdir(exist_ok=True)
    copied = {"loras": "loras/lcm", "adapters": "adapters/blended"}.get(kind, "unet")
    first.touch() if kind == "embeddings" else shutil.copytree(bundle / copied, first)
    named = "[own-{seed}]" if kind == "embeddings" else "{own-{seed}: 1.0}"
    row = Candidate("own", (f"model.bundle={bundle}", f"model.{kind}={named}"))
    with pytest.raises(BundleError) as caught:
        run_table(DecisionTable("T9", "?", (row,)), settings(tmp_path / "work"))
    assert (caught.value.file, caught.value.found) == (str(bundle / kind), "no 'own-1'")
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_tables_share_trainings_and_a_second_run_gives_the_same_figures(tmp_path: Path) -> None:
    small = settings(tmp_path)
    weights = tooth_weights()
    study = run_table(replace(weights, candidates=weights.candidates[::2]), small)
    assert [row.candidate.name for row in study.rows] == ["tooth weight 1", "tooth weight 5"]
    one, five = study.rows
    assert not np.array_equal(one.pictures, five.pictures)
    assert all(len(figure.values) == 2 for row in study.rows for figure in row.figures.values())
    assert one.figures["miou"].deviation > 0
    assert len(list((tmp_path / "bundles").iterdir())) == 4
    document = table_document(study, "command")
    again = table_document(run_table(study.table, small), "command")
    for row in (*document["rows"], *again["rows"]):
        assert row["cost"].pop("seconds_over_first") > 0
    assert json.dumps(again, allow_nan=False) == json.dumps(document, allow_nan=False)
    methods = control_methods(table_spec(small))
    silent, adapter = run_table(replace(methods, candidates=methods.candidates[::3]), small).rows
    assert len(list((tmp_path / "bundles").iterdir())) == 4, "the adapter of T5 is that of T2"
    assert np.array_equal(adapter.pictures, five.pictures)
    assert silent.figures["boundary_f1"].mean < adapter.figures["boundary_f1"].mean
    assert silent.cost.gflop < adapter.cost.gflop
    seeds = sorted(read_plan(str(out)).spec.sampling.seed for out in (tmp_path / "builds").iterdir())
    assert seeds == [0, 0, 0, 1, 1, 1]
