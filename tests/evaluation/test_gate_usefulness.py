"""Learning on accepted, rejected and mixed pictures: equally many of each, and the same every time."""

from __future__ import annotations

import shutil

import pytest

from dentgen.errors import ConditionError
from dentgen.evaluation.gate import write_reference_of
from dentgen.evaluation.gate_usefulness import GateUsefulnessSettings, measure_gate_usefulness
from dentgen.models.judges import judges_folder
from dentgen.phantom.shards import PhantomSet, write_phantoms


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("phantoms"))
    write_phantoms(folder, PhantomSet(20, 9004, 128, 10), 1)
    return folder


@pytest.fixture(scope="module")
def judges(phantoms: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded judges, with the pictures themselves as reference."""
    folder = tmp_path_factory.mktemp("own") / "judges"
    shutil.copytree(judges_folder("embedded"), folder)
    write_reference_of(phantoms, str(folder), str(folder))
    return str(folder)


@pytest.mark.slow
def test_equally_many_pictures_of_each_kind(phantoms: str, judges: str) -> None:
    settings = GateUsefulnessSettings(phantoms, phantoms, judges, lose=0.5, steps=2, seeds=(0, 1), shares=(1.0, 0.25))
    first, second = measure_gate_usefulness(settings), measure_gate_usefulness(settings)
    assert first == second
    share = first["rejected_share"]
    assert first["pictures"] == round(20 * min(share, 1 - share)) > 0
    for kind in ("accepted", "rejected", "all"):
        assert 0 <= first[f"miou_{kind}"] <= 1
        assert first[f"miou_{kind}_spread"] >= 0
    assert 0 <= first["curve_025"] <= 1
    assert first["curve_100"] != first["curve_025"]


@pytest.mark.integration
def test_a_gate_that_rejects_nothing_cannot_be_compared(phantoms: str, judges: str) -> None:
    with pytest.raises(ConditionError) as caught:
        measure_gate_usefulness(GateUsefulnessSettings(phantoms, phantoms, judges, lose=0.0, steps=1, seeds=(0,)))
    assert caught.value.found == "20 of 20 pictures accepted"
