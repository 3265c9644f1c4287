"""Skin, gloves, instruments and dam get their own colours; the mouth keeps its own."""

from __future__ import annotations

import numpy as np

from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.surroundings.mix import Mix
from dentgen.phantom.surroundings.outside import sample_outside
from dentgen.phantom.surroundings.varied_session import VariedSession
from dentgen.phantom.tissue import coat
from dentgen.seeding import numpy_generator


def test_colours_are_light_that_surfaces_can_reflect() -> None:
    for number in range(200):
        outside = sample_outside(numpy_generator("outside", number))
        colours = [
            getattr(outside, name) for name in ("skin", "red", "finger", "holder", "plastic", "dam", "ground", "cloth")
        ]
        assert all(colour.shape == (3,) for colour in colours)
        assert np.min(colours) >= 0
        assert np.max(colours) < 1.1


def test_only_what_is_outside_is_painted() -> None:
    mix = Mix(framings={"clinical": 1.0}, props={"finger": 1.0, "probe": 1.0}, faults=0.0)
    session = VariedSession(5, "s5-p000000", "permanent", 48, mix)
    shot = session.shoot("frontal")
    painted = shot.sight.centres
    mouth = np.isin(painted.surface.tissue, [Tissue.TOOTH, Tissue.GUM])
    noise = LatticeNoise(numpy_generator(5, "s5-p000000", "texture"))
    alone = coat(painted.surface, session._material, noise)
    assert (alone.albedo[mouth] == painted.coat.albedo[mouth]).all()
    for tissue in (Tissue.FINGER, Tissue.INSTRUMENT):
        here = painted.surface.tissue == tissue
        assert here.any()
        assert (painted.coat.albedo[here] > 0).any()
        assert (alone.albedo[here] == 0).all()
