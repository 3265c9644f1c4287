"""Labels of vertices, checked, and those of the triangles between them."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from dentgen.conditions.labels import FDI_NUMBERS
from dentgen.errors import ConditionError, found_and_expected
from dentgen.ingest.scans.scan_mesh import Jaw

GUM: Final = 0


class _Teeth3ds(BaseModel):
    jaw: Jaw | None = None
    labels: Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(max_length=20_000_000)]


def read_teeth3ds(place: str, content: bytes, vertices: int) -> tuple[NDArray[np.int64], Jaw | None]:
    """Labels (V,) int64 of Teeth3DS's JSON, and the jaw that it names.

    Args:
        place: Where the document comes from, for messages.
        content: JSON with ``labels``, one for every vertex, and ``jaw``.
        vertices: Number of the mesh's vertices.

    Raises:
        ConditionError: If it is damaged, or labels are no FDI numbers of so many vertices.
    """
    try:
        document = _Teeth3ds.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        message, found, expected = found_and_expected(first)
        key = ".".join(map(str, first["loc"]))
        raise ConditionError(place, f"{key}: {found}"[:200], expected or message) from error
    labels = np.array(document.labels, np.int64)
    if len(labels) != vertices:
        raise ConditionError(place, f"{len(labels)} labels", f"one for each of the {vertices} vertices")
    require_numbers(place, labels)
    return labels, document.jaw


def whole_numbers(
    place: str, name: str, values: NDArray[np.float64], count: int, element: str = "vertices"
) -> NDArray[np.int64]:
    """Labels (count,) int64 of a property of a mesh's vertices or triangles.

    Args:
        place: Where the mesh comes from, for messages.
        name: The property.
        values: (count,) float64; other shapes are refused.
        count: Number of vertices or triangles.
        element: Which of these, for messages.

    Raises:
        ConditionError: If there are more or fewer, one is no whole number, or each has several components.
    """
    if values.ndim != 1:
        found = f"values of {name!r} of shape {values.shape}"
        raise ConditionError(place, found, f"a whole number for each of {count} {element}")
    finite = np.nan_to_num(values, nan=-1, posinf=-1, neginf=-1)
    labels = finite.clip(-1, 1e6).astype(np.int64)
    if len(values) != count or not np.array_equal(labels, finite):
        raise ConditionError(
            place, f"{len(values)} values of {name!r}", f"a whole number for each of {count} {element}"
        )
    return labels


def require_numbers(place: str, labels: NDArray[np.int64]) -> None:
    """Require FDI numbers, or 0 for gum.

    Raises:
        ConditionError: If there are others.
    """
    unknown = sorted(set(np.unique(labels).tolist()) - FDI_NUMBERS - {GUM})
    if unknown:
        raise ConditionError(place, f"labels {unknown[:10]}", "FDI numbers, 0 for gum")


def of_faces(labels: NDArray[np.int64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Value (F,) of every triangle: that of two of its corners, else of the first."""
    corner = labels[faces]
    return np.where(corner[:, 1] == corner[:, 2], corner[:, 1], corner[:, 0])
