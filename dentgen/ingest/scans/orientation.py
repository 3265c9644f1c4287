"""Where left, up and front are in scans whose teeth are not labelled: as the user says, with the unit and the jaw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.pose import Points, Pose
from dentgen.ingest.scans.scan_mesh import Jaw, ScanMesh

Unit = Literal["mm", "cm", "m", "inch"]
_UNIT_MM: Final[dict[Unit, float]] = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4}
_AXES: Final = {f"{sign}{name}": place for place, name in enumerate("xyz") for sign in "+-"}
#: Width of a scanned jaw with its gum, mm; other widths mean another unit.
_WIDTH_MM: Final = (25.0, 150.0)
#: Share of the vertices that are farther out than the biting surfaces: the tips of cusps and canines.
_TIPS_PERCENT: Final = 3.0
#: How far from the biting surfaces all is teeth and gum, mm: a cast's base may be wider.
CROWNS_MM: Final = 8.0


@dataclass(frozen=True, slots=True)
class Orientation:
    """How files without labels lie.

    Attributes:
        axes: The file's axes that point to the patient's left, up and to the front, such as "+x,+z,-y".
        unit: What the file counts in.
        jaw: Jaw of files whose names tell none, None if all names do.
    """

    axes: str
    unit: Unit = "mm"
    jaw: Jaw | None = None

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            SpecError: If the axes are not three different ones, right-handed, or the unit is unknown.
        """
        names = self.axes.split(",")
        if len(names) != 3 or not set(names) <= _AXES.keys() or len({_AXES[name] for name in names}) < 3:
            expected = "three different axes LEFT,UP,FRONT with their signs, such as +x,+z,-y"
            raise SpecError(key="--axes", found=self.axes, expected=expected)
        if np.linalg.det(self.rows) < 0:
            expected = "right-handed axes LEFT,UP,FRONT; one of the signs is wrong, or two axes are exchanged"
            raise SpecError(key="--axes", found=f"{self.axes}, a mirrored scan", expected=expected)
        if self.unit not in _UNIT_MM:
            raise SpecError(key="--unit", found=self.unit, expected=", ".join(_UNIT_MM))

    @property
    def rows(self) -> Points:
        """(3, 3) unit rows left, up and front in the file's coordinates."""
        names = self.axes.split(",")
        return np.stack([np.eye(3)[_AXES[name]] * (1.0 if name[0] == "+" else -1.0) for name in names])

    def pose(self, place: str, mesh: ScanMesh, jaw: Jaw) -> Pose:
        """Pose of a jaw whose biting surfaces are its lowest or its highest points.

        Args:
            place: Where the mesh comes from, for messages.
            mesh: The jaw.
            jaw: Which one.

        Raises:
            ConditionError: If the unit makes it no jaw.
        """
        scale = _UNIT_MM[self.unit]
        points = mesh.vertices[np.unique(mesh.faces)] @ self.rows.T
        width = float(np.ptp(points[:, 0])) * scale
        if not _WIDTH_MM[0] <= width <= _WIDTH_MM[1]:
            expected = f"{_WIDTH_MM[0]:.0f} to {_WIDTH_MM[1]:.0f} mm; --unit and --axes say how files are read"
            raise ConditionError(place, f"a jaw {width:.4g} mm wide", expected)
        return Pose(self.rows, _origin(points, jaw, CROWNS_MM / scale) @ self.rows, scale)


def parse_orientation(axes: str | None, unit: Unit, jaw: Jaw | None) -> Orientation | None:
    """Orientation of the command line; None without axes.

    Raises:
        SpecError: If an option is wrong, or a unit or jaw is given without axes.
    """
    if axes is None:
        for key, value, default in (("--unit", unit, get_args(Unit)[0]), ("--jaw", jaw, None)):
            if value != default:
                raise SpecError(key=key, found=value, expected="it together with --axes, for scans without labels")
        return None
    return Orientation(axes.replace(" ", ""), unit, jaw)


def _origin(points: Points, jaw: Jaw, crowns: float) -> Points:
    """(3,) middle of the crowns at the height of the biting surfaces, in turned coordinates."""
    rootwards = 1.0 if jaw == "upper" else -1.0
    height = points[:, 1] * rootwards
    biting = float(np.percentile(height, _TIPS_PERCENT))
    near = points[height < biting + crowns]
    middle = (near.min(0) + near.max(0)) / 2
    return np.array([middle[0], biting * rootwards, middle[2]])
