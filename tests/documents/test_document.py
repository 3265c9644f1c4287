"""All documents: immutable, without unknown fields."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.documents.document import Document


class Length(Document):
    """A document of one field."""

    millimetres: int = 1


def test_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(ValidationError) as caught:
        Length.model_validate({"millimetres": 2, "inches": 1})
    (error,) = caught.value.errors()
    assert (error["loc"], error["type"]) == (("inches",), "extra_forbidden")


def test_documents_are_immutable() -> None:
    with pytest.raises(ValidationError) as caught:
        Length().millimetres = 2
    assert caught.value.errors()[0]["type"] == "frozen_instance"
