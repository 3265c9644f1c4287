"""Rubber dam covers everything but the crowns of the isolated teeth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dentgen.phantom.camera import View
from dentgen.phantom.mesh import Tissue, join_parts
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.surroundings.dam import build_clamp, build_dam, isolated_teeth
from dentgen.phantom.surroundings.framing import framed_camera
from dentgen.seeding import numpy_generator
from tests.phantom.surroundings.patients import patient


@pytest.mark.parametrize("view", ["upper-occlusal", "lower-occlusal"])
def test_crowns_stand_out_of_the_sheet(view: View) -> None:
    arch = patient().occlusal_jaw(view).teeth
    for number in range(6):
        rng = numpy_generator("dam", number)
        camera = framed_camera("close-up", view, patient(), 0.0, rng)
        teeth = isolated_teeth(arch, camera, rng)
        assert 1 <= len(teeth) <= 6
        sheet = join_parts([build_dam(arch, teeth, rng)])
        assert set(sheet.tissue.tolist()) == {Tissue.DAM}
        up = -arch.rootwards
        assert (sheet.normals @ up > 0).mean() > 0.99
        rays = RayMesh(sheet.vertices, sheet.faces)
        for slot in teeth:
            assert slot.vertices is not None
            above = slot.vertices.mean(0) * [1, 0, 1] + 60 * up
            distance = rays.distance(above[None], -up[None], 200.0)[0]
            level = (above - distance * up) @ up
            tip = (slot.vertices @ up).max()
            assert 0.35 * slot.size.height < tip - level < 1.05 * slot.size.height


@pytest.mark.parametrize("view", ["upper-occlusal", "lower-occlusal"])
def test_a_clamp_grips_the_last_tooth_from_both_sides_and_never_a_front_tooth(view: View) -> None:
    arch = patient().occlusal_jaw(view).teeth
    standing = [slot for slot in arch.slots if slot.vertices is not None]
    for number, slot in enumerate(standing):
        parts = build_clamp(arch, [slot], numpy_generator("clamp", number))
        assert bool(parts) == (slot.form >= 4)
        if parts:
            assert slot.vertices is not None
            steel, crown = np.concatenate([part.vertices for part in parts]), slot.vertices
            _, _, normal = (line[0] for line in arch.curve.frame(np.array([slot.s])))
            sides = (steel - crown.mean(0)) @ normal
            assert sides.max() > 0.35 * slot.size.buccolingual
            assert sides.min() < -0.35 * slot.size.buccolingual
            assert cKDTree(crown).query(steel)[0].min() < 1.2, "it touches the crown"
            assert abs(parts[-1].vertices[:, [0, 2]].mean(0) - crown[:, [0, 2]].mean(0)).max() < 9
    both = build_clamp(arch, standing[:2], numpy_generator("clamp"))
    alone = build_clamp(arch, standing[:1], numpy_generator("clamp"))
    assert np.allclose(both[0].vertices, alone[0].vertices), "of several, the last one"


def test_isolated_teeth_are_neighbours() -> None:
    arch = patient().upper.teeth
    standing = [slot.fdi for slot in arch.slots if slot.vertices is not None]
    for number in range(10):
        rng = numpy_generator("isolated", number)
        camera = framed_camera("close-up", "upper-occlusal", patient(), 0.0, rng)
        found = [slot.fdi for slot in isolated_teeth(arch, camera, rng)]
        first = standing.index(found[0])
        assert standing[first : first + len(found)] == found
