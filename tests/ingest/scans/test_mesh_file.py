"""Labels are read from groups, Teeth3DS files and PLY properties, and must be FDI numbers of the mesh's vertices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from dentgen.errors import ConditionError
from dentgen.ingest.scans.mesh_file import read_mesh
from tests.ingest.scans.jaws import cast, write_obj, write_teeth3ds

PARTS = cast("upper-occlusal")


def counts() -> dict[int, int]:
    """Triangles by label."""
    found: dict[int, int] = {}
    for part in PARTS:
        found[part.fdi] = found.get(part.fdi, 0) + len(part.faces)
    return found


def write(path: Path, mesh: Any) -> None:
    path.write_bytes(mesh.export(file_type=path.suffix[1:]))


def labels_of(path: Path, labels: Path | None = None) -> dict[int, int]:
    mesh = read_mesh(str(path), None if labels is None else str(labels))
    assert mesh.labels is not None
    return dict(zip(*(values.tolist() for values in np.unique(mesh.labels, return_counts=True)), strict=True))


def test_groups_of_an_obj_file_are_teeth(tmp_path: Path) -> None:
    assert labels_of(write_obj(tmp_path / "a.obj", PARTS)) == counts()


def test_teeth3ds_labels_belong_to_vertices_in_their_order(tmp_path: Path) -> None:
    path = write_teeth3ds(tmp_path / "a.obj", PARTS, "upper")
    assert labels_of(path, path.with_suffix(".json")) == counts()
    assert read_mesh(str(path), str(path.with_suffix(".json"))).jaw == "upper"
    assert read_mesh(str(path)).labels is None


def test_labels_of_a_ply_property(tmp_path: Path) -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    mesh = trimesh.Trimesh(vertices, [[0, 1, 2], [0, 1, 3]], process=False)
    mesh.vertex_attributes["label"] = np.array([11, 11, 0, 11], np.int32)
    write(tmp_path / "a.ply", mesh)
    found = read_mesh(str(tmp_path / "a.ply"))
    assert found.labels is not None
    assert found.labels.tolist() == [11, 11]
    mesh.vertex_attributes["label"] = np.array([99, 11, 0, 11], np.int32)
    write(tmp_path / "a.ply", mesh)
    with pytest.raises(ConditionError) as caught:
        read_mesh(str(tmp_path / "a.ply"))
    assert caught.value.found == "labels [99]"


def test_glb_groups_are_teeth(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for number in (11, 21):
        scene.add_geometry(trimesh.creation.box(), geom_name=f"tooth_{number}", node_name=f"tooth_{number}")
    write(tmp_path / "a.glb", scene)
    assert labels_of(tmp_path / "a.glb") == {11: 12, 21: 12}


def test_stl_has_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "a.stl", trimesh.creation.box())
    mesh = read_mesh(str(tmp_path / "a.stl"))
    assert mesh.labels is None
    assert len(mesh.faces) == 12


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.obj", b""), ("a.obj", b"v 0 0 0\nf 1 2 3\n"), ("a.obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("a.stl", b"solid x\n"), ("a.ply", b"ply\nformat ascii 1.0\nend_header\n"), ("a.glb", b"glTF" + bytes(40)),
        ("a.obj", b"v 1e300 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"), ("a.stl", bytes(80) + b"\xff\xff\xff\x7f"),
    ],
)  # fmt: skip
def test_damaged_meshes_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConditionError) as caught:
        read_mesh(str(tmp_path / name))
    assert caught.value.file == str(tmp_path / name)


@pytest.mark.parametrize("document", ["{bad", {"labels": [11]}, {"labels": "x"}, {"labels": [-1]}, {}, {"jaw": "left"}])
def test_damaged_labels_are_named(document: object, tmp_path: Path) -> None:
    path = write_teeth3ds(tmp_path / "a.obj", PARTS, "upper")
    labels = path.with_suffix(".json")
    labels.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(ConditionError) as caught:
        read_mesh(str(path), str(labels))
    assert caught.value.file == str(labels)


def test_text_and_binary_ply_have_the_same_labels_and_fractions_are_refused(tmp_path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    for kind, label, rest in (("int", "11", None), ("float", "11.9", "a whole number for each of 3 vertices")):
        rows = "".join(f"{point} {label}\n" for point in ("0 0 0", "1 0 0", "0 1 0"))
        (tmp_path / "a.ply").write_text(f"{header}property {kind} label\n{faces}{rows}3 0 1 2\n")
        if rest is None:
            assert labels_of(tmp_path / "a.ply") == {11: 1}
            continue
        with pytest.raises(ConditionError) as caught:
            read_mesh(str(tmp_path / "a.ply"))
        assert caught.value.expected == rest


def test_glb_names_that_say_two_things_are_refused(tmp_path: Path) -> None:
    """A reader that makes names unique by counting would make 12 of a second 11."""
    scene = trimesh.Scene()
    for place in range(2):
        scene.add_geometry(trimesh.creation.box(), geom_name=f"fdi_1{place + 1}")
    write(tmp_path / "a.glb", scene)
    content = (tmp_path / "a.glb").read_bytes().replace(b"fdi_12", b"fdi_11")
    (tmp_path / "a.glb").write_bytes(content)
    with pytest.raises(ConditionError) as caught:
        read_mesh(str(tmp_path / "a.glb"))
    assert "share a name" in caught.value.found
