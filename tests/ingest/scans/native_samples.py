"""VTP and DCM files of a mesh."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

#: Its functions have no types that fit.
support: Any = numpy_support


def vtp(
    vertices: np.ndarray, faces: np.ndarray, name: str = "", values: np.ndarray | None = None, text: bool = False
) -> bytes:
    """A VTP file, its labels of triangles or vertices, whichever there are as many of."""
    points, cells, mesh = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(support.numpy_to_vtk(np.ascontiguousarray(vertices, np.float64), deep=True))
    cells.SetData(3, support.numpy_to_vtkIdTypeArray(np.ascontiguousarray(faces, np.int64).reshape(-1), deep=True))
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    if values is not None:
        array = support.numpy_to_vtk(np.ascontiguousarray(values), deep=True)
        array.SetName(name)
        (mesh.GetCellData() if len(values) == len(faces) else mesh.GetPointData()).AddArray(array)
    writer = vtkXMLPolyDataWriter()
    writer.SetInputData(mesh)
    writer.WriteToOutputStringOn()
    if text:
        writer.SetDataModeToAscii()
    writer.Write()
    return str(writer.GetOutputString()).encode() if text else _binary(writer)


def _binary(writer: Any) -> bytes:
    writer.SetDataModeToBinary()  # base64 of compressed blocks
    writer.Write()
    return str(writer.GetOutputString()).encode()


def dcm(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """A 3Shape file of schema CC that starts anew, with three vertices of its own, for every triangle."""
    corners = np.asarray(vertices, "<f4")[faces].reshape(-1, 3)
    steps, points = base64.b64encode(b"\x04" * len(faces)).decode(), base64.b64encode(corners.tobytes()).decode()
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<HPS version="1.0"><Packed_geometry><Schema>CC</Schema><Binary_data><CC version="1.0">
<Facets facet_count="{len(faces)}" base64_encoded_bytes="{len(faces)}">{steps}</Facets>
<Vertices vertex_count="{len(corners)}" base64_encoded_bytes="{corners.nbytes}">{points}</Vertices>
</CC></Binary_data></Packed_geometry></HPS>""".encode()
