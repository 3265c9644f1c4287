"""Mesh files with the FDI number of every vertex: groups of teeth, colours, a Teeth3DS file or a property.

Needs trimesh (extra ``formats``), for VTP and DCM what ``native_files`` needs.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import FDI_NUMBERS
from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.face_colours import colours_of, labels_of_colours
from dentgen.ingest.scans.native_files import NATIVE_ENDINGS, NativeMesh, read_native
from dentgen.ingest.scans.scan_mesh import ScanMesh, checked_arrays
from dentgen.ingest.scans.vertex_labels import GUM, of_faces, read_teeth3ds, require_numbers, whole_numbers

MESH_ENDINGS: Final = (".stl", ".ply", ".obj", ".glb", *NATIVE_ENDINGS)
_MAX_BYTES: Final = 512 * 2**20
_MAX_FACES: Final = 5_000_000
#: Vertices of all groups together, which are copied for every group.
_MAX_COPIES: Final = 50_000_000
_TOOTH_NAME: Final = re.compile(r"(?:.*[^0-9])?([1-8][1-8])", re.DOTALL)
#: Names of the vertex property that holds labels in PLY files.
_PLY_LABELS: Final = ("label", "labels", "fdi")
#: What damaged headers and arrays raise.
_PARSE_ERRORS: Final = (
    ValueError, KeyError, IndexError, TypeError, OSError, AttributeError, NotImplementedError, OverflowError,
    struct.error, EOFError, MemoryError, AssertionError, RecursionError, ZeroDivisionError,
)  # fmt: skip


def read_mesh(url: str, labels_url: str | None = None, meanings: Mapping[str, int] | None = None) -> ScanMesh:
    """Read a mesh and its labels.

    Args:
        url: The mesh.
        labels_url: Labels in Teeth3DS's form (JSON with ``labels``, one for every vertex, and ``jaw``).
        meanings: FDI numbers by colour, which come before groups and properties; None leaves colours alone.

    Raises:
        ConditionError: If a file is damaged or too large, or labels are no FDI numbers of its vertices.
        SpecError: If the library that reads it is not installed.
        StorageError: If a file cannot be read.
    """
    place = storage.without_secrets(url)
    kind, content = url.rsplit(".", 1)[-1].lower(), _content(url)
    is_native = f".{kind}" in NATIVE_ENDINGS
    geometries = {"": read_native(place, content, kind)} if is_native else _geometries(place, content, kind)
    mesh = _joined(place, geometries, meanings if labels_url is None else None)
    if labels_url is None:
        return mesh
    labels, jaw = read_teeth3ds(storage.without_secrets(labels_url), _content(labels_url), len(mesh.vertices))
    return ScanMesh(mesh.vertices, mesh.faces, of_faces(labels, mesh.faces).astype(np.uint8), jaw)


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


def _joined(place: str, geometries: Mapping[str, Any], meanings: Mapping[str, int] | None) -> ScanMesh:
    vertices, faces, labels, offset = [], [], [], 0
    for name, mesh in geometries.items():
        points, triangles = _checked(place, mesh)
        vertices.append(points)
        faces.append(triangles + offset)
        labels.append(_labels(place, name, mesh, triangles, meanings))
        offset += len(points)
    if not sum(map(len, faces)):
        raise ConditionError(place, "no triangle", "a triangle mesh")
    if sum(map(len, faces)) > _MAX_FACES:
        raise ConditionError(place, f"{sum(map(len, faces))} triangles", f"at most {_MAX_FACES}")
    joined = np.concatenate(labels).astype(np.uint8)
    return ScanMesh(np.concatenate(vertices), np.concatenate(faces), joined if joined.any() else None, None)


def _labels(
    place: str, name: str, mesh: Any, faces: NDArray[np.int64], meanings: Mapping[str, int] | None
) -> NDArray[np.int64]:
    """Labels (F,) of a group by its colours, a property of its vertices, or its name."""
    if isinstance(mesh, NativeMesh):
        return np.zeros(len(faces), np.int64) if mesh.labels is None else mesh.labels
    if meanings is not None and (colours := colours_of(place, mesh, faces)) is not None:
        return labels_of_colours(place, colours, meanings)
    own = _ply_labels(place, mesh)
    return np.full(len(faces), _number(name), np.int64) if own is None else of_faces(own, faces)


def _number(name: str) -> int:
    """FDI number that a group's name ends with, 0 for gum and everything else."""
    found = _TOOTH_NAME.fullmatch(name)
    return int(found[1]) if found and int(found[1]) in FDI_NUMBERS else GUM


def _checked(place: str, mesh: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    faces = getattr(mesh, "faces", None)
    if faces is None:
        raise ConditionError(place, f"a {type(mesh).__name__}", "triangle meshes")
    try:
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(faces, np.int64)
    except _PARSE_ERRORS as error:
        raise ConditionError(place, f"values that are no numbers ({error})"[:200], "a triangle mesh") from error
    return checked_arrays(place, vertices, faces)


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
                values = np.asarray(raw[name], np.float64).reshape(-1)
            except _PARSE_ERRORS as error:
                raise ConditionError(place, f"a property {name!r} that is no number", "FDI numbers") from error
            labels = whole_numbers(place, name, values, len(mesh.vertices))
            require_numbers(place, labels)
            return labels
    return None
