"""What a certificate holds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.evaluation.certificate.document import Certificate, CertificateSection, rounded


def test_figures_are_rounded_and_nothing_is_not_a_number() -> None:
    assert rounded(0.123449) == 0.1234
    assert rounded(float("nan")) is None
    assert rounded(float("inf")) is None


def test_unknown_fields_and_sections_are_refused() -> None:
    with pytest.raises(ValidationError):
        CertificateSection.model_validate({"figure": {}})
    values = {"dentgen": "1", "version": 0, "index_sha256": "", "samples_sha256": "", "samples": 1, "spec_digest": "",
              "bundle_digest": "", "sections": {"beauty": {}}}  # fmt: skip
    with pytest.raises(ValidationError):
        Certificate.model_validate(values)
