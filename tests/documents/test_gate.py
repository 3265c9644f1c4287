"""The planned gate: limits without an end, and a share."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.documents.gate import FigureLimit, PlannedGate


def test_a_limit_may_have_one_end() -> None:
    assert FigureLimit.model_validate_json('{"least": 0.5, "most": null}') == FigureLimit(least=0.5)


@pytest.mark.parametrize("lost", [-0.1, 1.1])
def test_what_is_lost_is_a_share(lost: float) -> None:
    with pytest.raises(ValidationError) as caught:
        PlannedGate(judges_sha256="j", reference_sha256="r", reference_records=1, limits={}, lost=lost)
    assert [error["loc"] for error in caught.value.errors()] == [("lost",)]
