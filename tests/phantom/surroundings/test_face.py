"""Lips lie before the teeth, and the teeth are seen between them."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.mesh import Tissue, join_parts
from dentgen.phantom.surroundings.face import build_face, sample_smile
from dentgen.phantom.surroundings.sides import CLOTH
from dentgen.seeding import numpy_generator
from tests.phantom.surroundings.patients import patient


@pytest.mark.parametrize("dentition", ["permanent", "deciduous"])
def test_the_red_of_the_lips_is_before_the_teeth(dentition: Dentition) -> None:
    mouth = patient(0, dentition)
    teeth = np.concatenate([
        slot.vertices for jaw in (mouth.upper, mouth.lower) for slot in jaw.teeth.slots if slot.vertices is not None
    ])  # fmt: skip
    for number in range(8):
        rng = numpy_generator("face", number)
        skin, throat, neck, clothes, ground = build_face(mouth, sample_smile(0.0, rng), rng)
        red = skin.vertices[(skin.attributes["height"] == 0) & (skin.attributes["margin_mm"] < 0)]
        for point in red[::7]:
            beside = teeth[np.abs(teeth[:, 0] - point[0]) < 1.0]
            if len(beside):
                assert point[2] > beside[:, 2].max() - 0.3
        assert throat.vertices[:, 2].max() < mouth.front_mm - 20
        assert ground.vertices[:, 2].max() < throat.vertices[:, 2].min() - 20
        assert [part.tissue for part in (skin, throat, ground)] == [Tissue.SKIN, Tissue.THROAT, Tissue.GROUND]
        assert (neck.tissue, clothes.tissue) == (Tissue.SKIN, Tissue.GROUND)
        assert (clothes.attributes["height"] == CLOTH).all()
        assert neck.vertices[:, 2].max() < skin.vertices[:, 2].max() - 30, "the chin is before the neck"
        assert clothes.vertices[:, 1].max() < skin.vertices[skin.attributes["margin_mm"] < 0, 1].min() - 20


def test_skin_looks_forward_and_a_lowered_jaw_opens_the_lips() -> None:
    closed = [sample_smile(0.0, numpy_generator("smile", number)) for number in range(30)]
    opened = [sample_smile(12.0, numpy_generator("smile", number)) for number in range(30)]
    for before, after in zip(closed, opened, strict=True):
        assert after.lower_mm == pytest.approx(before.lower_mm - 0.95 * 12.0)
        assert after.upper_mm == before.upper_mm
    rng = numpy_generator("forward")
    mesh = join_parts([build_face(patient(), sample_smile(0.0, rng), rng)[0]])
    skin = mesh.attributes["margin_mm"] > 3
    assert (mesh.normals[skin, 2] > 0).mean() > 0.97


def test_the_throat_is_nowhere_beside_the_head() -> None:
    """Seen from straight ahead, the walls of the mouth end within the outline of the face."""
    for dentition in ("permanent", "deciduous"):
        mouth = patient(0, dentition)
        rng = numpy_generator("outline", dentition)
        skin, throat, *_ = build_face(mouth, sample_smile(0.0, rng), rng)
        outline = skin.vertices[-144:, :2]
        angles, radii = np.arctan2(outline[:, 1], outline[:, 0]), np.linalg.norm(outline, axis=1)
        order = np.argsort(angles)
        for point in throat.vertices[:, :2]:
            at = np.interp(np.arctan2(point[1], point[0]), angles[order], radii[order], period=2 * np.pi)
            assert np.linalg.norm(point) < at
