"""A scan is read with its pose, or refused with the name of its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.scans.orientation import Orientation
from dentgen.ingest.scans.patients import ScanFile
from dentgen.ingest.scans.posed_scan import read_scan
from tests.ingest.scans.jaws import cast, motion, write_obj, write_unlabelled
from tests.ingest.scans.test_face_colours import trimesh


def test_mesh_pose_and_files_belong_together(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "p_upper.obj", cast("upper-occlusal"), 3)
    scan = read_scan(ScanFile("p_upper.obj", str(path), None))
    assert (scan.files.name, scan.files.group, scan.pose.scale) == ("p_upper.obj", "p", 1.0)
    assert np.rad2deg(np.arccos((scan.pose.axes @ motion(3)[0]).diagonal())).max() < 8


def test_a_scan_without_labels_is_refused_by_name(tmp_path: Path) -> None:
    path = write_unlabelled(tmp_path / "p.obj", cast("upper-occlusal"))
    with pytest.raises(ConditionError) as caught:
        read_scan(ScanFile("p.obj", str(path), None))
    assert (caught.value.file, caught.value.found) == (str(path), "no labels")
    assert "--axes" in caught.value.advice


def test_the_jaw_of_a_scan_without_labels_is_that_of_its_name_or_given(tmp_path: Path) -> None:
    path = write_unlabelled(tmp_path / "p.obj", cast("upper-occlusal"))
    for name, given, jaw in (
        ("p_upper.obj", None, "upper"),
        ("p_upper.obj", "lower", "upper"),
        ("p.obj", "upper", "upper"),
    ):
        orientation = Orientation("+x,+y,+z", "mm", "lower" if given == "lower" else "upper" if given else None)
        assert read_scan(ScanFile(name, str(path), None), orientation).mesh.jaw == jaw
    with pytest.raises(ConditionError) as caught:
        read_scan(ScanFile("p.obj", str(path), None), Orientation("+x,+y,+z"))
    assert (caught.value.found, caught.value.advice) == ("neither labels nor a jaw", "or say --jaw")


def test_an_stl_is_as_round_as_the_obj_that_it_was_made_from(tmp_path: Path) -> None:
    path = write_unlabelled(tmp_path / "p_upper.obj", cast("upper-occlusal"))
    known = read_scan(ScanFile(path.name, str(path), None), Orientation("+x,+y,+z"))
    stl = trimesh.Trimesh(known.mesh.vertices, known.mesh.faces, process=False).export(file_type="stl")
    (tmp_path / "p_upper.stl").write_bytes(stl)
    found = read_scan(ScanFile("p_upper.stl", str(tmp_path / "p_upper.stl"), None), Orientation("+x,+y,+z"))
    corners = known.mesh.vertices[known.mesh.faces].reshape(-1, 3).astype(np.float32)
    assert len(found.mesh.vertices) == len(np.unique(corners, axis=0))
    assert np.abs(found.pose.origin - known.pose.origin).max() < 0.01


def test_labels_come_before_a_given_orientation(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "p.obj", cast("upper-occlusal"), 3)
    scan = read_scan(ScanFile("p.obj", str(path), None), Orientation("+x,+y,+z", "inch", "lower"))
    assert scan.pose.scale == 1.0
    assert not np.allclose(scan.pose.axes, np.eye(3), atol=0.2)
