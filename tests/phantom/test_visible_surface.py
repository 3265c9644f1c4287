"""Pixels on outlines are the mean of five samples, all others have one."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface
from dentgen.phantom.shading import Painted, paint
from dentgen.phantom.tissue import coat
from dentgen.phantom.visible_surface import Sight, see
from dentgen.seeding import numpy_generator
from tests.phantom.solids import plate, scene
from tests.phantom.surfaces import lit_by, material

SIZE = 20


def brush(surface: Surface) -> Painted:
    """Even grey without reflections."""
    noise = LatticeNoise(numpy_generator("noise"))
    skin = coat(surface, material(), noise)
    skin.albedo[:], skin.sheen[:] = 0.5, 0.0
    return paint(surface, skin, 1.0, noise)


@pytest.fixture(scope="module")
def sight() -> Sight:
    """A tooth of 6 mm in a field of 10 mm: its edges cut through pixels."""
    seen = scene(plate(0, 3.1, Tissue.TOOTH, 11), size=SIZE)
    return see(seen, seen.trace_centres(), brush)


def test_coverage_counts_the_samples_of_every_pixel(sight: Sight) -> None:
    """The plate covers 6.2 of 10 mm; pixels of 0.5 mm on its edge are covered by k of 5 samples."""
    coverage = sight.coverage().reshape(SIZE, SIZE)
    assert set(np.round(coverage * 5, 6).ravel().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    assert (coverage[5:15, 5:15] == 1).all()
    assert (coverage[:3] == 0).all()
    assert coverage.mean() == pytest.approx(0.62**2, abs=0.02)


def test_only_pixels_next_to_an_outline_have_further_samples(sight: Sight) -> None:
    edge = np.isin(np.arange(SIZE * SIZE), sight.edge).reshape(SIZE, SIZE)
    assert not edge[6:14, 6:14].any()
    assert edge.any(1).sum() == edge.any(0).sum() == 14, "a square of 12 pixels and the ring around it"


def test_a_depth_jump_within_one_tooth_is_an_outline() -> None:
    seen = scene(plate(0, 2, Tissue.TOOTH, 11), plate(2, 9, Tissue.TOOTH, 11), size=SIZE)
    assert len(see(seen, seen.trace_centres(), brush).edge) > 0
    flat = scene(plate(0, 9, Tissue.TOOTH, 11), size=SIZE)
    assert len(see(flat, flat.trace_centres(), brush).edge) == 0


def test_radiance_of_a_pixel_is_the_mean_of_its_samples(sight: Sight) -> None:
    """In ambient light on a black surround: albedo times ambient times the coverage."""
    coverage = sight.coverage()
    assert ((coverage > 0) & (coverage < 1)).any()
    assert sight.radiance(lit_by(ambient=0.6)) == pytest.approx(0.5 * 0.6 * np.repeat(coverage, 3, 1), abs=1e-6)
