"""Props stand between camera and teeth, and their handles leave the picture."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.camera import Camera, sample_camera
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.surroundings.mix import PROPS, Prop
from dentgen.phantom.surroundings.props import build_prop
from dentgen.seeding import numpy_generator


def in_picture(camera: Camera, vertices: np.ndarray) -> np.ndarray:
    """Picture coordinates (n, 2), -1..1 within the frame."""
    local = (vertices - camera.eye) @ camera.axes.T
    half = camera.width_mm / 2 / camera.distance_mm
    return local[:, :2] / -local[:, 2:] / half


@pytest.mark.parametrize("prop", PROPS)
def test_it_is_in_sight_and_before_the_target(prop: Prop) -> None:
    for number in range(12):
        camera = sample_camera("frontal", 40.0, numpy_generator("props", number))
        parts = build_prop(prop, camera, numpy_generator(prop, number))
        vertices = np.concatenate([part.vertices for part in parts])
        places = in_picture(camera, vertices)
        assert (np.abs(places) < 1).all(1).any(), "nothing of it is in the picture"
        if prop != "cotton":
            assert (np.abs(places) > 1).any(), "it ends within the picture"
        nearest = (vertices - camera.eye) @ -camera.axes[2]
        assert nearest.min() > 0
        assert nearest.min() < camera.distance_mm


def test_fingers_are_skin_and_everything_else_is_an_instrument() -> None:
    camera = sample_camera("left", 40.0, numpy_generator("kind"))
    tissues = {prop: {part.tissue for part in build_prop(prop, camera, numpy_generator(prop))} for prop in PROPS}
    assert tissues.pop("finger") == {Tissue.FINGER}
    assert set().union(*tissues.values()) == {Tissue.INSTRUMENT}
