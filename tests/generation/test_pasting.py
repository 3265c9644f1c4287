"""Repainted parts in their photographs: what is repainted, and the photograph's own levels everywhere else."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.errors import ConditionError
from dentgen.generation.findings import draw_findings
from dentgen.generation.pasting import check_repaint, pasted, repaint_mask
from dentgen.pipeline.run import build
from dentgen.records import PaintedRegion, SampleRequest
from dentgen.shards.reader import read_samples
from dentgen.spec.build import BuildSpec
from dentgen.spec.sampling import SamplingSpec
from tests.conftest import problems, small_spec, write_tar
from tests.generation.finding_records import EDGE, finding, record

Members = dict[str, dict[str, bytes]]


def sampling(**values: Any) -> SamplingSpec:
    return SamplingSpec.model_validate({"start_from": "photo", **values})


def request() -> SampleRequest:
    photo = np.random.default_rng(0).integers(0, 256, (EDGE, EDGE, 3), np.uint8)
    return SampleRequest("jaw-0", replace(record(), photo=photo), 0, 1, 0, "", {})


def test_classes_and_teeth_are_repainted() -> None:
    jaw = request()
    seg, fdi = jaw.record.conditions["segmentation"], jaw.record.fdi
    assert fdi is not None
    assert (repaint_mask(jaw, sampling(repaint=["gingiva"])) == (seg == GINGIVA)).all()
    assert (repaint_mask(jaw, sampling(repaint=[11])) == (fdi == 11)).all()
    both = repaint_mask(jaw, sampling(repaint=["gingiva", 21]))
    assert (both == ((seg == GINGIVA) | (fdi == 21))).all()


def painted_request() -> SampleRequest:
    """Two painted regions, one of them soft."""
    jaw = request()
    masks = [np.zeros((EDGE, EDGE), np.float32) for _ in range(2)]
    masks[0][:8, :8], masks[1][4:12, 4:12] = 1, 0.25
    regions = tuple(PaintedRegion(f"region {n}", "gold crown", mask) for n, mask in enumerate(masks))
    return replace(jaw, record=replace(jaw.record, painted=regions))


def test_painted_regions_are_repainted_if_they_are_named() -> None:
    jaw = painted_request()
    expected = np.zeros((EDGE, EDGE), bool)
    expected[:8, :8] = expected[4:12, 4:12] = True
    assert (repaint_mask(jaw, sampling(repaint=["painted"])) == expected).all()
    assert (repaint_mask(jaw, sampling(repaint=["painted", 11])) == (expected | (jaw.record.fdi == 11))).all()
    assert not repaint_mask(jaw, sampling(repaint=[48])).any()


def test_painted_regions_are_rows_that_a_spec_makes_room_for() -> None:
    values: dict[str, Any] = {"sampling": {"start_from": "photo", "repaint": ["painted"]}}
    with pytest.raises(ValidationError):
        BuildSpec.model_validate(values)
    assert BuildSpec.model_validate({**values, "regions": {"painted": 1}}).sampling.repaint_classes == ()


def test_findings_are_repainted_too() -> None:
    """A crown is no tooth any more, and has to be painted all the same."""
    jaw = request()
    drawn = draw_findings(jaw.record, [finding(teeth=[11], part="whole")], 0, 0, "")
    crowned = replace(jaw, record=drawn.record, finding_labels=drawn.labels, findings=drawn.asked)
    assert (repaint_mask(crowned, sampling(repaint=["tooth"])) == repaint_mask(jaw, sampling(repaint=["tooth"]))).all()


@pytest.mark.parametrize("border", [0, 5])
def test_beyond_the_border_the_photo_keeps_its_levels(border: int) -> None:
    jaw, picture = request(), np.full((EDGE, EDGE, 3), 128, np.uint8)
    spec = sampling(repaint=[11], paste_border=border)
    found = pasted(picture, jaw, spec)
    painted = repaint_mask(jaw, spec)
    distance = distance_transform_edt(~painted)
    photo = jaw.record.photo
    assert photo is not None
    assert (found[painted] == 128).all()
    assert (found[distance > border] == photo[distance > border]).all()
    if border:
        between = (distance > 0) & (distance <= border)
        share = 1 - distance[between][:, None] / (border + 1)
        expected = share * 128 + (1 - share) * photo[between]
        assert np.abs(found[between] - expected).max() <= 0.5
    assert pasted(picture, jaw, sampling(repaint=[11])) is picture


def test_a_photo_without_the_part_stays_as_it_is() -> None:
    jaw = request()
    assert jaw.record.photo is not None
    found = pasted(np.zeros((EDGE, EDGE, 3), np.uint8), jaw, sampling(repaint=[48], paste_border=3))
    assert (found == jaw.record.photo).all()


def test_records_need_the_maps() -> None:
    jaw = record()
    with pytest.raises(ConditionError) as caught:
        check_repaint(replace(jaw, fdi=None), sampling(repaint=[11]))
    assert caught.value.file == "fdi"
    with pytest.raises(ConditionError) as caught:
        check_repaint(replace(jaw, conditions={}), sampling(repaint=["tooth", 11]))
    assert caught.value.file == "seg"
    check_repaint(replace(jaw, conditions={}), sampling(repaint=[11]))
    with pytest.raises(ConditionError) as caught:
        check_repaint(jaw, sampling(repaint=["painted"]))
    assert caught.value.file == "painted"
    check_repaint(replace(painted_request().record, conditions={}), sampling(repaint=["painted"]))


@pytest.mark.parametrize("wrong", [{"repaint": [10]}, {"repaint": ["tonsils"]}, {"paste_border": 4}])
def test_what_cannot_be_repainted_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        sampling(**wrong)


def test_digests_without_pasting_are_what_they_were() -> None:
    plain: dict[str, Any] = {"sampling": {"start_from": "photo", "repaint": ["tooth"]}}
    assert "paste_border" not in BuildSpec.model_validate(plain).deciding()["sampling"]


def levels(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.integration
def test_a_build_edits_photographs_and_leaves_the_rest(tmp_path: Path, demo_members: Members) -> None:
    """A crown on some teeth of each photo: beyond six pixels of the teeth, every level is the photo's."""
    source = dict(sorted(demo_members.items())[:2])
    write_tar(tmp_path / "s" / "a.tar", source)
    spec = small_spec(
        tmp_path / "s", tmp_path / "out", conditions={"size": 128},
        sampling={"variants": 1, "steps": 2, "start_from": "photo", "repaint": [11, 21, 36, 46], "paste_border": 6},
        findings=[{"teeth": [16, 26], "kind": "restoration", "part": "whole", "prompt": "gold crown"}],
    )  # fmt: skip
    build(spec, use_ray=False)
    assert problems(tmp_path / "out") == []
    for key, members in read_samples(str(tmp_path / "out")):
        picture, photo = levels(members["png"]), levels(source[key.removesuffix("-v000")]["photo.png"])
        painted = np.isin(levels(members["fdi.png"]), (11, 21, 36, 46)) | (levels(members["finding.png"]) > 0)
        distance = distance_transform_edt(~painted)
        assert painted.any()
        assert (picture[distance > 6] == photo[distance > 6]).all()
        assert (picture[painted] != photo[painted]).mean() > 0.5
        assert (levels(members["seg.png"])[distance > 6] != TOOTH).any()
