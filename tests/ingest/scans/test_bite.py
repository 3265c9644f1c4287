"""Jaws in bite become one scan; what keeps others from it is said in degrees, millimetres or units."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.scans.bite import join_in_bite
from dentgen.ingest.scans.patients import ScanFile
from dentgen.ingest.scans.pose import Pose
from dentgen.ingest.scans.posed_scan import PosedScan, read_scan
from tests.ingest.scans.jaws import fine_cast, jaws, motion, write_obj

TURN, _ = motion(4)


@cache
def posed() -> tuple[PosedScan, PosedScan]:
    """Both jaws of a phantom, turned by ``TURN``."""
    with TemporaryDirectory() as folder:
        paths = [
            write_obj(Path(folder) / f"p_{name}.obj", parts, 4)
            for name, parts in zip("ul", jaws(fine_cast()), strict=True)
        ]
        upper, lower = (read_scan(ScanFile(path.name, str(path), None)) for path in paths)
    return upper, lower


def moved(scan: PosedScan, shift: list[float], degrees: float = 0.0, scale: float = 1.0) -> PosedScan:
    """A scan moved in the phantom's frame: a shift in mm, and a turn that opens the mouth."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    opening = TURN @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ TURN.T
    axes, origin = scan.pose.axes @ opening.T, scan.pose.origin + TURN @ np.array(shift)
    return replace(scan, pose=Pose(axes, origin, scan.pose.scale * scale))


@pytest.mark.integration
def test_jaws_in_bite_are_joined_in_any_order() -> None:
    upper, lower = posed()
    for one, other in ((upper, lower), (lower, upper)):
        scan = join_in_bite(one, other)
        assert scan.mesh.labels is not None
        assert len(scan.mesh.faces) == len(upper.mesh.faces) + len(lower.mesh.faces)
        first = scan.mesh.vertices[scan.mesh.faces[: len(upper.mesh.faces)]]
        assert (first == upper.mesh.vertices[upper.mesh.faces]).all()
        assert set(np.unique(scan.mesh.labels) // 10) == {0, 1, 2, 3, 4}
        assert np.abs(scan.pose.axes - upper.pose.axes).max() < 0.15


@pytest.mark.parametrize(
    ("shift", "degrees", "scale", "found"),
    [
        ([0.0, -8.0, 0.0], 0.0, 1.0, ""), ([6.0, 0.0, -6.0], 0.0, 1.0, ""), ([0.0, 0.0, 0.0], 5.0, 1.0, ""),
        ([0.0, -40.0, 0.0], 0.0, 1.0, "mm below the upper ones"), ([0.0, 9.0, 0.0], 0.0, 1.0, "mm above the upper"),
        ([14.0, 0.0, 0.0], 0.0, 1.0, "mm apart sideways"), ([0.0, 0.0, 16.0], 0.0, 1.0, "mm front to back"),
        ([0.0, 0.0, 0.0], 40.0, 1.0, "degrees apart"), ([0.0, 0.0, 0.0], 0.0, 10.0, "units of 1 and 10 mm"),
    ],
)  # fmt: skip
def test_bounds_of_a_bite(shift: list[float], degrees: float, scale: float, found: str) -> None:
    upper, lower = posed()
    other = moved(lower, shift, degrees, scale)
    if not found:
        assert join_in_bite(upper, other).files.name
        return
    with pytest.raises(ConditionError) as caught:
        join_in_bite(upper, other)
    assert found in caught.value.found
    assert caught.value.expected == "jaws in bite"


def test_two_upper_jaws_are_none() -> None:
    upper, _ = posed()
    with pytest.raises(ConditionError) as caught:
        join_in_bite(upper, upper)
    assert caught.value.expected == "one upper and one lower jaw"
