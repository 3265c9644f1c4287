"""Every tissue is coated in its own colour; redness follows the gum margin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dentgen.conditions.lesion_map import INFLAMED_GUM
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface
from dentgen.phantom.tissue import Coat, coat, inflammation, reddened
from dentgen.quality.metrics import linear_to_lab
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import material, traced

ALL = [Tissue.GUM, Tissue.TOOTH, Tissue.PALATE, Tissue.TONGUE, Tissue.LIP, Tissue.MUCOSA, Tissue.APPLIANCE]


def coated(surface: Surface) -> Coat:
    return coat(surface, material(), LatticeNoise(numpy_generator("noise")))


def test_every_tissue_is_coated_and_misses_are_not() -> None:
    result = coated(traced([*ALL, Tissue.NONE], margin_mm=5.0))
    assert (result.albedo[:-1] > 0.01).all()
    assert (result.albedo < 1.2).all()
    assert not result.albedo[-1].any()
    assert (result.roughness > 0.05).all()


def test_a_point_s_coat_does_not_depend_on_the_other_points() -> None:
    together = coated(traced(ALL, margin_mm=5.0))
    for index, tissue in enumerate(ALL):
        alone = coated(traced([tissue], margin_mm=5.0))
        assert alone.albedo[0] == pytest.approx(together.albedo[index])
        assert alone.roughness[0] == pytest.approx(together.roughness[index])


def test_gum_is_redder_than_teeth() -> None:
    gum, tooth = coated(traced([Tissue.GUM, Tissue.TOOTH], height=0.5, margin_mm=5.0)).albedo
    assert gum[0] / gum[1] > 1.3 * tooth[0] / tooth[1]


def test_appliances_are_steel_or_of_the_ligature_s_colour() -> None:
    result = coated(traced([Tissue.APPLIANCE] * 2, height=[0.0, 1.0]))
    assert result.albedo[0] == pytest.approx([0.30, 0.30, 0.31])
    assert result.albedo[1] == pytest.approx(material().ligature)


def test_reddening_takes_green_and_blue_at_the_margin_and_fades_within_millimetres() -> None:
    inflamed = replace(material(), inflammation=1.0)
    near, far = reddened(inflammation(np.array([0.0, 8.0]), inflamed), severe=False)
    assert near == pytest.approx([1 - 0.08, 1 - 0.38, 1 - 0.32])
    assert far == pytest.approx([1, 1, 1], abs=1e-6)


def test_gum_is_labelled_as_inflamed_from_half_the_amount_and_no_other_tissue_is() -> None:
    inflamed = replace(material(), inflammation=1.0)
    surface = traced([Tissue.GUM, Tissue.GUM, Tissue.GUM, Tissue.MUCOSA], margin_mm=[0.0, 1.1, 1.3, 0.0])
    found = coat(surface, inflamed, LatticeNoise(numpy_generator("noise"))).lesion
    amount = inflammation(np.array([1.1, 1.3]), inflamed)
    assert amount[0] >= 0.5 > amount[1]
    assert found.tolist() == [INFLAMED_GUM, INFLAMED_GUM, 0, 0]


def test_redness_reaches_as_far_as_its_distance() -> None:
    """Half the amount at sqrt(ln 2) of the distance, by the Gaussian; .64 mm are added at an amount of 1."""
    distances = np.linspace(0, 6, 601)
    for reach in (0.8, 3.5):
        lesions = replace(material().lesions, redness_mm=reach)
        amount = inflammation(distances, replace(material(), inflammation=1.0, lesions=lesions))
        assert distances[amount >= 0.5].max() == pytest.approx((reach + 0.64) * np.sqrt(np.log(2)), abs=0.011)


def test_gum_that_is_not_inflamed_is_red_along_its_margin_alone() -> None:
    """As far as in a mouth whose inflamed gum is red along the margin: what has no label has no wide red seam."""
    mild = replace(material(), inflammation=0.45)
    wide = replace(mild, lesions=replace(mild.lesions, redness_mm=3.5))
    distances = np.linspace(0, 6, 61)
    assert np.array_equal(inflammation(distances, wide), inflammation(distances, mild))


def test_severe_inflammation_is_plain_to_see_wherever_it_is_labelled() -> None:
    """By 7 steps of a*: the judge of findings counts a pixel as red from 5, and blur and exposure cost some."""
    healthy, touched = replace(material(), inflammation=0.0), replace(material(), inflammation=1.0)
    severe = replace(touched, lesions=replace(touched.lesions, severe=True))
    surface, noise = (
        traced([Tissue.GUM] * 12, margin_mm=np.linspace(0, 1.1, 12)),
        LatticeNoise(numpy_generator("noise")),
    )
    sound, some, much = (coat(surface, gum, noise) for gum in (healthy, touched, severe))
    assert (much.lesion == INFLAMED_GUM).all()
    redness = [linear_to_lab(one.albedo)[:, 1] for one in (sound, some, much)]
    assert (redness[2] - redness[0]).min() >= 7
    assert (redness[1] - redness[0]).min() < 7


def test_patchy_inflammation_spares_some_of_the_margin() -> None:
    inflamed = replace(material(), inflammation=1.0)
    patchy = replace(inflamed, lesions=replace(inflamed.lesions, patchy=True))
    along = [[float(place), 0.0, 0.0] for place in range(200)]
    surface, noise = traced([Tissue.GUM] * 200, margin_mm=0.0, position=along), LatticeNoise(numpy_generator("noise"))
    even, spared = (coat(surface, gum, noise) for gum in (inflamed, patchy))
    assert (even.lesion == INFLAMED_GUM).all()
    assert 0.2 < (spared.lesion == INFLAMED_GUM).mean() < 0.8
    assert (spared.albedo[spared.lesion == INFLAMED_GUM] >= even.albedo[spared.lesion == INFLAMED_GUM]).all()


def test_more_inflamed_gum_is_redder_and_farther_from_the_margin() -> None:
    mild, severe = (replace(material(), inflammation=amount) for amount in (0.3, 1.5))
    distances = np.array([0.0, 1.0, 2.0])
    assert (inflammation(distances, severe) > inflammation(distances, mild)).all()
