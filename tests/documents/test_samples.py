"""Samples in ledger and metadata: what is not asked for leaves no bytes."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from dentgen.documents.samples import SampleStatus


def status(**changes: object) -> SampleStatus:
    values = {"key": "k-v000", "source_key": "k", "variant": 0, "status": "written"}
    return SampleStatus.model_validate({**values, **changes})


def test_without_a_gate_nothing_of_it_is_written() -> None:
    assert not {"gate", "retries"} & set(json.loads(status().model_dump_json()))
    judged = status(retries=1)
    assert json.loads(judged.model_dump_json())["retries"] == 1
    assert SampleStatus.model_validate_json(judged.model_dump_json()) == judged


@pytest.mark.parametrize("changes", [{"status": "lost"}, {"teeth": [256]}, {"retries": 9}, {"light_level": -1}])
def test_wrong_values_are_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        status(**changes)
    assert {error["loc"][0] for error in caught.value.errors()} == set(changes)
