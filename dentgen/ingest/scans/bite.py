"""An upper and a lower jaw of two files as one scan, if they stand in bite in their files' common coordinates."""

from __future__ import annotations

from typing import Final

import numpy as np

from dentgen.conditions.labels import UPPER_QUADRANTS
from dentgen.errors import ConditionError
from dentgen.ingest.scans.patients import ScanFiles
from dentgen.ingest.scans.pose import Pose, find_pose
from dentgen.ingest.scans.posed_scan import PosedScan
from dentgen.ingest.scans.scan_mesh import Jaw, ScanMesh

#: A bite registration keeps the jaws nearly parallel.
_MOST_DEGREES: Final = 15.0
#: Height of the lower biting surfaces over the upper ones, mm: from a mouth that is open a little to cusps in fissures.
_HEIGHT_MM: Final = (-12.0, 3.0)
#: How far apart the arches' centres may be, mm: beyond a cross bite or an underbite.
_APART_MM: Final = 10.0


def join_in_bite(one: PosedScan, other: PosedScan) -> PosedScan:
    """Both jaws as one scan, the upper one first.

    Raises:
        ConditionError: If they are not one upper and one lower jaw in bite.
    """
    files = ScanFiles((*one.files.files, *other.files.files))
    by_jaw = {_jaw(scan.mesh): scan for scan in (one, other)}
    if by_jaw.keys() != {"upper", "lower"}:
        raise ConditionError(files.name, "teeth that are not those of two jaws", "one upper and one lower jaw")
    upper, lower = by_jaw["upper"], by_jaw["lower"]
    if fault := _fault(upper.pose, lower.pose):
        raise ConditionError(files.name, fault, "jaws in bite")
    mesh = _joined(upper.mesh, lower.mesh)
    return PosedScan(files, mesh, find_pose(files.name, mesh))


def _jaw(mesh: ScanMesh) -> Jaw | None:
    """Jaw that all teeth belong to, None for both or no labels."""
    if mesh.labels is None:
        return None
    are_upper = np.isin(mesh.labels[mesh.labels > 0] // 10, UPPER_QUADRANTS)
    return "upper" if are_upper.all() else None if are_upper.any() else "lower"


def _fault(upper: Pose, lower: Pose) -> str:
    """What keeps two jaws from standing in bite, "" if they do."""
    if upper.scale != lower.scale:
        return f"units of {upper.scale:g} and {lower.scale:g} mm"
    cosines = np.clip((upper.axes * lower.axes).sum(1), -1, 1)
    degrees = float(np.rad2deg(np.arccos(cosines)).max())
    if degrees > _MOST_DEGREES:
        return f"axes {degrees:.0f} degrees apart"
    aside, height, ahead = upper.apply(lower.origin).tolist()  # an origin is the middle of its biting surfaces
    if not _HEIGHT_MM[0] <= height <= _HEIGHT_MM[1]:
        return f"lower biting surfaces {abs(height):.1f} mm {'above' if height > 0 else 'below'} the upper ones"
    if max(abs(aside), abs(ahead)) > _APART_MM:
        return f"arches {abs(aside):.1f} mm apart sideways and {abs(ahead):.1f} mm front to back"
    return ""


def _joined(upper: ScanMesh, lower: ScanMesh) -> ScanMesh:
    assert upper.labels is not None
    assert lower.labels is not None
    return ScanMesh(
        np.concatenate([upper.vertices, lower.vertices]),
        np.concatenate([upper.faces, lower.faces + len(upper.vertices)]),
        np.concatenate([upper.labels, lower.labels]),
        None,
    )
