"""What a record may say of itself: words that are carried on, and nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.documents.conditions import ConditionMetadata, FrameMetadata, PaintedEntry


def test_attributes_are_words_and_names_stay_behind() -> None:
    """A list of names decides what is carried from a source: nothing else, a patient's name, say."""
    values = {"caries": 2, "braces": True, "view": "frontal", "patient_name": "Jane Roe", "plaque": ["x"]}
    found = ConditionMetadata.model_validate(values)
    assert found.attributes == {"caries": "2", "braces": "yes", "view": "frontal"}
    assert "Jane" not in found.model_dump_json()


def test_lighting_is_also_read_under_its_older_name() -> None:
    assert ConditionMetadata.model_validate({"light": "ring"}).attributes == {"lighting": "ring"}
    assert ConditionMetadata.model_validate({"lighting": "ring"}).lighting == "ring"


def test_null_is_missing() -> None:
    assert ConditionMetadata.model_validate({"prompt": None, "frame": None}) == ConditionMetadata()


@pytest.mark.parametrize("values", [{"series": "", "frame": 0}, {"series": "a", "frame": -1}, {"series": "a"}])
def test_a_frame_has_a_series_and_a_number(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FrameMetadata.model_validate(values)
    assert FrameMetadata.model_validate({"series": 7, "frame": 3}) == FrameMetadata(series="7", frame=3)


def test_a_painted_region_stays_within_its_bounds() -> None:
    with pytest.raises(ValidationError) as caught:
        PaintedEntry(name="crown", prompt="gold", strength=1.1, prompt_strength=-0.1, blur=65)
    assert [error["loc"] for error in caught.value.errors()] == [("strength",), ("prompt_strength",), ("blur",)]
