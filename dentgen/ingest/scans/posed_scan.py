"""A scan as it is rendered: its files, its mesh and where its left, up and front are."""

from __future__ import annotations

from dataclasses import dataclass

from dentgen import storage
from dentgen.ingest.scans.mesh_file import ScanMesh, read_mesh
from dentgen.ingest.scans.patients import ScanFile, ScanFiles
from dentgen.ingest.scans.pose import Pose, find_pose


@dataclass(frozen=True, slots=True, eq=False)
class PosedScan:
    """A scan that can be rendered: its files, its mesh and its pose."""

    files: ScanFiles
    mesh: ScanMesh
    pose: Pose


def read_scan(file: ScanFile) -> PosedScan:
    """Read a scan and find its pose.

    Raises:
        ConditionError: If a file is damaged, or the scan has no pose.
        SpecError: If the library that reads it is not installed.
        StorageError: If a file cannot be read.
    """
    mesh = read_mesh(file.mesh, file.labels)
    return PosedScan(ScanFiles((file,)), mesh, find_pose(storage.without_secrets(file.mesh), mesh))
