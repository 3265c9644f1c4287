"""A table as JSON and text, from a study made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

from dentgen.evaluation.tables.document import seeds_of, table_document, table_lines
from dentgen.evaluation.tables.figures import goals
from tests.evaluation.tables.handmade import HOSTILE, JUDGES, handmade_study


def test_the_document_is_strict_json_with_all_that_a_row_has() -> None:
    document = json.loads(json.dumps(table_document(handmade_study(), "dentgen compare T9"), allow_nan=False))
    assert (document["command"], document["records"], document["seeds"]) == ("dentgen compare T9", 9, 2)
    assert document["best"] == {"miou": "plain"}
    plain, hostile = document["rows"]
    assert plain["figures"].keys() == set(goals(JUDGES))
    assert plain["figures"]["miou"] == {"mean": 0.9, "spread": 0.0, "values": [0.9, 0.9]}
    assert hostile["figures"]["diversity"] == {"mean": None, "spread": None, "values": [None]}
    assert (plain["seeds_of"], hostile["seeds_of"]) == ("noise", "training and noise")
    assert (plain["training"], hostile["training"]) == (None, [{"recipe": HOSTILE}])
    assert plain["cost"] == {
        "steps": 4, "unet_evaluations": 8, "gflop": 12.5, "parameters": 1234567, "seconds_over_first": 1.0,
        "trained_parameters": None, "trained_bytes": None, "training_steps": None,
    }  # fmt: skip
    assert (hostile["cost"]["trained_parameters"], hostile["cost"]["training_steps"]) == (1000, 30)


def test_a_row_with_a_part_for_every_seed_has_a_spread_of_trainings() -> None:
    row = handmade_study().rows[0]
    own = replace(row, candidate=replace(row.candidate, changes=("model.loras={own-{seed}: 1.0}",)))
    assert (seeds_of(row), seeds_of(own)) == ("noise", "training and noise")


def test_a_star_marks_the_leader_alone() -> None:
    header, plain, hostile, reference = table_lines(handmade_study())
    assert "0.900 ± 0.000 *" in plain
    assert "*" not in hostile + reference
    assert header.split()[:2] == ["miou", "boundary_f1"]
    assert "0.950" in reference


def test_without_the_unet_the_columns_are_those_of_the_judge_that_there_is() -> None:
    header, plain, *_ = table_lines(handmade_study({"dilated": None}))
    assert header.split() == [
        "miou_dilated", "boundary_f1_dilated", "bleed_in_dilated", "bleed_out_dilated", "light_correlation", "detail",
        "kernel_distance_dilated",
    ]  # fmt: skip
    assert plain.split()[:5] == ["plain", "0.900", "±", "0.000", "*"]
    both = table_lines(handmade_study())[0].split()
    assert (both[0], both[-1], len(both)) == ("miou", "kernel_distance", 7)
