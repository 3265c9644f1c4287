"""Anatomy: every tooth where it belongs, in the mouth and in every view of it, for adults and children."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dentgen.conditions.label_schemes import ARCH_ORDER
from dentgen.conditions.labels import mirror_normal
from dentgen.phantom.anatomy import CROWN_SIZE_MM, Arch, Dentition
from dentgen.phantom.camera import OCCLUSAL_VIEWS, VIEWS, View
from dentgen.phantom.patient import build_patient
from dentgen.phantom.render import Phantom, render_patient
from dentgen.phantom.teeth import CrownSize, build_crown
from dentgen.seeding import numpy_generator

DENTITIONS: tuple[Dentition, ...] = ("permanent", "deciduous")
PATIENTS = range(40, 44)
SIZE = 96


def order_of(arch: Arch, dentition: Dentition) -> list[int]:
    """FDI numbers of an arch from the patient's right to the left."""
    if dentition == "permanent":
        return list(ARCH_ORDER[arch])
    right, left = ((5, 6), (8, 7))[arch == "lower"]
    return [10 * right + p for p in range(5, 0, -1)] + [10 * left + p for p in range(1, 6)]


@pytest.fixture(scope="module", params=DENTITIONS)
def records(request: pytest.FixtureRequest) -> dict[View, list[Phantom]]:
    found: dict[View, list[Phantom]] = {view: [] for view in VIEWS}
    for number in PATIENTS:
        for view, phantom in zip(VIEWS, render_patient(5, number, SIZE, dentition=request.param), strict=True):
            found[view].append(phantom)
    return found


def centroids(fdi: np.ndarray) -> dict[int, tuple[float, float]]:
    """Row and column of every tooth that shows more than a sliver."""
    found = {}
    for tooth in set(np.unique(fdi).tolist()) - {0}:
        rows, columns = np.nonzero(fdi == tooth)
        if len(rows) >= 20:
            found[tooth] = (rows.mean(), columns.mean())
    return found


@pytest.mark.parametrize("dentition", DENTITIONS)
@pytest.mark.parametrize("number", PATIENTS)
def test_teeth_stand_in_order_along_the_arch(number: int, dentition: Dentition) -> None:
    """Their angle around the arch's middle grows from the patient's right to the left."""
    patient = build_patient(5, f"s5-p{number:06d}", dentition)
    for jaw in (patient.upper, patient.lower):
        standing = [slot for slot in jaw.teeth.slots if slot.vertices is not None]
        order = order_of(jaw.teeth.arch, dentition)
        places = [order.index(slot.fdi) for slot in standing]
        assert places == sorted(places)
        middle = np.array([0.0, 0.0, jaw.teeth.front_mm - 30.0])
        offsets = [slot.vertices.mean(0) - middle for slot in standing if slot.vertices is not None]
        angles = [np.arctan2(offset[0], offset[2]) for offset in offsets]
        assert all(a < b for a, b in pairwise(angles))


@pytest.mark.parametrize("dentition", DENTITIONS)
def test_mesial_sides_look_to_the_midline(dentition: Dentition) -> None:
    patient = build_patient(5, "s5-p000040", dentition)
    for jaw in (patient.upper, patient.lower):
        for slot in jaw.teeth.slots:
            if slot.crown is None or slot.vertices is None:
                continue
            _, tangent, _ = jaw.teeth.curve.frame(np.array([slot.s]))
            along = slot.vertices @ tangent[0] * -slot.side  # grows towards the midline
            assert along[slot.crown.mesial > 0.5].mean() > along[slot.crown.mesial < -0.5].mean(), slot.fdi


@pytest.mark.parametrize(("arch", "position"), [("upper", 1), ("upper", 3), ("lower", 6), ("upper", 6)])
def test_left_and_right_crowns_are_mirror_images(arch: Arch, position: int) -> None:
    size = CrownSize(*CROWN_SIZE_MM[arch][position])
    left, right = (build_crown(arch, position, side, size, 0.3, numpy_generator("crown")) for side in (1, -1))
    flipped = right.vertices * [-1, 1, 1]
    for point in left.vertices[::37]:
        assert np.linalg.norm(flipped - point, axis=1).min() < 1e-6


def test_views_show_the_patients_right_at_image_left(records: dict[View, list[Phantom]]) -> None:
    """Along an arch, columns grow in front, left and right views, and angles around the arch in occlusal ones.

    Sideways the far side's teeth turn away behind the front ones: only the near side's are in order.
    """
    for view, phantoms in records.items():
        for phantom in phantoms:
            dentition = phantom.attributes["dentition"]
            places = centroids(phantom.maps["fdi"])
            for arch in ("upper", "lower"):
                order = order_of(arch, dentition)  # type: ignore[arg-type]
                near = {"right": order[: len(order) // 2], "left": order[len(order) // 2 :]}.get(view, order)
                shown = [places[tooth] for tooth in near if tooth in places]
                if view in OCCLUSAL_VIEWS:
                    middle = np.mean([*places.values()], axis=0)
                    outward = 1 if view == "upper-occlusal" else -1  # incisors at the top, or at the bottom
                    steps = [np.arctan2(column - middle[1], outward * (middle[0] - row)) for row, column in shown]
                else:
                    steps = [column for _, column in shown]
                assert all(a < b for a, b in pairwise(steps)), (phantom.key, arch)


def test_upper_teeth_stand_above_lower_ones(records: dict[View, list[Phantom]]) -> None:
    for view, phantoms in records.items():
        for phantom in phantoms:
            quadrant = phantom.maps["fdi"] // 10
            upper, lower = np.isin(quadrant, [1, 2, 5, 6]), np.isin(quadrant, [3, 4, 7, 8])
            if view in OCCLUSAL_VIEWS:
                hidden, shown = (lower, upper) if view == "upper-occlusal" else (upper, lower)
                assert shown.any()
                assert not hidden.any()
            else:
                rows = np.arange(SIZE)[:, None]
                assert (rows * upper).sum() / upper.sum() < (rows * lower).sum() / lower.sum(), phantom.key


def test_children_have_twenty_teeth_and_keep_them() -> None:
    numbers = {10 * quadrant + position for quadrant in (5, 6, 7, 8) for position in range(1, 6)}
    lost = 0
    for number in range(20):
        patient = build_patient(6, f"s6-c{number:06d}", "deciduous")
        slots = [slot for jaw in (patient.upper, patient.lower) for slot in jaw.teeth.slots]
        assert {slot.fdi for slot in slots} == numbers
        lost += sum(slot.crown is None for slot in slots)
    assert 0 < lost < 20
    (phantom,) = render_patient(6, 0, SIZE, ("frontal",), dentition="deciduous")
    assert "milk teeth" in phantom.prompt
    assert phantom.key == "s6-c000000-frontal"


def test_a_mirror_flips_the_picture_and_no_tooth_changes_its_number() -> None:
    for view in VIEWS:
        (direct,) = render_patient(5, 40, SIZE, (view,), lightings=1)
        (mirrored,) = render_patient(5, 40, SIZE, (view,), lightings=1, mirrors=True)
        if view not in OCCLUSAL_VIEWS:
            assert mirrored.key == direct.key
            assert (mirrored.picture == direct.picture).all()
            continue
        assert mirrored.key == f"s5-p000040-mirror-{view}"
        assert (direct.attributes["mirrored"], mirrored.attributes["mirrored"]) == ("no", "yes")
        assert mirrored.prompt == direct.prompt.replace(" view,", " view in a mirror,")
        assert (mirrored.picture == direct.picture[:, ::-1]).all()
        for name in ("seg", "fdi", "light", "curvature", "depth"):
            assert (mirrored.maps[name] == direct.maps[name][:, ::-1]).all(), name
        assert (mirrored.maps["normal"] == mirror_normal(direct.maps["normal"].astype(np.uint8))).all()
        patients_right = np.isin(mirrored.maps["fdi"] // 10, [1, 4])
        assert (np.arange(SIZE) * patients_right).sum() / patients_right.sum() > SIZE / 2
