"""The commit record: what it adds up, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleStatus


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
    with pytest.raises(ValidationError) as caught:
        record(**changes)
    assert {error["loc"][0] for error in caught.value.errors()} == set(changes)
