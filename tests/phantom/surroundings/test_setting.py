"""Settings follow the shares of their mix and never hide a smile behind instruments."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dentgen.phantom.camera import OCCLUSAL_VIEWS, VIEWS
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.surroundings.mix import Mix
from dentgen.phantom.surroundings.setting import Setting, sample_setting
from tests.phantom.surroundings.patients import patient


def settings(mix: Mix, count: int, view: int | None = None, *, bare: bool = False) -> list[Setting]:
    views = [VIEWS[n % 5] if view is None else VIEWS[view] for n in range(count)]
    return [sample_setting(mix, patient(), each, 5, f"set{n}", bare=bare) for n, each in enumerate(views)]


@pytest.mark.integration
def test_framings_follow_their_weights() -> None:
    mix = Mix(framings={"close-up": 3.0, "smile": 1.0}, props={}, dam=0)
    found = Counter(setting.framing for setting in settings(mix, 120, 0))
    assert 70 < found["close-up"] < 110
    assert found["close-up"] + found["smile"] == 120


def test_the_order_of_a_file_decides_nothing() -> None:
    mixes = [
        Mix.model_validate({"framings": dict(framings), "props": dict(props)})
        for framings, props in (
            ((("face", 1.0), ("close-up", 2.0)), (("cotton", 0.5), ("probe", 0.5))),
            ((("close-up", 2.0), ("face", 1.0)), (("probe", 0.5), ("cotton", 0.5))),
        )
    ]
    first, second = ([(each.framing, each.things) for each in settings(mix, 20)] for mix in mixes)
    assert first == second


def test_occlusal_views_have_no_faces() -> None:
    for setting in settings(Mix(framings={"face": 1.0}), 10):
        occlusal = setting.camera.view in OCCLUSAL_VIEWS
        assert setting.framing == ("clinical" if occlusal else "face")
        tissues = {int(part.tissue) for part in setting.parts if part.fdi == 0 and isinstance(part.tissue, Tissue)}
        assert (Tissue.SKIN in tissues) != occlusal
        if not occlusal:
            assert setting.things == ()


def test_an_open_mouth_shows_one_jaw_from_above_its_biting_surfaces() -> None:
    mix = Mix(framings={"close-up": 1.0}, props={}, wide=1.0, lips=0, sides=0)
    jaws = set()
    for setting in settings(mix, 20, 1):
        quadrants = {part.fdi // 10 for part in setting.parts if part.fdi}
        jaws.add(frozenset(quadrants))
        above = setting.camera.axes[2][1]  # y of the direction to the viewer
        assert np.rad2deg(np.arcsin(abs(above))) >= 9
        assert (above > 0) == (quadrants <= {3, 4})
    assert jaws == {frozenset({1, 2}), frozenset({3, 4})}
    both = settings(mix.model_copy(update={"wide": 0.0}), 5, 1)
    assert all({1, 2, 3, 4} <= {part.fdi // 10 for part in setting.parts} for setting in both)


def test_dam_leaves_only_isolated_teeth() -> None:
    found = settings(Mix(framings={"close-up": 1.0}, dam=1.0, props={}), 10)
    for setting in found:
        under = setting.camera.view in OCCLUSAL_VIEWS
        assert setting.things == (("dam",) if under else ())
        if under:
            assert all(part.fdi or part.tissue in (Tissue.DAM, Tissue.INSTRUMENT) for part in setting.parts)
            assert 1 <= sum(part.fdi > 0 for part in setting.parts) <= 6
    clamped = [any(part.tissue is Tissue.INSTRUMENT for part in setting.parts) for setting in found]
    assert {False, True} == set(clamped), "a clamp holds some of them"


def test_some_mirrors_show_their_edge_and_the_mouth_itself() -> None:
    mix = Mix(framings={"clinical": 1.0}, props={}, dam=0, mirrored=1.0, edges=1.0)
    for setting in settings(mix, 10):
        occlusal = setting.camera.view in OCCLUSAL_VIEWS
        numbers = Counter(part.fdi for part in setting.parts if part.fdi)
        assert set(numbers.values()) == ({2} if occlusal else {1})
        rims = [part for part in setting.parts if part.tissue is Tissue.INSTRUMENT]
        assert len(rims) == occlusal
    for changes in ({"edges": 0.0}, {"mirrored": 0.0}, {"framings": {"close-up": 1.0, "quadrant": 1.0}}):
        for setting in settings(mix.model_copy(update=changes), 5):
            assert not any(part.tissue is Tissue.INSTRUMENT for part in setting.parts)


@pytest.mark.parametrize("bare", [False, True])
def test_a_bare_setting_hides_no_tooth(bare: bool) -> None:
    mix = Mix(framings={"close-up": 1.0}, props={"finger": 1.0}, dam=1.0, lips=1.0)
    for setting in settings(mix, 10, bare=bare):
        tissues = {part.tissue for part in setting.parts if isinstance(part.tissue, Tissue)}
        assert (Tissue.FINGER in tissues) != bare
        assert (bool({Tissue.LIP, Tissue.DAM} & tissues)) != bare


def test_sides_are_before_near_cameras_only() -> None:
    def sheets(setting: Setting) -> int:
        kinds = (Tissue.SKIN, Tissue.FINGER, Tissue.GROUND)
        return sum(part.tissue in kinds for part in setting.parts if isinstance(part.tissue, Tissue))

    always = Mix(framings={"close-up": 1.0, "quadrant": 1.0}, props={}, dam=0, sides=1.0)
    far_enough = [each for each in settings(always, 15) if each.camera.distance_mm > 60]
    assert far_enough
    assert all(sheets(setting) for setting in far_enough)
    for changes in ({"sides": 0.0}, {"framings": {"clinical": 1.0}}):
        assert not any(sheets(setting) for setting in settings(always.model_copy(update=changes), 5))
    assert not any(sheets(setting) for setting in settings(always, 5, bare=True))
