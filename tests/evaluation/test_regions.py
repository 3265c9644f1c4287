"""The measure of findings: on pictures that show them by construction, and through the real miniature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.errors import SpecError
from dentgen.evaluation import regions
from dentgen.evaluation.regions import measure_regions, response_table
from dentgen.generation.findings import draw_findings
from dentgen.records import GeneratedSample, SampleRequest
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar
from tests.generation.finding_records import finding, record

Members = dict[str, dict[str, bytes]]
CROWN = {"teeth": [11, 21, 16, 26], "kind": "restoration", "part": "whole", "prompt": "gold crown"}


def painted(share: float, variant: int) -> GeneratedSample:
    """A picture that shows this share of a finding's pixels in dark blue."""
    drawn = draw_findings(record(), [finding(teeth=[11], share=0.5)], 0, variant, "")
    picture = np.array([200, 190, 170]) * (drawn.record.conditions["lighting"][..., None] / 255)
    places = np.argwhere(drawn.labels == 1)
    rows, columns = places[: round(share * len(places))].T
    picture[rows, columns] = (40, 50, 90)
    request = SampleRequest("k", drawn.record, variant, 1, 0, "", {}, "", drawn.labels, drawn.asked)
    return GeneratedSample(request, picture.astype(np.uint8))


def test_figures_are_shares_of_pixels() -> None:
    pairs = [
        regions._Pair(painted(share, variant), replace(painted(plain, variant)))
        for variant, (share, plain) in enumerate([(1.0, 0.25), (0.5, 0.0)])
    ]
    response = regions._response(pairs, 1, "restoration")
    assert response is not None
    assert response.samples == 2
    assert response.asked == pytest.approx(0.75, abs=0.01)
    assert response.unasked == pytest.approx(0.125, abs=0.01)
    assert response.elsewhere == 0
    assert response.spread == pytest.approx(0.354, abs=0.01)
    assert response.found == 1
    assert response.figures["1-restoration_asked_over_unasked"] == pytest.approx(6, rel=0.05)
    assert response.figures["1-restoration_asked_over_elsewhere"] == float("inf")
    assert regions._response(pairs, 2, "caries") is None


@pytest.mark.integration
def test_the_measure_runs_on_the_miniature(tmp_path: Path, demo_members: Members) -> None:
    """Every sample with a finding is measured once; the sheet shows maps, both pictures and outlines."""
    write_tar(tmp_path / "s" / "a.tar", dict(sorted(demo_members.items())[:2]))
    spec = small_spec(tmp_path / "s", tmp_path / "out", findings=[CROWN], sampling={"steps": 1, "variants": 2})
    (response,) = measure_regions(spec, sheet=str(tmp_path / "sheet.png"))
    assert response.samples == 4
    assert 0 <= response.asked <= 1
    assert Image.open(tmp_path / "sheet.png").size == (4 * 64, 4 * 64)
    assert len(response_table([response])) == 2


def test_findings_that_no_record_draws_are_an_error(tmp_path: Path, demo_members: Members) -> None:
    write_tar(tmp_path / "s" / "a.tar", dict(sorted(demo_members.items())[:1]))
    spec = small_spec(tmp_path / "s", tmp_path / "out", findings=[{**CROWN, "teeth": [85]}], sampling={"steps": 1})
    with pytest.raises(SpecError) as caught:
        measure_regions(spec, sheet=str(tmp_path / "sheet.png"))
    assert caught.value.found == "none in these records"


def test_without_findings_there_is_nothing_to_measure() -> None:
    with pytest.raises(SpecError) as caught:
        measure_regions(BuildSpec.model_validate({"conditions": {"size": 64}}))
    assert caught.value.key == "findings"
