"""Mesh files that native libraries read, VTP and 3Shape's DCM: in a child process with limits on time and memory.

What crashes, hangs or grows there is one refused file. Needs vtk and open3sdcm (extra ``meshes``).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.label_schemes import convert
from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.scan_mesh import checked_arrays
from dentgen.ingest.scans.vertex_labels import GUM, of_faces, require_numbers, whole_numbers

#: Endings and the libraries that read them.
_LIBRARIES: Final = {".vtp": ("vtkmodules", "vtk"), ".dcm": ("open3sdcm", "open3sdcm")}
NATIVE_ENDINGS: Final = tuple(_LIBRARIES)
_CHILD: Final = "dentgen.ingest.scans.native_reader"
#: What a child gets of the environment: no keys and tokens, which a hostile file might reach for.
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME")
#: Kind and number of dimensions of every array that a child may return.
_FORMS: Final = {
    "vertices": ("f", 2), "faces": ("i", 2), "values": ("f", 1), "name": ("U", 0), "of_faces": ("b", 0),
}  # fmt: skip
_ONE_NUMBER: Final = "one number for each triangle or vertex"
#: Universal numbering: of this array, and its value for gum, as DentalModelSeg of Slicer writes them.
_UNIVERSAL, _UNIVERSAL_GUM = "Universal_ID", 33


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take: seconds, and bytes of address space."""

    seconds: int = 180
    memory: int = 8 * 2**30


@dataclass(frozen=True, slots=True, eq=False)
class NativeMesh:
    """A mesh as its library gave it, checked.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int64 vertex indices.
        labels: (F,) int64 FDI numbers, 0 for gum; None if the file has none.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    labels: NDArray[np.int64] | None


def read_native(place: str, content: bytes, kind: str, limits: Limits | None = None) -> NativeMesh:
    """Read a mesh and its labels.

    Args:
        place: Where the file comes from, for messages.
        content: The file.
        kind: "vtp" or "dcm".
        limits: What reading may take; None for the usual.

    Raises:
        ConditionError: If the file is damaged, crashes its library or takes too much, or its labels are no teeth's.
        SpecError: If the library is not installed.
    """
    module, package = _LIBRARIES[f".{kind}"]
    if importlib.util.find_spec(module) is None:
        expected = f"{package}: pip install 'dentgen[meshes]'"
        raise SpecError(file=place, found=f"no reader of {kind.upper()} files", expected=expected)
    with TemporaryDirectory(prefix="dentgen-mesh-") as folder:
        source, target = Path(folder, f"scan.{kind}"), Path(folder, "arrays.npz")
        source.write_bytes(content)
        cause = _run_child(kind, source, target, limits or Limits())
        arrays = {} if cause else _arrays(target)
    cause = cause or str(arrays.get("error", "")).replace(f"{folder}{os.sep}", "")
    if cause or not {"vertices", "faces"} <= arrays.keys():
        found = f"an unreadable mesh ({cause or 'no result'})"[:300]
        raise ConditionError(place, found, f"a complete {kind.upper()} file")
    _check_forms(place, arrays)
    vertices, faces = checked_arrays(place, arrays["vertices"], arrays["faces"])
    return NativeMesh(vertices, faces, _labels(place, arrays, faces, len(vertices)))


def _run_child(kind: str, source: Path, target: Path, limits: Limits) -> str:
    """Read a file in a child process; returns why there is no result, "" if there is one."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    arguments = [kind, str(source), str(target), str(limits.seconds), str(limits.memory)]
    readable, writable = os.pipe()  # the child ends when this process, which alone can write, is gone
    try:
        # what the libraries print, without end perhaps, is nothing that a user can use
        done = subprocess.run(  # noqa: S603 - runs a module of dentgen's
            [sys.executable, "-P", "-m", _CHILD, *arguments], check=False, env=environment, timeout=limits.seconds,
            stdin=readable, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no result after {limits.seconds} s"
    finally:
        os.close(readable)
        os.close(writable)
    if done.returncode < 0:
        return f"its library crashed with signal {-done.returncode}"
    return f"its library ended with exit code {done.returncode}" if done.returncode else ""


def _arrays(target: Path) -> dict[str, NDArray[Any]]:
    """What the child wrote, {} if it is damaged."""
    try:
        with np.load(target, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def _check_forms(place: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Require the kinds and dimensions of ``_FORMS``, and labels with their name and element or none of these.

    Raises:
        ConditionError: If an array is none of these.
    """
    for key, array in arrays.items():
        kind, dimensions = _FORMS.get(key, ("", -1))
        if (array.dtype.kind, array.ndim) != (kind, dimensions):
            called = f"{str(arrays['name'])[:50]!r}" if key == "values" and "name" in arrays else key
            found = f"values of {called} of type {array.dtype} and shape {array.shape}"
            expected = f"{dimensions} dimensions of kind {kind!r}" if kind else ", ".join(_FORMS)
            raise ConditionError(place, found, _ONE_NUMBER if key == "values" else expected)
    if len({"values", "name", "of_faces"} & arrays.keys()) not in {0, 3}:
        raise ConditionError(place, f"the arrays {', '.join(sorted(arrays))}", ", ".join(_FORMS))


def _labels(
    place: str, arrays: dict[str, NDArray[Any]], faces: NDArray[np.int64], vertices: int
) -> NDArray[np.int64] | None:
    """Labels (F,) from an array of triangles or vertices, None if there is none."""
    if "values" not in arrays:
        return None
    name, are_faces = str(arrays["name"]), bool(arrays["of_faces"])
    count, element = (len(faces), "triangles") if are_faces else (vertices, "vertices")
    labels = whole_numbers(place, name, arrays["values"], count, element)
    if name == _UNIVERSAL:
        labels = _from_universal(place, labels)
    require_numbers(place, labels)
    return labels if are_faces else of_faces(labels, faces)


def _from_universal(place: str, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    unknown = sorted(set(np.unique(labels).tolist()) - set(range(_UNIVERSAL_GUM + 1)))
    if unknown:
        raise ConditionError(place, f"labels {unknown[:10]} in {_UNIVERSAL}", "universal numbers 1 to 32, 33 for gum")
    teeth = np.where(labels == _UNIVERSAL_GUM, GUM, labels).astype(np.uint8)
    return convert(teeth, "classes33", "fdi").labels.astype(np.int64)
