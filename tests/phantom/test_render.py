"""Phantoms: deterministic, labelled by construction, told truly by their prompts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dentgen.conditions.labels import FDI_NUMBERS, GINGIVA, RESTORATION, TOOTH
from dentgen.phantom.arch import build_arch
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.prompt import ARCH_OF_VIEW
from dentgen.phantom.render import Phantom, phantom_split, render_patient
from dentgen.phantom.style import sample_shape
from dentgen.quality.metrics import rgb_to_lab
from dentgen.seeding import numpy_generator


@pytest.fixture(scope="module")
def views() -> dict[str, Phantom]:
    return {str(phantom.attributes["view"]): phantom for phantom in render_patient(3, 8, 96)}


def test_five_views_with_all_maps(views: dict[str, Phantom]) -> None:
    assert tuple(views) == VIEWS
    for phantom in views.values():
        assert phantom.picture.shape == (96, 96, 3)
        assert {name: (array.dtype.name, array.ndim) for name, array in phantom.maps.items()} == {
            "seg": ("uint8", 2), "fdi": ("uint8", 2), "light": ("uint8", 2), "normal": ("uint8", 3),
            "curvature": ("uint8", 2), "depth": ("uint16", 2),
        }  # fmt: skip
        assert phantom.group == "s3-p000008"
        assert phantom.split == phantom_split(phantom.group)
        assert "." not in phantom.key


def test_a_view_alone_is_the_same_view(views: dict[str, Phantom]) -> None:
    """Same key, same bytes, whatever else is rendered."""
    (alone,) = render_patient(3, 8, 96, ("left",))
    assert (alone.picture == views["left"].picture).all()
    for name, array in alone.maps.items():
        assert (array == views["left"].maps[name]).all(), name


def test_maps_agree_with_each_other(views: dict[str, Phantom]) -> None:
    for phantom in views.values():
        seg, fdi = phantom.maps["seg"], phantom.maps["fdi"]
        assert (np.isin(seg, [TOOTH, RESTORATION]) == (fdi > 0)).all()
        assert set(np.unique(fdi).tolist()) - {0} <= FDI_NUMBERS
        solid = seg > 0
        for name in ("light", "depth"):
            assert not phantom.maps[name][~solid].any(), name
        assert (phantom.maps["depth"][solid] >= 5535).all()
        normal = phantom.maps["normal"][solid].astype(float) / 127.5 - 1
        assert np.abs(np.linalg.norm(normal, axis=1) - 1).max() < 0.03
        assert (normal[:, 2] > -0.02).mean() > 0.99, "what is seen faces the viewer"


def test_patient_right_is_image_left(views: dict[str, Phantom]) -> None:
    columns = np.arange(96)[None]
    for view, left, right in (("frontal", 1, 2), ("upper-occlusal", 1, 2), ("lower-occlusal", 4, 3)):
        quadrant = views[view].maps["fdi"] // 10
        mean = {q: (columns * (quadrant == q)).sum() / (quadrant == q).sum() for q in (left, right)}
        assert mean[left] < 48 < mean[right], view


def test_occlusal_views_show_one_arch(views: dict[str, Phantom]) -> None:
    for view, quadrants in (("upper-occlusal", {1, 2}), ("lower-occlusal", {3, 4})):
        found = set(np.unique(views[view].maps["fdi"] // 10).tolist()) - {0}
        assert found == quadrants
        assert ARCH_OF_VIEW[views[view].attributes["view"]] in views[view].prompt  # type: ignore[index]


def test_prompts_tell_the_truth() -> None:
    """Yellow teeth are yellower than white ones, pale gums lighter than dark ones, in the pictures."""
    yellowness: dict[str, list[float]] = {}
    lightness: dict[str, list[float]] = {}
    for number in range(14):
        for phantom in render_patient(21, number, 48, ("frontal",)):
            lab = rgb_to_lab(phantom.picture)
            tooth, gum = lab[phantom.maps["seg"] == TOOTH], lab[phantom.maps["seg"] == GINGIVA]
            yellowness.setdefault(str(phantom.attributes["shade"]), []).append(tooth[:, 2].mean())
            lightness.setdefault(str(phantom.attributes["gum"]), []).append(gum[:, 0].mean())
            assert f"{phantom.attributes['shade']} teeth" in phantom.prompt
            assert f"{phantom.attributes['gum']} gums" in phantom.prompt
    assert np.mean(yellowness["yellow"]) > np.mean(yellowness["white"]) + 2


def test_neighbouring_teeth_close_their_contacts() -> None:
    """The arch is as long as its teeth: bisected to within a tenth of a millimetre."""
    shape = sample_shape(numpy_generator("test", 1))
    arch = build_arch("upper", shape, None, numpy_generator("test", 2))
    edges = [(slot.s - slot.width_mm / 2, slot.s + slot.width_mm / 2) for slot in arch.slots]
    for (_, right), (left, _) in pairwise(edges):
        assert abs(right - left) < 0.1


def test_splits_follow_patients_and_shares() -> None:
    splits = [phantom_split(f"s0-p{n:06d}") for n in range(2000)]
    assert 0.76 < splits.count("train") / 2000 < 0.84
    assert splits.count("test") > 120
