"""A phantom's cast, written as a scan and read back, gives the phantom's own maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.ingest.scans.mesh_file import read_mesh
from dentgen.ingest.scans.pose import Pose, find_pose
from dentgen.ingest.scans.render import Studio, render_scan, scan_views
from dentgen.ingest.scans.scan_mesh import ScanMesh
from dentgen.phantom.camera import VIEWS, View, sample_camera
from dentgen.phantom.maps import curvature_map, fdi_map
from dentgen.phantom.mesh import Tissue, join_parts
from dentgen.phantom.prompt import Look, phantom_phrases
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene
from dentgen.seeding import numpy_generator
from tests.ingest.scans.jaws import cast, write_obj

SIZE = 96
IDENTITY = Pose(np.eye(3), np.zeros(3), 1.0)


@pytest.mark.parametrize(
    "view", ["upper-occlusal", "lower-occlusal", *(pytest.param(view, marks=pytest.mark.slow) for view in VIEWS[:3])]
)
def test_maps_are_those_of_the_phantom(view: View, tmp_path: Path) -> None:
    """Oracle: the phantom's own mesh from the same camera."""
    parts = cast(view)
    mesh = read_mesh(str(write_obj(tmp_path / "a.obj", parts, None)))
    (record,) = render_scan(mesh, IDENTITY, "g", Studio(1, SIZE, (view,), 1))
    own = join_parts(list(parts))
    front = float(own.vertices[own.faces[own.fdi > 0]][..., 2].max())
    camera = sample_camera(view, front, numpy_generator(1, "g", view, "camera"))
    surface = Scene(own, RayMesh(own.vertices, own.faces), camera, SIZE).trace_centres()
    assert (record.maps["fdi"] == fdi_map(surface, SIZE)).all()
    tissue = surface.tissue.reshape(SIZE, SIZE)
    for value, kind in ((1, Tissue.GUM), (2, Tissue.TOOTH)):
        found, expected = record.maps["seg"] == value, tissue == kind
        assert (found & expected).sum() / (found | expected).sum() >= 0.99
    assert np.isin(record.maps["fdi"], [part.fdi for part in parts]).all()
    teeth = record.maps["fdi"] > 0
    known = curvature_map(surface, SIZE)[teeth].astype(float)
    assert np.corrcoef(record.maps["curvature"][teeth], known)[0, 1] > 0.99, "convex is bright on both jaws"


@pytest.mark.slow
def test_a_turned_scan_shows_the_same_teeth_in_the_same_places(tmp_path: Path) -> None:
    records = []
    for seed, unit in ((None, 1.0), (4, 10.0)):
        mesh = read_mesh(str(write_obj(tmp_path / "a.obj", cast(), seed, unit)))
        pose = find_pose("x", mesh)
        records.append(list(render_scan(mesh, pose, "g", Studio(1, SIZE, VIEWS[2:4], 1))))
    for one, other in zip(*records, strict=True):
        assert (one.maps["fdi"] == other.maps["fdi"]).mean() > 0.99
        assert one.prompt == other.prompt


def test_the_patient_s_right_is_at_the_left_of_a_frontal_picture(tmp_path: Path) -> None:
    mesh = read_mesh(str(write_obj(tmp_path / "a.obj", cast("lower-occlusal"), 2)))
    records = render_scan(mesh, find_pose("x", mesh), "g", Studio(1, 48, ("frontal",), 1))
    record = next(records)
    fdi = record.maps["fdi"]
    rows, columns = np.nonzero(fdi)
    quadrant = fdi[rows, columns] // 10
    assert columns[quadrant == 4].mean() < columns[quadrant == 3].mean()
    gum = np.nonzero(record.maps["seg"] == 1)[0]
    assert rows.mean() < gum.mean(), "lower gum is below lower teeth"


def test_without_labels_all_other_maps_are_nearly_those_with_them(tmp_path: Path) -> None:
    """Oracle: the same scan with its labels, whose camera stands 0.1 mm behind: gum, too, is before the teeth."""
    parts = cast("lower-occlusal")
    labelled = read_mesh(str(write_obj(tmp_path / "a.obj", parts, None)))
    plain = ScanMesh(labelled.vertices, labelled.faces, None, "lower")
    assert scan_views(plain) == scan_views(labelled)
    studio = Studio(1, 64, ("lower-occlusal",), 1)
    (record,), (known,) = (list(render_scan(mesh, IDENTITY, "g", studio)) for mesh in (plain, labelled))
    assert record.maps.keys() == {"normal", "curvature", "depth", "light"}
    is_seen = (record.maps["depth"] > 0) & (known.maps["depth"] > 0)
    assert is_seen.sum() > 0.98 * (known.maps["depth"] > 0).sum()
    for name in ("normal", "light"):
        assert np.median(np.abs(record.maps[name].astype(int) - known.maps[name])[is_seen]) <= 2
    assert known.attributes.items() - record.attributes.items() == {
        ("gum", known.attributes["gum"]), ("dentition", "permanent"),
    }  # fmt: skip
    assert "gums" not in record.prompt
    assert phantom_phrases(record.prompt) is not None
    redness, known_redness = (
        (picture[is_seen].astype(int) @ [1, -1, 0]).mean() for picture in (record.picture, known.picture)
    )
    assert redness < known_redness, "no gum is painted"


def test_a_single_jaw_has_no_view_of_the_other_and_lightings_share_their_maps(tmp_path: Path) -> None:
    mesh = read_mesh(str(write_obj(tmp_path / "a.obj", cast("upper-occlusal"), 2)))
    assert scan_views(mesh) == ("frontal", "left", "right", "upper-occlusal")
    studio = Studio(1, 48, ("upper-occlusal",), 2)
    first, second = render_scan(mesh, find_pose("x", mesh), "g", studio)
    assert (first.name, second.name) == ("upper-occlusal", "upper-occlusal-l1")
    assert (first.maps["normal"] == second.maps["normal"]).all()
    assert not (first.maps["light"] == second.maps["light"]).all()
    assert phantom_phrases(first.prompt) is not None
    assert "scan" in first.prompt


@pytest.mark.parametrize("view", ["upper-occlusal", pytest.param("frontal", marks=pytest.mark.slow)])
def test_a_photograph_has_the_teeth_of_the_cast(view: View, tmp_path: Path) -> None:
    """Oracle: the cast from the same camera; lips hide teeth and never make any."""
    mesh = read_mesh(str(write_obj(tmp_path / "a.obj", cast(view), None)))
    looks: tuple[Look, ...] = ("scan", "photo")
    (plain,), (photo,) = (list(render_scan(mesh, IDENTITY, "g", Studio(1, 48, (view,), 1, look))) for look in looks)
    assert photo.name == f"photo-{view}"
    teeth = photo.maps["fdi"] > 0
    assert (photo.maps["fdi"][teeth] == plain.maps["fdi"][teeth]).all()
    assert teeth.sum() > 0.6 * (plain.maps["fdi"] > 0).sum()
    assert ((photo.maps["seg"] == 2) == teeth).all()
    assert (photo.picture.max(-1) > 10).mean() > 0.98, "the mouth surrounds the scan"
    assert photo.attributes["look"] == "photo"
    assert phantom_phrases(photo.prompt) is not None
    means = {name: photo.picture[photo.maps["seg"] == value].mean(0) for name, value in (("gum", 1), ("tooth", 2))}
    assert means["gum"][0] - means["gum"][2] > means["tooth"][0] - means["tooth"][2] + 20, "gum is redder than teeth"
