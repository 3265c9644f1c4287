"""Documents: what is accepted, what is refused, what is added up."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.documents import ConditionMetadata, LedgerRecord, SampleStatus, Unit, sample_key, unit_name


def status(number: int, status: Any) -> SampleStatus:
    return SampleStatus(key=f"k-v{number:03d}", source_key="k", variant=number, status=status)


def record(**changes: Any) -> LedgerRecord:
    samples = (status(0, "written"), status(1, "rejected"), status(2, "written"))
    values = {"unit": 3, "spec_digest": "s", "bundle_digest": "b", "shard": "000003.tar", "bytes": 9, "sha256": "x",
              "samples": samples}  # fmt: skip
    return LedgerRecord.model_validate({**values, **changes})


def test_written_and_rejected_add_up() -> None:
    found = record()
    assert (found.written, found.rejected, len(found.samples)) == (2, 1, 3)


@pytest.mark.parametrize("changes", [{"bytes": -1}, {"colour": "red"}, {"samples": [{"key": "k"}]}])
def test_unknown_fields_and_wrong_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**changes)


def test_documents_are_immutable() -> None:
    with pytest.raises(ValidationError):
        record().bytes = 1


def test_attributes_are_words_and_names_stay_behind() -> None:
    """A list of names decides what is carried from a source: nothing else, a patient's name, say."""
    values = {"caries": 2, "braces": True, "view": "frontal", "patient_name": "Jane Roe", "plaque": ["x"]}
    found = ConditionMetadata.model_validate(values)
    assert found.attributes == {"caries": "2", "braces": "yes", "view": "frontal"}
    assert "Jane" not in found.model_dump_json()


def test_lighting_is_also_read_under_its_older_name() -> None:
    assert ConditionMetadata.model_validate({"light": "ring"}).attributes == {"lighting": "ring"}
    assert ConditionMetadata.model_validate({"lighting": "ring"}).lighting == "ring"


def test_samples_of_a_unit() -> None:
    unit = Unit(id=7, shard="a.tar", start=0, stop=5, records=3, shard_bytes=1)
    assert (unit.name, unit.samples(4)) == ("000007", 12)
    assert Unit(id=7, shard="a.tar", start=0, stop=5, records=3, shard_bytes=1, repeats=(1, 3, 1)).samples(4) == 20


def test_names() -> None:
    assert (unit_name(12), unit_name(1_234_567)) == ("000012", "1234567")
    assert sample_key("k", 3) == "k-v003"
