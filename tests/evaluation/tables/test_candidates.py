"""Tables of candidates: names are unique, equal trainings are one."""

from __future__ import annotations

import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.tables.candidates import Candidate, DecisionTable, Training

TRAINING = Training("shared", ({"recipe": "adapter"},))


def test_candidates_share_a_training() -> None:
    other = Training("other", ({"recipe": "controlnet"},))
    rows = (Candidate("a", (), other), Candidate("b", (), TRAINING), Candidate("c", ()), Candidate("d", (), TRAINING))
    assert DecisionTable("T9", "?", rows).trainings == (other, TRAINING)


@pytest.mark.parametrize(("names", "found"), [(("a", "b", "a"), "'a' twice"), ((), "no candidate")])
def test_names_are_unique(names: tuple[str, ...], found: str) -> None:
    with pytest.raises(SpecError) as caught:
        DecisionTable("T9", "?", tuple(Candidate(name, ()) for name in names))
    assert (caught.value.key, caught.value.found) == ("candidates of T9", found)


def test_rows_without_training_are_a_table_if_there_are_any() -> None:
    rows = (Candidate("a", ()), Candidate("b", (), TRAINING))
    assert DecisionTable("T9", "?", rows).untrained == DecisionTable("T9", "?", rows[:1])
    with pytest.raises(SpecError) as caught:
        _ = DecisionTable("T9", "?", rows[1:]).untrained
    assert caught.value.found == "no candidate"


def test_rows_are_chosen_by_parts_of_their_names() -> None:
    table = DecisionTable("T9", "?", tuple(Candidate(name, ()) for name in ("lighting, 1", "normal, 1", "lighting, 2")))
    assert [each.name for each in table.only(["light"]).candidates] == ["lighting, 1", "lighting, 2"]
    assert [each.name for each in table.only(["2", "normal"]).candidates] == ["normal, 1", "lighting, 2"]
    assert table.only([]) == table
    with pytest.raises(SpecError) as caught:
        table.only(["depth"])
    assert caught.value.found == "no candidate"
