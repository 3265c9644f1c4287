"""Left, up, front and unit are found however a scan lies, and scans that contradict their labels are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.scans.mesh_file import read_mesh
from dentgen.ingest.scans.pose import find_pose
from dentgen.ingest.scans.scan_mesh import ScanMesh
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import View
from tests.ingest.scans.jaws import cast, fine_cast, motion, write_obj


def scan(tmp_path: Path, view: View, seed: int | None = None, unit_mm: float = 1.0) -> ScanMesh:
    parts = fine_cast(view) if view == "frontal" else cast(view)
    return read_mesh(str(write_obj(tmp_path / "a.obj", parts, seed, unit_mm)))


@pytest.mark.parametrize(
    ("view", "unit_mm"),
    [
        pytest.param("frontal", 1.0, marks=pytest.mark.slow),
        ("upper-occlusal", 10.0),
        ("lower-occlusal", 1000.0),
        ("upper-occlusal", 25.4),
    ],
)
def test_any_pose_and_unit_is_undone(view: View, unit_mm: float, tmp_path: Path) -> None:
    pose = find_pose("x", scan(tmp_path, view, 3, unit_mm))
    turn, _ = motion(3)
    angles = np.rad2deg(np.arccos(np.clip((pose.axes @ turn).diagonal(), -1, 1)))
    assert angles.max() < 8, "degrees between the axes found and the phantom's own"
    assert pose.scale == unit_mm
    assert np.linalg.det(pose.axes) == pytest.approx(1.0)
    points = pose.apply(scan(tmp_path, view, 3, unit_mm).vertices)
    assert np.abs(points[:, 0].mean()) < 5


@pytest.mark.parametrize("dentition", ["permanent", "deciduous"])
def test_both_dentitions_have_a_pose(dentition: Dentition, tmp_path: Path) -> None:
    mesh = read_mesh(str(write_obj(tmp_path / "a.obj", cast("upper-occlusal", dentition), 5)))
    assert find_pose("x", mesh).scale == 1.0


@pytest.mark.parametrize("view", ["upper-occlusal", "lower-occlusal", pytest.param("frontal", marks=pytest.mark.slow)])
def test_a_mirrored_scan_is_refused(view: View, tmp_path: Path) -> None:
    mesh = scan(tmp_path, view)
    with pytest.raises(ConditionError) as caught:
        find_pose("x", replace(mesh, vertices=mesh.vertices * [-1, 1, 1]))
    assert "contradict" in caught.value.found or "before tooth" in caught.value.found


def test_labels_of_the_other_jaw_are_refused(tmp_path: Path) -> None:
    mesh = scan(tmp_path, "upper-occlusal")
    assert mesh.labels is not None
    other = np.array([0, *range(1, 256)], np.uint8)
    for upper, lower in ((1, 4), (2, 3)):
        other[10 * upper : 10 * upper + 9] = np.arange(10 * lower, 10 * lower + 9)
    with pytest.raises(ConditionError) as caught:
        find_pose("x", replace(mesh, labels=other[mesh.labels]))
    assert "contradict" in caught.value.found


def test_teeth_out_of_order_are_refused_by_number(tmp_path: Path) -> None:
    mesh = scan(tmp_path, "upper-occlusal")
    assert mesh.labels is not None
    swapped = np.arange(256, dtype=np.uint8)
    swapped[[14, 16]] = [16, 14]
    with pytest.raises(ConditionError) as caught:
        find_pose("x", replace(mesh, labels=swapped[mesh.labels]))
    assert "tooth 1" in caught.value.found


def test_too_few_teeth_one_side_or_no_labels_are_refused(tmp_path: Path) -> None:
    mesh = scan(tmp_path, "upper-occlusal")
    assert mesh.labels is not None
    for labels, found in (
        (np.where(np.isin(mesh.labels, (11, 21)), mesh.labels, 0), "2 teeth"),
        (np.where(mesh.labels // 10 == 1, mesh.labels, 0), "teeth ["),
        (None, "no labels"),
    ):
        with pytest.raises(ConditionError) as caught:
            find_pose("x", replace(mesh, labels=None if labels is None else labels.astype(np.uint8)))
        assert caught.value.found.startswith(found)


def test_a_jaw_of_no_known_unit_is_refused(tmp_path: Path) -> None:
    mesh = scan(tmp_path, "upper-occlusal")
    with pytest.raises(ConditionError) as caught:
        find_pose("x", replace(mesh, vertices=mesh.vertices * 7))
    assert "units wide" in caught.value.found


def test_one_jaw_without_gum_could_be_mirrored_and_is_refused(tmp_path: Path) -> None:
    mesh = scan(tmp_path, "upper-occlusal")
    assert mesh.labels is not None
    teeth = mesh.labels > 0
    with pytest.raises(ConditionError) as caught:
        find_pose("x", replace(mesh, faces=mesh.faces[teeth], labels=mesh.labels[teeth]))
    assert caught.value.found == "one jaw without gum"


def test_the_jaw_that_a_file_names_is_that_of_its_teeth(tmp_path: Path) -> None:
    mesh = scan(tmp_path, "upper-occlusal")
    assert find_pose("x", replace(mesh, jaw="upper")).scale == 1.0
    with pytest.raises(ConditionError) as caught:
        find_pose("x", replace(mesh, jaw="lower"))
    assert caught.value.found.startswith("jaw 'lower' with teeth")
