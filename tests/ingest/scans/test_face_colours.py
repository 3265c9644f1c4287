"""Colours are labels where a file says what they mean; others are named with their counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh as untyped_trimesh

from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.face_colours import colours_of, labels_of_colours, read_colours
from dentgen.ingest.scans.mesh_file import read_mesh
from tests.ingest.scans.jaws import cast, write_obj

#: Its functions have no types that fit.
trimesh: Any = untyped_trimesh


def colour_of(number: int) -> tuple[int, int, int]:
    return (200, 2 * number, number)


def write_coloured(file: Path, *, of_vertices: bool = False) -> Path:
    """A phantom's jaw with the tooth numbers as colours."""
    parts = cast("upper-occlusal")
    meshes = []
    for part in parts:
        mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
        colours = np.tile((*colour_of(part.fdi), 255), (len(part.vertices if of_vertices else part.faces), 1))
        setattr(mesh.visual, "vertex_colors" if of_vertices else "face_colors", colours.astype(np.uint8))
        meshes.append(mesh)
    joined = trimesh.util.concatenate(meshes)
    content = joined.export(file_type=file.suffix[1:])
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def meanings() -> dict[str, int]:
    return {"#{:02x}{:02x}{:02x}".format(*colour_of(part.fdi)): part.fdi for part in cast("upper-occlusal")}


@pytest.mark.parametrize(("name", "of_vertices"), [("a.ply", False), ("a.ply", True), ("a.obj", True), ("a.glb", True)])
def test_colours_are_the_labels_that_groups_are(name: str, of_vertices: bool, tmp_path: Path) -> None:
    path = write_coloured(tmp_path / name, of_vertices=of_vertices)
    grouped = read_mesh(str(write_obj(tmp_path / "groups.obj", cast("upper-occlusal"), None)))
    coloured = read_mesh(str(path), None, meanings())
    assert coloured.labels is not None
    assert grouped.labels is not None
    found, known = (np.bincount(mesh.labels, minlength=50) for mesh in (coloured, grouped) if mesh.labels is not None)
    assert (found == known).all()
    assert read_mesh(str(path)).labels is None, "without meanings colours are colours"


def test_files_without_colours_keep_their_own_labels(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "a.obj", cast("upper-occlusal"), None)
    labels, own = read_mesh(str(path), None, meanings()).labels, read_mesh(str(path)).labels
    assert labels is not None
    assert own is not None
    assert (labels == own).all()


def test_unknown_colours_are_named_with_their_counts() -> None:
    colours = np.repeat(np.arange(12), np.arange(12, 0, -1))
    with pytest.raises(ConditionError) as caught:
        labels_of_colours("x.ply", colours, {"#000001": 11, "#0000ff": 0})
    assert caught.value.file == "x.ply"
    assert caught.value.found.startswith("colours #000000 (12 triangles), #000002 (10 triangles), ")
    assert caught.value.found.endswith("#00000a (2 triangles) and 1 more")
    assert "#000001, #0000ff" in caught.value.expected
    assert labels_of_colours("x", np.array([1, 255, 1]), {"#000001": 11, "#0000ff": 0}).tolist() == [11, 0, 11]


def test_the_file_of_meanings_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "colours.yaml"
    file.write_text('"#E6194b": 11\n"#ffffff": gum\n')
    assert read_colours(str(file)) == {"#e6194b": 11, "#ffffff": 0}
    for text in ('"#e6194b": 19', '"#e6194b": tooth', '"e6194b": 11', "", "[1]", '"#E6194B": 11\n"#e6194b": 12'):
        file.write_text(text)
        with pytest.raises(SpecError) as caught:
            read_colours(str(file))
        assert caught.value.file == str(file)


def test_damaged_colours_are_refused() -> None:
    class Damaged:
        vertices = np.zeros((3, 3))

        class visual:  # noqa: N801 - trimesh's name
            kind = "vertex"
            vertex_colors = np.zeros((2, 4))

    with pytest.raises(ConditionError) as caught:
        colours_of("x.ply", Damaged(), np.array([[0, 1, 2]]))
    assert (caught.value.file, caught.value.found) == ("x.ply", "2 colours")
