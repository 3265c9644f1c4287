"""What is carried on of a build that is a source."""

from __future__ import annotations

import pytest

from dentgen.documents.index import SourceBuild
from dentgen.errors import SpecError
from dentgen.pipeline.source_build import check_findings_of
from dentgen.spec.build import BuildSpec

FINDING = {"teeth": [11], "kind": "restoration", "part": "whole"}


def made_from(findings: int) -> SourceBuild:
    return SourceBuild(
        index_sha256="i", spec_digest="s", bundle_digest="b", synthetic=True, digital_source_type="t",
        findings=findings, height=64, width=64,
    )  # fmt: skip


def test_one_list_of_findings_numbers_one_map() -> None:
    asking, plain = BuildSpec.model_validate({"findings": [FINDING]}), BuildSpec()
    for spec, origin in ((asking, None), (asking, made_from(0)), (plain, made_from(3)), (plain, None)):
        check_findings_of(spec, origin)
    with pytest.raises(SpecError) as caught:
        check_findings_of(asking, made_from(3))
    assert (caught.value.key, caught.value.found) == ("findings", "1 findings, and 3 of the source's build")
