"""Lamps: the lighting map follows them where there is a surface, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dentgen.errors import SpecError
from dentgen.phantom.render import render_patient
from dentgen.relight.shading import ClayLighting, DirectionalLight, shade
from dentgen.studio.relighting import Lamp, Light, relight
from tests.studio.documents import small_record, small_work


def test_a_lamp_lights_what_faces_it() -> None:
    """Oracle: Lambert's law on planes that face left and right."""
    normal = np.zeros((32, 48, 3), np.uint8)
    for columns, x in ((slice(0, 24), -0.6), (slice(24, 48), 0.6)):
        normal[:24, columns] = np.round(127.5 * np.array([x, 0, 0.8]) + 127.5)
    lighting = np.full((32, 48), 77, np.uint8)
    work = small_work(conditions={**small_record().conditions, "normal": normal, "lighting": lighting})
    relight(work, "g", Light(lamps=(Lamp(x=-0.6),), ambient=0.0, direct=1.0, gloss=0.0))
    light = work.planes["lighting"].astype(float)
    assert light[5, 5] == pytest.approx(255, abs=2)
    assert light[5, 40] == pytest.approx(255 * (0.64 - 0.36), abs=3)
    assert (light[24:] == 77).all(), "no surface, no change"


def test_it_is_the_relighting_of_condition_shards() -> None:
    (phantom,) = render_patient(3, 0, 64, ("frontal",))
    maps = {"segmentation": phantom.maps["seg"], "lighting": phantom.maps["light"], "normal": phantom.maps["normal"]}
    work = small_work(conditions={**maps, "depth": phantom.maps["depth"]}, fdi=phantom.maps["fdi"])
    relight(work, "g", Light(lamps=(Lamp(x=0.5, y=0.2, strength=0.8),)))
    z = float(np.sqrt(1 - 0.29)) + 1e-3
    expected = shade(maps["normal"], phantom.maps["depth"], ClayLighting((DirectionalLight((0.5, 0.2, z), 0.8),)))
    here = expected > 0
    assert np.array_equal(work.planes["lighting"][here], expected[here])


def test_it_can_be_undone_as_one_gesture() -> None:
    work = small_work()
    for x in (0.1, 0.4, 0.9):
        relight(work, "drag", Light(lamps=(Lamp(x=x),)))
    work.undo()
    assert np.array_equal(work.planes["lighting"], small_record().conditions["lighting"])


def test_a_record_without_normals_is_refused() -> None:
    record = small_record()
    work = small_work(conditions={name: array for name, array in record.conditions.items() if name != "normal"})
    with pytest.raises(SpecError) as caught:
        relight(work, "g", Light())
    assert (caught.value.key, caught.value.found) == ("light", "a record without normals")


def test_a_lamp_beyond_the_disc_is_at_its_edge() -> None:
    assert Lamp(x=1, y=1).directional.direction == pytest.approx((0.7071, 0.7071, 0.001), abs=1e-3)
    assert replace(Lamp(x=0, y=0).directional, strength=1).direction == pytest.approx((0, 0, 1), abs=2e-3)
