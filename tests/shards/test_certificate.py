"""What a certificate holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dentgen.shards.certificate import (
    Certificate,
    CertificateSection,
    current_certificate,
    read_certificate,
    rounded,
)
from dentgen.shards.index_reader import index_sha256
from tests.report.fake_builds import fake_build, written


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


def test_a_certificate_counts_for_its_own_version_alone(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    own = Certificate(
        dentgen="2", version=0, index_sha256=index_sha256(str(tmp_path)), samples_sha256="", samples=2, spec_digest="",
        bundle_digest="", sections={},
    )  # fmt: skip
    assert current_certificate(str(tmp_path)) is None
    for content, found in ((own.model_dump_json(), own), ("{}", None), ('{"index_sha256": "x"}', None)):
        (tmp_path / "certificate.json").write_text(content)
        assert current_certificate(str(tmp_path)) == found
    other = own.model_copy(update={"index_sha256": "x"})
    (tmp_path / "certificate.json").write_text(other.model_dump_json())
    assert current_certificate(str(tmp_path)) is None
    assert read_certificate(str(tmp_path)) == other
