"""A mesh travels to other processes as it is."""

from __future__ import annotations

import pickle

import numpy as np

from dentgen.ingest.scans.scan_mesh import ScanMesh


def test_a_mesh_survives_pickling() -> None:
    mesh = ScanMesh(np.eye(3), np.array([[0, 1, 2]]), np.array([11], np.uint8), "upper")
    copy = pickle.loads(pickle.dumps(mesh))
    assert (copy.vertices == mesh.vertices).all()
    assert (copy.labels.tolist(), copy.jaw) == ([11], "upper")
