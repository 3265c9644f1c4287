"""A trial of the gate on phantoms' own pictures: what it loses, what it catches, and what breaking it would change."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from dentgen.documents.gate import FigureLimit
from dentgen.errors import ConditionError
from dentgen.evaluation.gate import try_gate, try_gate_on, write_reference_of
from dentgen.evaluation.planted_faults import FAULTS
from dentgen.models.judge_networks import Segmenter
from dentgen.models.judges import load_judges, reference_figures, write_judge
from dentgen.phantom.shards import PhantomSet, write_phantoms
from dentgen.pipeline.planned_gate import labelled_records
from dentgen.records import FIGURES


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("phantoms"))
    write_phantoms(folder, PhantomSet(30, 9003, 128, 10), 1)
    return folder


@pytest.mark.slow
def test_faults_are_caught_and_clean_pictures_pass(phantoms: str) -> None:
    """Limits that these pictures themselves give: nothing clean is lost, and each fault leaves them."""
    trial = try_gate_on(phantoms, "embedded", phantoms, 0.0, each=20)
    assert (trial.clean, trial.planted) == (30, 120)
    assert trial.figures["lost_clean"] == 0
    assert all(trial.figures[f"caught_{fault}"] >= 0.9 for fault in FAULTS), trial.figures
    assert trial.figures["caught"] == pytest.approx(np.mean([trial.figures[f"caught_{fault}"] for fault in FAULTS]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "figure"),
    [("shifted", "shift"), ("blurred", "sharpness"), ("black", "luminance"), ("duplicated", "distinct"),
     ("swapped", "miou"), ("collapsed", "sharpness")],
)  # fmt: skip
def test_every_fault_is_seen_by_the_figure_that_is_there_for_it(phantoms: str, fault: str, figure: str) -> None:
    trial = try_gate_on(phantoms, "embedded", phantoms, 0.0, each=20)
    assert trial.figures[f"caught_{fault}_{figure}"] >= 0.9


@pytest.mark.slow
def test_without_limits_nothing_is_lost_and_nothing_caught(phantoms: str) -> None:
    trial = try_gate(labelled_records(phantoms, (128, 128)), load_judges("embedded"), {}, count=10, each=3)
    assert (trial.figures["lost_clean"], trial.figures["caught"]) == (0, 0)
    only = {"luminance": FigureLimit(least=2.0)}
    all_lost = try_gate(labelled_records(phantoms, (128, 128)), load_judges("embedded"), only, count=10, each=3)  # type: ignore[arg-type]
    assert (all_lost.figures["lost_clean"], all_lost.figures["caught"]) == (1, 1)


@pytest.mark.slow
def test_a_source_of_one_picture_is_refused(phantoms: str) -> None:
    with pytest.raises(ConditionError) as caught:
        try_gate(islice(labelled_records(phantoms, (128, 128)), 1), load_judges("embedded"), {})
    assert caught.value.found == "1 labelled pictures"


@pytest.mark.slow
def test_figures_become_the_reference_of_own_judges(phantoms: str, tmp_path: Path) -> None:
    write_judge(str(tmp_path), "unet", Segmenter(), 128)
    assert write_reference_of(phantoms, str(tmp_path), str(tmp_path), 12) == 12
    found = reference_figures(str(tmp_path))
    assert set(found) == set(FIGURES)
    assert all(len(values) == 12 for values in found.values())
