"""Blood and froth lie where teeth meet the gum, and blood hides what it covers."""

from __future__ import annotations

import numpy as np

from dentgen.conditions.lesion_map import AMALGAM
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.surroundings.fluids import Fluids, paint_fluids, sample_fluids
from dentgen.phantom.tissue import Coat, coat
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import NO_LESIONS, material, traced

#: Points of a tooth at the gum and at its tip, gum at the margin and far from it, and a finger.
COUNT = 400


def coats(fluids: Fluids) -> tuple[Coat, Coat]:
    """Before and after, of five places with ``COUNT`` points each."""
    tissue = np.repeat([Tissue.TOOTH, Tissue.TOOTH, Tissue.GUM, Tissue.GUM, Tissue.FINGER], COUNT)
    rng = numpy_generator("points")
    surface = traced(
        tissue.tolist(),
        np.where(tissue == Tissue.TOOTH, 16, 0).tolist(),
        position=rng.uniform(-20, 20, (5 * COUNT, 3)),
        height=np.repeat([0.03, 0.95, 0, 0, 0], COUNT),
        margin_mm=np.repeat([0, 0, 0.2, 9, 0], COUNT),
    )
    noise = LatticeNoise(numpy_generator("noise"))
    before, after = (coat(surface, material(NO_LESIONS), noise) for _ in range(2))
    for each in (before, after):
        each.lesion[: 2 * COUNT], each.restored[: 2 * COUNT] = AMALGAM, 1.0
    return before, paint_fluids(after, surface, fluids, noise)


def places(changed: np.ndarray) -> list[float]:
    return [float(changed[COUNT * place : COUNT * (place + 1)].mean()) for place in range(5)]


def test_blood_is_red_at_the_margin_and_hides_fillings_there() -> None:
    before, after = coats(Fluids(1.0, 0.0))
    changed = (before.albedo != after.albedo).any(1)
    neck, tip, margin, far, finger = places(changed)
    assert neck > 0.5
    assert margin > 0.5
    assert (tip, far, finger) == (0, 0, 0)
    hidden = (before.lesion == AMALGAM) & (after.lesion == 0)
    assert 0.2 < hidden[:COUNT].mean() < 1
    assert (after.albedo[hidden, 0] > after.albedo[hidden, 1]).all()
    assert (
        np.median(after.albedo[hidden, 0] / after.albedo[hidden, 1])
        > 1.3 * (before.albedo[hidden, 0] / before.albedo[hidden, 1]).max()
    )
    assert ((after.lesion == AMALGAM) == (after.restored == 1))[: 2 * COUNT].all()


def test_froth_brightens_and_hides_nothing() -> None:
    before, after = coats(Fluids(0.0, 1.0))
    neck, tip, margin, far, finger = places(
        (before.albedo != after.albedo).any(1) | (before.sheen != after.sheen).any(1)
    )
    assert min(neck, margin) > 0.1
    assert (tip, far, finger) == (0, 0, 0)
    assert (after.albedo >= before.albedo).all()
    assert (after.lesion == before.lesion).all()


def test_no_fluids_change_nothing_and_inflamed_gums_bleed_more_often() -> None:
    before, after = coats(Fluids(0.0, 0.0))
    assert (before.albedo == after.albedo).all()
    often, seldom = (
        sum(sample_fluids(bleeding, numpy_generator("fluids", n)).blood > 0 for n in range(500))
        for bleeding in (True, False)
    )
    assert 500 * 0.2 < often < 500 * 0.36
    assert 500 * 0.09 < seldom < 500 * 0.19
