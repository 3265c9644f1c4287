"""What a sample of a build says of itself, and what of it is refused."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.images import read_image
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.source_sample import source_sample
from dentgen.errors import ConditionError
from dentgen.records import COMPOSITE_MEDIA, TRAINED_ALGORITHMIC_MEDIA

ASKED = {"label": 2, "kind": "caries", "where": "tooth", "teeth": [11], "prompt": "", "pixels": 3, "found": True}


def raw(**fields: Any) -> RawRecord:
    return RawRecord("k", "x.tar: k", {"json": json.dumps(fields).encode()}, is_sample=True)


def labels(*values: int) -> Any:
    buffer = io.BytesIO()
    Image.fromarray(np.array([values], np.uint8)).save(buffer, "PNG")
    return read_image("x.tar: k.finding.png", buffer.getvalue(), ("PNG",), 100)


def test_facts_are_carried() -> None:
    sample, warnings = source_sample(
        raw(synthetic=True, digital_source_type="t", findings=[ASKED], warnings=["odd"], key="ignored"), labels(0, 2, 2)
    )
    assert (sample.synthetic, sample.digital_source_type, warnings) == (True, "t", ("odd",))
    assert (sample.findings[0].label, sample.findings[0].teeth, sample.findings[0].found) == (2, (11,), True)
    assert sample.finding_labels is not None
    assert sample.finding_labels.tolist() == [[0, 2, 2]]


def test_what_was_not_recorded_counts_as_a_photograph() -> None:
    assert source_sample(raw(), None)[0].digital_source_type == COMPOSITE_MEDIA
    assert not source_sample(raw(), None)[0].synthetic
    assert source_sample(raw(synthetic=True), None)[0].digital_source_type == TRAINED_ALGORITHMIC_MEDIA


def test_labels_must_be_those_of_the_findings() -> None:
    with pytest.raises(ConditionError) as caught:
        source_sample(raw(findings=[ASKED]), labels(0, 1))
    assert caught.value.found == "labels [1]"


def test_other_types_are_refused() -> None:
    with pytest.raises(ConditionError) as caught:
        source_sample(raw(synthetic="maybe"), None)
    assert caught.value.file == "x.tar: k.json"
    assert caught.value.found is not None
    assert caught.value.found.startswith("synthetic: ")
