"""Scans without labels lie as the user says; what cannot be right is refused by option or file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.mesh_file import read_mesh
from dentgen.ingest.scans.orientation import Orientation, parse_orientation
from dentgen.ingest.scans.pose import find_pose
from dentgen.ingest.scans.scan_mesh import Jaw, ScanMesh
from dentgen.phantom.camera import View
from tests.ingest.scans.jaws import cast, write_obj


def scan(tmp_path: Path, view: View) -> ScanMesh:
    return read_mesh(str(write_obj(tmp_path / "a.obj", cast(view), None)))


@pytest.mark.parametrize(("view", "jaw"), [("upper-occlusal", "upper"), ("lower-occlusal", "lower")])
def test_the_pose_is_nearly_that_of_the_labels(view: View, jaw: Jaw, tmp_path: Path) -> None:
    mesh = scan(tmp_path, view)
    labelled = find_pose("x", mesh)
    turned = ScanMesh(mesh.vertices[:, [0, 2, 1]] * [1, -1, 1] / 10, mesh.faces, None, None)  # y up becomes z up
    pose = Orientation("+x,+z,-y", "cm").pose("x", turned, jaw)
    assert pose.scale == 10.0
    offset = pose.apply(turned.vertices) - mesh.vertices
    assert np.ptp(offset, axis=0).max() < 1e-9, "a motion without a turn"
    aside, height, _ = offset[0] + labelled.origin
    assert abs(aside) < 1.0, "mm between the middles of the arch"
    assert abs(height) < 1.0, "mm between the biting surfaces"


@pytest.mark.parametrize("axes", ["+x,+z", "+x,+x,+z", "+x,-x,+z", "x,y,z", "", "+x,+y,+w", "+x,+y,+z,+x"])
def test_axes_are_three_different_ones(axes: str) -> None:
    with pytest.raises(SpecError) as caught:
        Orientation(axes)
    assert (caught.value.key, caught.value.found) == ("--axes", axes)


def test_left_handed_axes_are_a_mirrored_scan() -> None:
    assert np.linalg.det(Orientation("+x,+z,-y").rows) == pytest.approx(1.0)
    with pytest.raises(SpecError) as caught:
        Orientation("+x,+z,+y")
    assert "mirrored" in caught.value.found


def test_a_wrong_unit_is_no_jaw(tmp_path: Path) -> None:
    with pytest.raises(ConditionError) as caught:
        Orientation("+x,+y,+z", "inch").pose("x", scan(tmp_path, "upper-occlusal"), "upper")
    assert caught.value.found.startswith("a jaw 2")
    assert caught.value.found.endswith("mm wide")
    unknown: Any = "mile"
    with pytest.raises(SpecError) as refused:
        Orientation("+x,+y,+z", unknown)
    assert refused.value.key == "--unit"


def test_unit_and_jaw_need_axes() -> None:
    assert parse_orientation(None, "mm", None) is None
    assert parse_orientation("+x, +z, -y", "m", "lower") == Orientation("+x,+z,-y", "m", "lower")
    for unit, jaw, key in (("cm", None, "--unit"), ("mm", "upper", "--jaw")):
        given: tuple[Any, Any] = (unit, jaw)
        with pytest.raises(SpecError) as caught:
            parse_orientation(None, *given)
        assert caught.value.key == key
