"""Crowns: restorations, decay and films colour the points that they cover, and no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dentgen.conditions.lesion_map import CERAMIC_INLAY, GOLD_CROWN, GOLD_INLAY, PLAQUE, VENEER, WHITE_SPOT
from dentgen.phantom.enamel import Enamel, paint_crowns
from dentgen.phantom.lesions import Caries, Filling, FillingKind, Lesions, Spot
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.quality.metrics import linear_to_lab
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import NO_LESIONS, material, traced

MIDDLE = Spot(16, "occlusal", 0.0, 0.0, 0.3)


def paint(lesions: Lesions, **values: object) -> Enamel:
    """Three points on biting surfaces: the middle of 16, its rim, the middle of 26."""
    fields = {"mesial": [0.0, 0.7, 0.0], "height": 0.9, "position": [[1.0, 2, 3], [1.4, 2, 3], [40.0, 2, 3]], **values}
    points = traced([Tissue.TOOTH] * 3, [16, 16, 26], **fields)
    return paint_crowns(points, np.arange(3), material(lesions), LatticeNoise(numpy_generator("noise")))


def test_opaque_layers_blend_by_their_share() -> None:
    """Oracle: the alpha blend written out."""
    enamel = paint(NO_LESIONS)
    albedo, roughness = enamel.albedo.copy(), enamel.roughness.copy()
    enamel.cover(np.array([0.0, 0.5, 1.0]), np.array([0.1, 0.2, 0.3]), 0.4)
    assert enamel.albedo[0] == pytest.approx(albedo[0])
    assert enamel.albedo[1] == pytest.approx((albedo[1] + [0.1, 0.2, 0.3]) / 2)
    assert enamel.albedo[2] == pytest.approx([0.1, 0.2, 0.3])
    assert enamel.roughness == pytest.approx([roughness[0], (roughness[1] + 0.4) / 2, 0.4])


def test_sound_clean_teeth_have_no_lesions() -> None:
    enamel = paint(NO_LESIONS)
    for name in ("restored", "decayed", "plaque", "stain"):
        assert not getattr(enamel, name).any(), name


def test_amalgam_covers_its_spot_on_its_tooth_alone() -> None:
    clean, filled = paint(NO_LESIONS), paint(replace(NO_LESIONS, fillings=(Filling(MIDDLE, "amalgam"),)))
    assert filled.restored.tolist() == [1.0, 0.0, 0.0]
    assert filled.albedo[0] == pytest.approx([0.20, 0.20, 0.205])
    assert (filled.albedo[1:] == clean.albedo[1:]).all()


def test_composite_is_hardly_darker_than_the_tooth() -> None:
    clean, filled = paint(NO_LESIONS), paint(replace(NO_LESIONS, fillings=(Filling(MIDDLE, "composite"),)))
    assert filled.restored[0] == 1
    assert filled.albedo[0].mean() > 0.8 * clean.albedo[0].mean()


def test_decay_is_darkest_in_the_middle_and_a_filling_ends_it() -> None:
    caries = (Caries(MIDDLE, 1.0),)
    clean, decayed = paint(NO_LESIONS), paint(replace(NO_LESIONS, caries=caries))
    assert decayed.decayed.tolist() == [1.0, 0.0, 0.0]
    assert decayed.albedo[0].max() < 0.5 * clean.albedo[0].max()
    mended = paint(replace(NO_LESIONS, caries=caries, fillings=(Filling(MIDDLE, "amalgam"),)))
    assert mended.decayed[0] == 0
    assert mended.restored[0] == 1


def test_crowns_cover_the_whole_tooth_and_gold_reflects_in_its_colour() -> None:
    enamel = paint(replace(NO_LESIONS, crowns={16: "gold", 26: "ceramic"}))
    assert enamel.restored.tolist() == [1.0, 1.0, 1.0]
    assert enamel.albedo[0] == pytest.approx([0.72, 0.47, 0.17])
    assert enamel.sheen[0, 0] > enamel.sheen[0, 2] * 3
    assert enamel.sheen[2].tolist() == pytest.approx([enamel.sheen[2, 0]] * 3)
    assert enamel.wrap[0] < enamel.wrap[2]


def test_plaque_is_labelled_where_it_is_seen_and_nothing_else_is() -> None:
    """In the order of depth: what lies on plaque keeps its own label."""
    soiled = replace(NO_LESIONS, plaque=1.0)
    points = {"height": [0.05, 0.05, 0.9]}
    film = paint(soiled, **points)
    assert film.lesion.tolist() == [PLAQUE if cover >= 0.35 else 0 for cover in film.plaque]
    assert PLAQUE in film.lesion
    crowned = paint(replace(soiled, crowns={16: "gold"}), **points)
    assert crowned.lesion.tolist() == [GOLD_CROWN, GOLD_CROWN, 0]
    assert not paint(replace(soiled, plaque=0.3), **points).lesion.any()


def test_severe_plaque_is_plain_to_see_wherever_it_is_labelled() -> None:
    """By 6 steps of b*, from which the judge of findings counts a pixel as yellow; a film is less yellow."""
    film = replace(NO_LESIONS, plaque=1.0)
    for amount, start in ((0.5, 0), (0.8, 7), (1.0, 20)):
        place = {"height": 0.05, "position": [[float(start + n), 2.0, 3.0] for n in range(3)]}
        clean = paint(NO_LESIONS, **place)
        thick = paint(replace(film, plaque=amount, severe=True), **place)
        thin = paint(replace(film, plaque=amount), **place)
        yellower = (linear_to_lab(thick.albedo) - linear_to_lab(clean.albedo))[:, 2]
        assert (thick.lesion == PLAQUE).any()
        assert yellower[thick.lesion == PLAQUE].min() >= 6
        assert (linear_to_lab(thin.albedo) < linear_to_lab(thick.albedo))[thick.lesion == PLAQUE, 2].all()


def test_severe_plaque_is_coherent_and_duller_than_the_tooth_and_stain_stays_a_film() -> None:
    rng = np.random.default_rng(0)
    points = traced(
        [Tissue.TOOTH] * 200, [16] * 200, mesial=0.0, height=0.05, position=rng.uniform(0, 8, (200, 3)).tolist()
    )
    noise = LatticeNoise(numpy_generator("noise"))
    film = replace(NO_LESIONS, plaque=1.0, stain=1.0)
    clean, thin, thick = (
        paint_crowns(points, np.arange(200), material(lesions), noise)
        for lesions in (NO_LESIONS, film, replace(film, severe=True, plaque_reach=0.5))
    )
    assert (thick.plaque < 0.35).mean() < 0.5 * (thin.plaque < 0.35).mean()
    assert thick.plaque.mean() > thin.plaque.mean() + 0.1
    assert np.array_equal(thick.stain, thin.stain)
    plaque = paint_crowns(points, np.arange(200), material(replace(NO_LESIONS, plaque=1.0, severe=True)), noise)
    covered = plaque.lesion == PLAQUE
    assert (linear_to_lab(plaque.albedo) - linear_to_lab(clean.albedo))[covered, 0].max() <= -4


def test_plaque_reaches_as_far_up_the_crown_as_its_share() -> None:
    """Twenty heights over the middle of a crown, whose gum line is at .14 of it; the rim is uneven by .14."""
    heights = np.linspace(0.0, 1.0, 20)
    points = traced([Tissue.TOOTH] * 20, [16] * 20, mesial=0.0, height=heights, position=[[1.0, 2.0, 3.0]] * 20)
    for reach in (0.12, 0.5):
        mouth = material(replace(NO_LESIONS, plaque=1.0, severe=True, plaque_reach=reach))
        found = paint_crowns(points, np.arange(20), mouth, LatticeNoise(numpy_generator("noise"))).lesion == PLAQUE
        assert abs(heights[found].max() - (0.14 + reach)) <= 0.15


def test_patchy_plaque_spares_some_teeth() -> None:
    soiled = replace(NO_LESIONS, plaque=1.0)
    covers = []
    for start in range(0, 240, 12):
        place = {"height": 0.05, "position": [[float(start + n), 2.0, 3.0] for n in range(3)]}
        even, patchy = paint(soiled, **place), paint(replace(soiled, patchy=True), **place)
        assert (patchy.plaque <= even.plaque).all()
        covers += list(patchy.plaque / np.maximum(even.plaque, 1e-6))
    assert 0.2 < np.mean(covers) < 0.8


@pytest.mark.parametrize("film", ["plaque", "stain"])
def test_films_cover_the_cervix_and_not_the_tip(film: str) -> None:
    soiled = replace(NO_LESIONS, plaque=float(film == "plaque"), stain=float(film == "stain"))
    enamel = paint(soiled, height=[0.05, 0.95, 0.95], mesial=0.0)
    clean = paint(NO_LESIONS, height=[0.05, 0.95, 0.95], mesial=0.0)
    assert getattr(enamel, film)[0] > 0.2
    assert getattr(enamel, film)[1:].tolist() == [0.0, 0.0]
    assert enamel.albedo[0].sum() < clean.albedo[0].sum()
    assert (enamel.albedo[1:] == clean.albedo[1:]).all()


@pytest.mark.parametrize(("kind", "value"), [("ceramic inlay", CERAMIC_INLAY), ("gold inlay", GOLD_INLAY)])
def test_inlays_cover_their_spot_in_their_material(kind: FillingKind, value: int) -> None:
    filled = paint(replace(NO_LESIONS, fillings=(Filling(MIDDLE, kind),)))
    assert filled.lesion.tolist() == [value, 0, 0]
    assert filled.restored.tolist() == [1.0, 0.0, 0.0]
    assert (filled.sheen[0].max() > 2) == (kind == "gold inlay")
    assert (filled.albedo[0, 0] > 2 * filled.albedo[0, 2]) == (kind == "gold inlay")


def test_veneers_cover_the_facial_side_of_their_teeth() -> None:
    lesions = replace(NO_LESIONS, veneers=frozenset({16}), caries=(Caries(MIDDLE, 1.0),))
    painted = paint(lesions, outward=[0.5, -0.5, 0.5])
    assert painted.lesion.tolist() == [VENEER, 0, 0]
    assert painted.restored.tolist() == [1.0, 0.0, 0.0]
    assert painted.decayed[0] == 0


def test_an_implant_shows_metal_at_the_gum_alone() -> None:
    lesions = replace(NO_LESIONS, crowns={16: "ceramic"}, implants=frozenset({16}))
    neck, above, other = paint(lesions, height=[0.02, 0.5, 0.02]).albedo
    assert neck == pytest.approx([0.25, 0.25, 0.26])
    assert above.mean() > 2 * neck.mean()
    assert other.mean() > 1.5 * neck.mean()


def test_fluorosis_mottles_all_teeth_and_leaves_their_necks() -> None:
    rng = numpy_generator("mottles")
    points = {"position": rng.uniform(-30, 30, (300, 3)), "mesial": 0.0, "fissure": 0.0}
    surface = traced([Tissue.TOOTH] * 300, [16, 26, 11] * 100, height=np.repeat([0.7, 0.0], 150), **points)
    noise = LatticeNoise(numpy_generator("noise"))
    lesions = replace(NO_LESIONS, fluorosis=1.0)
    painted = paint_crowns(surface, np.arange(300), material(lesions), noise)
    spotted = painted.lesion == WHITE_SPOT
    assert 0.3 < spotted[:150].mean() < 1
    assert not spotted[150:].any()


def test_an_open_cavity_has_many_browns_and_a_plain_one_few() -> None:
    rng = numpy_generator("cavity")
    values = {"position": rng.uniform(-30, 30, (200, 3)), "height": 0.9, "mesial": 0.0}
    surface = traced([Tissue.TOOTH] * 200, [16] * 200, **values)
    noise = LatticeNoise(numpy_generator("noise"))
    middle = replace(MIDDLE, radius=0.9)
    spread = []
    for soft in (0.0, 0.7):
        patient = material(replace(NO_LESIONS, caries=(Caries(middle, 1.0, soft),)))
        spread.append(paint_crowns(surface, np.arange(200), patient, noise).albedo.std(0).mean())
    assert spread[1] > 3 * spread[0]
