"""Damaged meshes: every scan gets valid labels and a rigid pose, or is refused by name; nothing crashes or grows."""

from __future__ import annotations

import json
import random
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh as untyped_trimesh

from dentgen.conditions.labels import FDI_NUMBERS
from dentgen.errors import DentgenError
from dentgen.ingest.scans.mesh_file import read_mesh
from dentgen.ingest.scans.pose import find_pose
from tests.faults.test_damaged_annotations import damaged

#: Its functions have no types that fit.
trimesh: Any = untyped_trimesh
NUMBERS = (17, 16, 14, 12, 11, 21, 22, 24, 26, 27)
_MEGABYTES = 500


def write_scans(folder: Path) -> list[Path]:
    """An arch of boxes above which a slab is gum, in every format."""
    scene, parts, labels = trimesh.Scene(), list[tuple[str, Any, int]](), list[int]()
    for place, number in enumerate(NUMBERS):
        angle = np.pi * (place + 0.5) / len(NUMBERS)
        box = trimesh.creation.box((5, 8, 5))
        box.apply_translation((-28 * np.cos(angle), -4, 40 * np.sin(angle)))
        parts.append((f"fdi_{number}", box, number))
    gum = trimesh.creation.box((60, 4, 50))
    gum.apply_translation((0, 5, 15))
    parts.append(("gum", gum, 0))
    for name, mesh, number in parts:
        scene.add_geometry(mesh, geom_name=name)
        labels += [number] * len(mesh.vertices)
    joined = trimesh.util.concatenate([mesh for _, mesh, _ in parts])
    joined.vertex_attributes["label"] = np.array(labels, np.int32)
    folder.mkdir()
    (folder / "a.glb").write_bytes(scene.export(file_type="glb"))
    (folder / "b.ply").write_bytes(joined.export(file_type="ply"))
    (folder / "c.ply").write_bytes(joined.export(file_type="ply", encoding="ascii"))
    (folder / "d.stl").write_bytes(joined.export(file_type="stl"))
    (folder / "e.obj").write_text(obj_of(parts))
    (folder / "f.obj").write_text("\n".join(line for line in obj_of(parts).splitlines() if line[0] != "g"))
    (folder / "f.json").write_text(json.dumps({"jaw": "upper", "labels": labels}))
    return sorted(folder.iterdir())


def obj_of(parts: list[tuple[str, Any, int]]) -> str:
    lines = [f"v {x:g} {y:g} {z:g}" for _, mesh, _ in parts for x, y, z in mesh.vertices.tolist()]
    offset = 1
    for name, mesh, _ in parts:
        lines += [f"g {name}", *(f"f {a + offset} {b + offset} {c + offset}" for a, b, c in mesh.faces.tolist())]
        offset += len(mesh.vertices)
    return "\n".join(lines) + "\n"


def accepts(mesh: Path) -> bool:
    """Whether a scan is accepted, and then with valid labels and a rigid pose."""
    labels = mesh.with_suffix(".json")
    try:
        scan = read_mesh(str(mesh), str(labels) if labels.exists() else None)
        pose = find_pose(str(mesh), scan)
    except DentgenError as error:
        problem = error
    else:
        assert scan.labels is not None
        assert set(np.unique(scan.labels).tolist()) <= FDI_NUMBERS | {0}
        assert len(scan.labels) == len(scan.faces)
        np.testing.assert_allclose(pose.axes @ pose.axes.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(pose.axes) > 0
        return True
    assert problem.file
    return False


def check(folder: Path, count: int) -> None:
    originals, before = write_scans(folder / "whole"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sound = [path for path in originals if path.suffix != ".json"]
    assert [path.name for path in sound if not accepts(path)] == ["d.stl"], "an STL file has no labels"
    accepted = 0
    for seed in range(count):
        rng = random.Random(seed)
        copy = Path(shutil.copytree(folder / "whole", folder / "copy"))
        chosen = rng.choice(originals)
        (copy / chosen.name).write_bytes(damaged(chosen.read_bytes(), rng))
        mesh = copy / (chosen.name if chosen.suffix != ".json" else chosen.with_suffix(".obj").name)
        accepted += accepts(mesh)
        shutil.rmtree(copy)
    assert 0 < accepted < count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + _MEGABYTES * 1024


def test_sixty_damaged_scans(tmp_path: Path) -> None:
    check(tmp_path, 60)


@pytest.mark.long
def test_five_thousand_damaged_scans(tmp_path: Path) -> None:
    check(tmp_path, 5000)
