"""Judged samples: what is recorded of findings, and which samples are rejected for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dentgen.generation.finding_results import judge_samples, judged_findings
from dentgen.generation.findings import draw_findings
from dentgen.records import GeneratedSample, SampleRequest
from dentgen.spec.findings import FindingSpec
from tests.generation.finding_records import finding, record


def sample(asked: list[FindingSpec], shown: tuple[int, ...], variant: int = 0) -> GeneratedSample:
    """A shaded picture of the record that shows the findings of these labels in dark blue."""
    drawn = draw_findings(record(), asked, 0, variant, "a photo")
    light = drawn.record.conditions["lighting"][..., None] / 255
    picture = np.array([200, 190, 170]) * light
    picture[np.isin(drawn.labels, shown)] = (40, 50, 90)
    request = SampleRequest(
        f"jaw-{variant}", drawn.record, variant, 1, 0, "a photo", {}, "", drawn.labels, drawn.asked
    )  # fmt: skip
    return GeneratedSample(request, picture.astype(np.uint8))


def test_every_finding_is_judged_on_its_own_pixels() -> None:
    asked = [finding(teeth=[11], share=0.3), finding(kind="caries", teeth=[21], share=0.3)]
    first, second = judged_findings(sample(asked, shown=(2,)))
    assert (first.found, second.found) == (False, True)
    assert (first.inside, second.inside) == (0.0, 1.0)
    assert first.outside == second.outside == 0.0, "pixels of other findings are no reference"


def test_missed_findings_are_kept_or_rejected_as_the_spec_says() -> None:
    keep, reject = finding(teeth=[11], share=0.3), finding(kind="caries", teeth=[21], share=0.3, missed="reject")
    asked = [keep, reject]
    samples = [sample(asked, shown, variant) for variant, shown in enumerate([(1, 2), (2,), (1,), ()])]
    kept, rejected = judge_samples(samples, asked)
    assert [one.request.key for one in kept] == ["jaw-0", "jaw-1"]
    assert [one.found for one in kept[1].request.findings] == [False, True]
    assert [one.request.key for one in rejected] == ["jaw-2", "jaw-3"]
    assert all("caries at 21" in one.reason and "restoration" not in one.reason for one in rejected)


def test_without_the_same_tissue_elsewhere_nothing_is_judged() -> None:
    """And what was not found is missed, where the spec insists."""
    asked = [finding(kind="plaque", where="gingiva", part="whole")]
    kept, rejected = judge_samples([sample(asked, ())], asked)
    assert not rejected
    (one,) = kept[0].request.findings
    assert (one.inside, one.outside, one.found) == (None, None, None)
    asked = [finding(kind="plaque", where="gingiva", part="whole", missed="reject")]
    kept, rejected = judge_samples([sample(asked, ())], asked)
    assert not kept
    assert "nothing to compare" in rejected[0].reason


def test_samples_without_findings_stay_as_they_are() -> None:
    plain = sample([], ())
    plain = replace(plain, request=replace(plain.request, finding_labels=None))
    assert judge_samples([plain], []) == ([plain], [])
