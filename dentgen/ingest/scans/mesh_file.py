"""Mesh files with the FDI number of every vertex: groups of teeth, Teeth3DS files beside the mesh, or a PLY property.

Needs trimesh (extra ``formats``).
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from dentgen import storage
from dentgen.conditions.labels import FDI_NUMBERS
from dentgen.errors import ConditionError, SpecError, found_and_expected

MESH_ENDINGS: Final = (".stl", ".ply", ".obj", ".glb")
_MAX_BYTES: Final = 512 * 2**20
_MAX_FACES: Final = 5_000_000
#: Vertices of all groups together, which are copied for every group.
_MAX_COPIES: Final = 50_000_000
_GUM: Final = 0
_TOOTH_NAME: Final = re.compile(r"(?:.*[^0-9])?([1-8][1-8])", re.DOTALL)
#: Names of the vertex property that holds labels in PLY files.
_PLY_LABELS: Final = ("label", "labels", "fdi")
#: What damaged headers and arrays raise.
_PARSE_ERRORS: Final = (
    ValueError, KeyError, IndexError, TypeError, OSError, AttributeError, NotImplementedError, OverflowError,
    struct.error, EOFError, MemoryError, AssertionError, RecursionError, ZeroDivisionError,
)  # fmt: skip

Jaw = Literal["upper", "lower"]


@dataclass(frozen=True, slots=True, eq=False)
class ScanMesh:
    """A triangle mesh in the file's own coordinates.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) vertex indices.
        labels: (F,) uint8 FDI numbers, 0 for gum; None if the file names none.
        jaw: Jaw that the file names, None for both or none named.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    labels: NDArray[np.uint8] | None
    jaw: Jaw | None


class _Teeth3ds(BaseModel):
    jaw: Jaw | None = None
    labels: Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(max_length=20_000_000)]


def read_mesh(url: str, labels_url: str | None = None) -> ScanMesh:
    """Read a mesh and its labels.

    Args:
        url: The mesh.
        labels_url: Labels in Teeth3DS's form (JSON with ``labels``, one for every vertex, and ``jaw``).

    Raises:
        ConditionError: If a file is damaged or too large, or labels are no FDI numbers of its vertices.
        SpecError: If trimesh is not installed.
        StorageError: If a file cannot be read.
    """
    place = storage.without_secrets(url)
    geometries = _geometries(place, _content(url), url.rsplit(".", 1)[-1].lower())
    mesh = _joined(place, geometries)
    if labels_url is None:
        return mesh
    return _labelled(mesh, labels_url)


def _content(url: str) -> bytes:
    content = storage.read_range(url, 0, _MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ConditionError(storage.without_secrets(url), f"over {_MAX_BYTES} bytes", f"at most {_MAX_BYTES} bytes")
    return content


def _geometries(place: str, content: bytes, kind: str) -> Mapping[str, Any]:
    """Meshes of a file by the name of their group, in its order of vertices."""
    try:
        import trimesh
    except ImportError as error:
        expected = "trimesh: pip install 'dentgen[formats]'"
        raise SpecError(file=place, found="no reader of meshes", expected=expected) from error
    _check_size(place, content, kind)
    grouped: Any = {"split_groups": True, "group_material": False, "skip_materials": True} if kind == "obj" else {}
    try:
        scene = trimesh.load_scene(
            io.BytesIO(content), file_type=kind, process=False, maintain_order=True, resolver=None, **grouped
        )
        placed = scene.dump(concatenate=False) if kind == "glb" else scene.geometry.values()
        return {str(mesh.metadata.get("name", name)): mesh for name, mesh in zip(scene.geometry, placed, strict=False)}
    except Exception as error:  # trimesh meets damage with anything, NameError included
        found = f"an unreadable mesh ({type(error).__name__}: {error})"[:200]
        raise ConditionError(place, found, f"a complete {kind.upper()} file") from error


def _check_size(place: str, content: bytes, kind: str) -> None:
    """Refuse what would become far larger in memory than it is, and GLB meshes whose names say two things.

    Raises:
        ConditionError: If the file is one of these.
    """
    if kind == "obj" and content.count(b"\nv ") * (1 + content.count(b"\ng ")) > _MAX_COPIES:
        raise ConditionError(place, "too many groups for its vertices", f"at most {_MAX_COPIES} copies of vertices")
    if kind == "glb":
        _check_glb(place, content)


def _check_glb(place: str, content: bytes) -> None:
    try:
        length = struct.unpack_from("<I", content, 12)[0]
        document = json.loads(content[20 : 20 + length])
        meshes, nodes = document.get("meshes", []), document.get("nodes", [])
        names = [str(mesh.get("name", "")) for mesh in meshes]
        uses = [node["mesh"] for node in nodes if "mesh" in node]
        count = sum(int(accessor["count"]) for accessor in document.get("accessors", []))
        plain = all("bufferView" in accessor for accessor in document.get("accessors", []))
        single = all(len(mesh["primitives"]) == 1 for mesh in meshes)
    except (*_PARSE_ERRORS, UnicodeDecodeError) as error:
        raise ConditionError(place, f"a damaged header ({error})"[:200], "a GLB file") from error
    if count > _MAX_COPIES or not plain:
        raise ConditionError(place, f"{count} values, or values that the file does not hold", "a jaw")
    if not single or len(set(names)) < len(names) or len(set(uses)) < len(uses):
        expected = "a name, one part and one place for every mesh"
        raise ConditionError(place, "meshes that share a name, have several parts, or stand in two places", expected)


def _joined(place: str, geometries: Mapping[str, Any]) -> ScanMesh:
    vertices, faces, labels, offset = [], [], [], 0
    numbers = {name: _number(name) for name in geometries}
    for name, mesh in geometries.items():
        points, triangles = _checked(place, mesh)
        vertices.append(points)
        faces.append(triangles + offset)
        own = _ply_labels(place, mesh)
        labels.append(np.full(len(triangles), numbers[name], np.uint8) if own is None else _of_faces(own, triangles))
        offset += len(points)
    if not sum(map(len, faces)):
        raise ConditionError(place, "no triangle", "a triangle mesh")
    if sum(map(len, faces)) > _MAX_FACES:
        raise ConditionError(place, f"{sum(map(len, faces))} triangles", f"at most {_MAX_FACES}")
    joined = np.concatenate(labels)
    return ScanMesh(np.concatenate(vertices), np.concatenate(faces), joined if joined.any() else None, None)


def _number(name: str) -> int:
    """FDI number that a group's name ends with, 0 for gum and everything else."""
    found = _TOOTH_NAME.fullmatch(name)
    return int(found[1]) if found and int(found[1]) in FDI_NUMBERS else _GUM


def _checked(place: str, mesh: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    faces = getattr(mesh, "faces", None)
    if faces is None:
        raise ConditionError(place, f"a {type(mesh).__name__}", "triangle meshes")
    try:
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(faces, np.int64)
    except _PARSE_ERRORS as error:
        raise ConditionError(place, f"values that are no numbers ({error})"[:200], "a triangle mesh") from error
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        found = f"vertices {vertices.shape} and triangles {faces.shape}"
        raise ConditionError(place, found, "three coordinates a vertex and three vertices a triangle")
    if not np.isfinite(vertices).all() or (np.abs(vertices) > 1e6).any():
        raise ConditionError(place, "coordinates that are not finite, or beyond a million", "a jaw")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise ConditionError(place, f"a triangle of vertex {faces.max()}", f"vertices 0 to {len(vertices) - 1}")
    return vertices, faces


def _ply_labels(place: str, mesh: Any) -> NDArray[np.int64] | None:
    """Labels (V,) of a PLY file's vertices, None if it has none."""
    raw = mesh.metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
    if raw is None:
        return None
    # binary files give an array with fields, text files a dictionary
    names = raw.keys() if isinstance(raw, dict) else getattr(raw.dtype, "names", None) or ()
    for name in _PLY_LABELS:
        if name in names:
            try:
                values = np.nan_to_num(np.asarray(raw[name], np.float64).reshape(-1), nan=-1, posinf=-1, neginf=-1)
            except _PARSE_ERRORS as error:
                raise ConditionError(place, f"a property {name!r} that is no number", "FDI numbers") from error
            labels = values.astype(np.int64)
            if len(values) != len(mesh.vertices) or not np.array_equal(labels, values):
                found = f"{len(values)} values of {name!r}"
                raise ConditionError(place, found, f"a whole number for each of {len(mesh.vertices)} vertices")
            _require_numbers(place, labels)
            return labels
    return None


def _labelled(mesh: ScanMesh, labels_url: str) -> ScanMesh:
    place = storage.without_secrets(labels_url)
    try:
        document = _Teeth3ds.model_validate_json(_content(labels_url))
    except ValidationError as error:
        first = error.errors()[0]
        message, found, expected = found_and_expected(first)
        key = ".".join(map(str, first["loc"]))
        raise ConditionError(place, f"{key}: {found}"[:200], expected or message) from error
    labels = np.array(document.labels, np.int64)
    if len(labels) != len(mesh.vertices):
        raise ConditionError(place, f"{len(labels)} labels", f"one for each of the {len(mesh.vertices)} vertices")
    _require_numbers(place, labels)
    return ScanMesh(mesh.vertices, mesh.faces, _of_faces(labels, mesh.faces), document.jaw)


def _require_numbers(place: str, labels: NDArray[np.int64]) -> None:
    unknown = sorted(set(np.unique(labels).tolist()) - FDI_NUMBERS - {_GUM})
    if unknown:
        raise ConditionError(place, f"labels {unknown[:10]}", "FDI numbers, 0 for gum")


def _of_faces(labels: NDArray[np.int64], faces: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Label (F,) of every triangle: that of two of its corners, else of the first."""
    corner = labels[faces]
    return np.where(corner[:, 1] == corner[:, 2], corner[:, 1], corner[:, 0]).astype(np.uint8)
