"""A scan is read with its pose, or refused with the name of its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.scans.patients import ScanFile
from dentgen.ingest.scans.posed_scan import read_scan
from tests.ingest.scans.jaws import cast, motion, write_obj


def test_mesh_pose_and_files_belong_together(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "p_upper.obj", cast("upper-occlusal"), 3)
    scan = read_scan(ScanFile("p_upper.obj", str(path), None))
    assert (scan.files.name, scan.files.group, scan.pose.scale) == ("p_upper.obj", "p", 1.0)
    assert np.rad2deg(np.arccos((scan.pose.axes @ motion(3)[0]).diagonal())).max() < 8


def test_a_scan_without_labels_is_refused_by_name(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "p.obj", cast("upper-occlusal"))
    path.write_text("\n".join(line for line in path.read_text().splitlines() if line[0] != "g"))
    with pytest.raises(ConditionError) as caught:
        read_scan(ScanFile("p.obj", str(path), None))
    assert (caught.value.file, caught.value.found) == (str(path), "no labels")
