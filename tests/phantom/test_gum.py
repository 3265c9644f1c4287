"""The gum meets the crowns, hangs together and faces outward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dentgen.phantom.anatomy import Arch
from dentgen.phantom.gum import Gum, build_gum
from dentgen.phantom.mesh import Tissue, vertex_normals
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import posed_teeth, shape

ARCHES: tuple[Arch, ...] = ("upper", "lower")


@pytest.fixture(scope="module", params=ARCHES)
def arch(request: pytest.FixtureRequest) -> Arch:
    return request.param


@pytest.fixture(scope="module")
def gum(arch: Arch) -> Gum:
    return build_gum(posed_teeth(arch), shape(), numpy_generator("gum"))


def rows(gum: Gum) -> np.ndarray:
    """Vertices as (rows, stations, 3)."""
    return gum.part.vertices.reshape(-1, len(gum.lingual_edge), 3)


def test_every_crown_is_surrounded_by_gum(arch: Arch, gum: Gum) -> None:
    """Within half a millimetre of the gum, on its buccal and on its lingual side."""
    tree = cKDTree(gum.part.vertices)
    for slot in posed_teeth(arch).slots:
        if slot.vertices is None or slot.crown is None:
            continue
        for side in (slot.crown.outward > 0.5, slot.crown.outward < -0.5):
            assert tree.query(slot.vertices[side])[0].min() < 0.5, slot.fdi


def test_tips_of_crowns_rise_above_the_gum(arch: Arch, gum: Gum) -> None:
    """The occlusal end of every crown is more than 1 mm from any gum."""
    tree = cKDTree(gum.part.vertices)
    for slot in posed_teeth(arch).slots:
        if slot.vertices is not None and slot.crown is not None:
            assert tree.query(slot.vertices[slot.crown.height > 0.9])[0].min() > 1, slot.fdi


def test_the_sheet_is_mucosa_beyond_the_fold_and_gum_elsewhere(gum: Gum) -> None:
    first_row = gum.part.faces.min(1) // len(gum.lingual_edge)
    tissue = np.asarray(gum.part.tissue)
    assert (tissue[first_row < gum.fold_row] == Tissue.MUCOSA).all()
    assert (tissue[first_row >= gum.fold_row] == Tissue.GUM).all()
    assert 0 < gum.fold_row < len(rows(gum))


def test_the_lingual_edge_is_the_last_row_from_the_patient_s_right_to_the_left(gum: Gum) -> None:
    assert (rows(gum)[-1] == gum.lingual_edge).all()
    assert gum.lingual_edge[0, 0] < 0 < gum.lingual_edge[-1, 0]


def test_the_buccal_side_faces_outward(arch: Arch, gum: Gum) -> None:
    vertices = rows(gum)
    normals = vertex_normals(gum.part.vertices, gum.part.faces).reshape(vertices.shape)
    middle = len(gum.lingual_edge) // 2
    front = normals[gum.fold_row + 3 : gum.fold_row + 10, middle]
    assert (front @ [0.0, 0.0, 1.0] > 0).all(), arch


def test_recession_uncovers_the_crowns(arch: Arch) -> None:
    covered = [
        build_gum(posed_teeth(arch), replace(shape(), recession_mm=mm), numpy_generator("gum")) for mm in (0.0, 2.0)
    ]
    rootwards = posed_teeth(arch).rootwards
    margins = [float(np.median(rows(gum)[gum.fold_row :] @ rootwards, axis=1).min()) for gum in covered]
    assert margins[1] - margins[0] == pytest.approx(2, abs=0.5)


def test_margin_distance_grows_rootwards(gum: Gum) -> None:
    """It is 0 near the margin and the depth of the vestibule at the fold."""
    distance = gum.part.attributes["margin_mm"].reshape(rows(gum).shape[:2])
    middle = distance[:, len(gum.lingual_edge) // 2]
    assert middle[gum.fold_row] > 6
    assert np.abs(middle).min() < 0.5
    buccal = gum.part.attributes["buccal"].reshape(distance.shape)
    assert (buccal[gum.fold_row] == 1).all()
    assert (buccal[-1] == 0).all()
