"""A scan as it is rendered: its files, its mesh and where its left, up and front are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dentgen import storage
from dentgen.errors import ConditionError
from dentgen.ingest.scans.mesh_file import read_mesh
from dentgen.ingest.scans.orientation import Orientation
from dentgen.ingest.scans.patients import ScanFile, ScanFiles
from dentgen.ingest.scans.pose import Pose, find_pose
from dentgen.ingest.scans.scan_mesh import ScanMesh, merge_vertices


@dataclass(frozen=True, slots=True, eq=False)
class PosedScan:
    """A scan that can be rendered: its files, its mesh and its pose."""

    files: ScanFiles
    mesh: ScanMesh
    pose: Pose


def read_scan(
    file: ScanFile, orientation: Orientation | None = None, colours: Mapping[str, int] | None = None
) -> PosedScan:
    """Read a scan and find its pose.

    Args:
        file: The scan.
        orientation: How it lies if its teeth have no labels; None refuses such scans.
        colours: FDI numbers by colour; None leaves colours alone.

    Raises:
        ConditionError: If a file is damaged, or the scan has no pose.
        SpecError: If the library that reads it is not installed.
        StorageError: If a file cannot be read.
    """
    place = storage.without_secrets(file.mesh)
    mesh = read_mesh(file.mesh, file.labels, colours)
    if mesh.labels is None and orientation is not None:
        jaw = file.jaw or orientation.jaw
        if jaw is None:
            expected = "upper or lower at the end of the file's name"
            raise ConditionError(place, "neither labels nor a jaw", expected, advice="or say --jaw")
        mesh = merge_vertices(replace(mesh, jaw=jaw))
        pose = orientation.pose(place, mesh, jaw)
    else:
        pose = find_pose(place, mesh)
    return PosedScan(ScanFiles((file,)), mesh, pose)
