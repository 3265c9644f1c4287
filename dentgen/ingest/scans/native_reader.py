"""The child process of ``native_files``: one VTP or DCM file by a native library, under limits, into a file of arrays.

It imports little, and nothing of dentgen's: its limits must hold for the library alone.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Names of the array of a VTP file that holds labels, the first that is there counts.
LABEL_ARRAYS: Final = ("label", "labels", "Label", "fdi", "FDI", "Universal_ID")
_COUNTS: Final = re.compile(rb'\b(facet|vertex)_count="(\d{1,12})"')
#: Where in VTK's source a message comes from, with an address that differs from run to run.
_SOURCE_LINE: Final = re.compile(r"\w+: In .*?\(0x[0-9a-f]+\): ", re.DOTALL)
#: What a file of arrays may have: 5 million triangles have 200 MB.
_MAX_BYTES_OUT: Final = 2 * 2**30

Arrays = dict[str, NDArray[Any]]


class UnreadableError(Exception):
    """A file that its library does not read as a whole."""


def main() -> None:
    """Entry point: KIND, the file, where its arrays go, and the most seconds of computing and bytes of memory."""
    kind, source, target, seconds, memory = sys.argv[1:]
    limit(int(seconds), int(memory))
    threading.Thread(target=_end_with_parent, args=(Path(source).parent,), daemon=True).start()
    readers: dict[str, Callable[[str], Arrays]] = {"vtp": read_vtp, "dcm": read_dcm}
    try:
        arrays = readers[kind](source)
    except Exception as error:  # noqa: BLE001 - a library may raise anything; the parent names the file
        arrays = {"error": np.array(f"{type(error).__name__}: {error}"[:300])}
    np.savez(target, **arrays)  # type: ignore[arg-type]


def _end_with_parent(folder: Path) -> None:
    """Wait until stdin ends, which the parent holds open while it lives; then remove the scan's folder and end."""
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def limit(seconds: int, memory: int) -> None:
    """Limit this process; what exceeds it is killed, or gets no more memory."""
    limits = (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, _MAX_BYTES_OUT),
        (resource.RLIMIT_CORE, 0),
    )  # fmt: skip
    for kind, most in limits:
        with suppress(ValueError, OSError):  # a lower limit holds already, or the system has none
            resource.setrlimit(kind, (most, most))


def read_vtp(source: str) -> Arrays:
    """``vertices`` (V, 3), ``faces`` (F, 3), and of labels ``values`` (V,) or (F,), ``name`` and ``of_faces``."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkStringOutputWindow
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    said = vtkStringOutputWindow()
    vtkOutputWindow.SetInstance(said)  # VTK reports damage here, and goes on with what it has
    reader, triangles = vtkXMLPolyDataReader(), vtkTriangleFilter()
    reader.SetFileName(source)
    triangles.SetInputConnection(reader.GetOutputPort())
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    triangles.Update()
    if reader.GetErrorCode() or said.GetOutput().strip():
        first = _SOURCE_LINE.sub("", said.GetOutput()).strip().split("\n")[0]  # the rest says that nothing came of it
        raise UnreadableError(first or f"error {reader.GetErrorCode()}")
    mesh = triangles.GetOutput()
    if not mesh.GetNumberOfPoints() or not mesh.GetNumberOfPolys():
        raise UnreadableError("no triangle")
    arrays = {
        "vertices": np.asarray(vtk_to_numpy(mesh.GetPoints().GetData()), np.float64),
        "faces": np.asarray(vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()), np.int64).reshape(-1, 3),
    }
    for name in LABEL_ARRAYS:
        for of_faces, data in ((True, mesh.GetCellData()), (False, mesh.GetPointData())):
            if (values := data.GetArray(name)) is not None:
                values = np.asarray(vtk_to_numpy(values), np.float64)
                return {**arrays, "values": values, "name": np.array(name), "of_faces": np.array(of_faces)}
    return arrays


def read_dcm(source: str) -> Arrays:
    """``vertices`` (V, 3) and ``faces`` (F, 3) of a 3Shape file; open3sdcm itself only warns of missing ones."""
    import open3sdcm

    mesh = open3sdcm.load(source)
    vertices, faces = np.array(mesh.vertices, np.float64), np.array(mesh.faces).astype(np.int64)
    declared = {kind: int(count) for kind, count in _COUNTS.findall(Path(source).read_bytes())}
    found = {b"vertex": len(vertices), b"facet": len(faces)}
    if declared != found:
        said, read = ({kind.decode(): count for kind, count in counts.items()} for counts in (declared, found))
        raise UnreadableError(f"{read} where the file says {said}")
    return {"vertices": vertices, "faces": faces}


if __name__ == "__main__":
    main()
