"""Where a labelled scan's left, up and front are, and its unit: told by its teeth and checked against anatomy.

The frame is that of phantoms: mm, x to the patient's left, y up, z to the viewer, biting surfaces at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import RIGHT_QUADRANTS, UPPER_QUADRANTS
from dentgen.errors import ConditionError
from dentgen.ingest.scans.scan_mesh import ScanMesh

#: Width of an arch from the outermost tooth centre to the other, mm: children's and adults'.
_WIDTH_MM: Final = (25.0, 90.0)
#: Millimetres per unit that files have: mm, cm, m, inch.
_UNITS_MM: Final = (1.0, 10.0, 1000.0, 25.4)
_FRONT_FORMS: Final = 3
_FEWEST_TEETH: Final = 4
#: How far a tooth may be before its neighbour along the arch, mm: crowded teeth overlap.
_CROWDING_MM: Final = 2.0

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A rigid motion with a unit.

    Attributes:
        axes: (3, 3) unit rows left, up and front in the file's coordinates.
        origin: (3,) point of the file that becomes 0.
        scale: mm per unit of the file.
    """

    axes: Points
    origin: Points
    scale: float

    def apply(self, points: Points) -> Points:
        """Points (n, 3) of the file in mm, in the frame of phantoms."""
        return np.asarray((points - self.origin) @ self.axes.T * self.scale)


def find_pose(place: str, mesh: ScanMesh) -> Pose:
    """Find the pose of a labelled scan.

    Raises:
        ConditionError: If there are too few teeth, no unit makes it a jaw, or its labels contradict its shape: teeth
            out of order, or gum on the biting side, as after mirroring.
    """
    if mesh.labels is None:
        expected = "FDI numbers of the teeth, from which left, up and front are told"
        raise ConditionError(place, "no labels", expected, advice="say --axes LEFT,UP,FRONT to render it without them")
    teeth = _centres(mesh)
    if len(teeth) < _FEWEST_TEETH:
        raise ConditionError(place, f"{len(teeth)} teeth", f"at least {_FEWEST_TEETH}")
    if mesh.jaw is not None and any((n // 10 in UPPER_QUADRANTS) != (mesh.jaw == "upper") for n in teeth):
        raise ConditionError(place, f"jaw {mesh.jaw!r} with teeth {sorted(teeth)}", "teeth of that jaw")
    axes = _axes(place, teeth)
    scale = _scale(place, np.stack(list(teeth.values())) @ axes[0])
    turned = {number: centre @ axes.T * scale for number, centre in teeth.items()}
    _check_sides(place, mesh, axes, teeth)
    _check_order(place, turned)
    return Pose(axes, _origin(mesh, axes), scale)


def _centres(mesh: ScanMesh) -> dict[int, Points]:
    """Mean of every tooth's triangles."""
    assert mesh.labels is not None
    middle = mesh.vertices[mesh.faces].mean(1)
    return {int(number): middle[mesh.labels == number].mean(0) for number in np.unique(mesh.labels) if number}


def _axes(place: str, teeth: dict[int, Points]) -> Points:
    """Left from the patient's sides, front from molars to incisors, up from the teeth's plane, or across both."""
    left = [c for n, c in teeth.items() if n // 10 not in RIGHT_QUADRANTS]
    right = [c for n, c in teeth.items() if n // 10 in RIGHT_QUADRANTS]
    front = [c for n, c in teeth.items() if n % 10 <= _FRONT_FORMS]
    back = [c for n, c in teeth.items() if n % 10 > _FRONT_FORMS]
    if not (left and right and front and back):
        raise ConditionError(place, f"teeth {sorted(teeth)}", "front and back teeth of both sides")
    x = np.mean(left, 0) - np.mean(right, 0)
    z = np.mean(front, 0) - np.mean(back, 0)
    towards = np.cross(z, x)
    up = _normal(teeth)
    if abs(up @ towards) < 0.5 * np.linalg.norm(towards):  # two jaws have no common plane
        up = towards / np.linalg.norm(towards)
    up = up * np.sign(up @ towards)
    z = z - (z @ up) * up
    z /= np.linalg.norm(z)
    return np.stack([np.cross(up, z), up, z])


def _normal(teeth: dict[int, Points]) -> Points:
    """Unit normal of the plane nearest to the centres of the teeth."""
    centres = np.stack(list(teeth.values()))
    normal: Points = np.linalg.svd(centres - centres.mean(0))[2][2]
    return normal


def _scale(place: str, across: Points) -> float:
    width = float(np.ptp(across))
    for scale in _UNITS_MM:
        if _WIDTH_MM[0] <= width * scale <= _WIDTH_MM[1]:
            return scale
    found = f"an arch {width:.4g} units wide"
    raise ConditionError(place, found, f"{_WIDTH_MM[0]:.0f} to {_WIDTH_MM[1]:.0f} mm in mm, cm, inches or m")


def _check_sides(place: str, mesh: ScanMesh, axes: Points, teeth: dict[int, Points]) -> None:
    """Upper gum is above upper teeth, lower gum below lower ones, and upper teeth above lower ones."""
    upper = [c @ axes[1] for n, c in teeth.items() if n // 10 in UPPER_QUADRANTS]
    lower = [c @ axes[1] for n, c in teeth.items() if n // 10 not in UPPER_QUADRANTS]
    if upper and lower:
        is_right = np.mean(upper) > np.mean(lower)
    else:
        assert mesh.labels is not None
        gum = mesh.vertices[mesh.faces[mesh.labels == 0]].mean(1)
        if not len(gum):
            raise ConditionError(place, "one jaw without gum", "gum, which tells whether the scan is mirrored")
        is_right = (float(np.median(gum @ axes[1])) > float(np.mean(upper or lower))) == bool(upper)
    if not is_right:
        expected = "right and left, upper and lower as the shape has them; the scan may be mirrored"
        raise ConditionError(place, "labels that contradict the shape: gum on the biting side", expected)


def _check_order(place: str, teeth: dict[int, Points]) -> None:
    """Teeth stand in the order of their numbers from the patient's right to the left."""
    for quadrants in ((1, 2), (4, 3), (5, 6), (8, 7)):
        right, left = ([n for n in teeth if n // 10 == quadrant] for quadrant in quadrants)
        row = [*sorted(right, reverse=True), *sorted(left)]
        for before, after in pairwise(row):
            along = teeth[after] - teeth[before]
            # in the right half the arch runs to the front, in the left half to the back, and always to the left
            forward = 1.0 if after in right else -1.0 if before in left else 0.0
            if along[0] < -_CROWDING_MM and forward * along[2] < _CROWDING_MM:
                raise ConditionError(
                    place, f"tooth {after} before tooth {before}", "teeth in the order of their numbers"
                )


def _origin(mesh: ScanMesh, axes: Points) -> Points:
    """The middle of the arch, at the height of the biting surfaces."""
    assert mesh.labels is not None
    tips, middles = [], []
    for number in np.unique(mesh.labels[mesh.labels > 0]):
        points = mesh.vertices[mesh.faces[mesh.labels == number]].reshape(-1, 3)
        height = points @ axes[1]
        tips.append(height.min() if number // 10 in UPPER_QUADRANTS else height.max())
        middles.append(points.mean(0))
    centre = np.mean(middles, 0)
    return np.asarray(centre + (np.median(tips) - centre @ axes[1]) * axes[1])
