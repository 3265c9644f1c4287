"""Tooth numbers as colours of triangles or vertices, by a YAML file that says what every colour means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, Field

from dentgen.conditions.labels import FDI_NUMBERS
from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.vertex_labels import GUM, of_faces
from dentgen.spec.yaml_file import read_values, validate_document

_MOST_NAMED: Final = 10


def _known(number: int) -> int:
    if number not in FDI_NUMBERS:
        raise ValueError(f"found {number}, expected an FDI number or gum")
    return number


class _Document(BaseModel):
    colours: Annotated[
        dict[
            Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")],
            Annotated[int, AfterValidator(_known)] | Literal["gum"],
        ],
        Field(min_length=1),
    ]


def read_colours(file: str) -> dict[str, int]:
    """FDI numbers, 0 for gum, by colour such as "#e6194b".

    Raises:
        SpecError: If the file cannot be read, or a colour or number is none.
    """
    document = validate_document(_Document, {"colours": read_values(file)}, file)
    meanings = {colour.lower(): GUM if value == "gum" else value for colour, value in sorted(document.colours.items())}
    if len(meanings) < len(document.colours):
        raise SpecError(file=file, found="a colour twice, in capitals and small letters", expected="every colour once")
    return meanings


def colours_of(place: str, mesh: Any, faces: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Colours (F,) of triangles as 0xrrggbb; of vertices, two of three decide.

    Args:
        place: Where the mesh comes from, for messages.
        mesh: A mesh of trimesh's.
        faces: (F, 3) its triangles.

    Returns:
        The colours, None if the mesh has none.

    Raises:
        ConditionError: If they are damaged.
    """
    try:
        kind = mesh.visual.kind
        if kind not in {"face", "vertex"}:
            return None
        codes = _codes(mesh.visual.face_colors if kind == "face" else mesh.visual.vertex_colors)
    except Exception as error:  # trimesh meets damage with anything
        raise ConditionError(
            place, f"damaged colours ({error})"[:200], "a colour for each triangle or vertex"
        ) from error
    count = len(faces) if kind == "face" else len(mesh.vertices)
    if len(codes) != count:
        raise ConditionError(place, f"{len(codes)} colours", f"one for each of {count}")
    return codes if kind == "face" else of_faces(codes, faces)


def _codes(colours: Any) -> NDArray[np.int64]:
    red, green, blue = np.asarray(colours, np.int64)[:, :3].T
    return np.asarray((red << 16) | (green << 8) | blue)


def labels_of_colours(place: str, colours: NDArray[np.int64], meanings: Mapping[str, int]) -> NDArray[np.int64]:
    """FDI numbers (F,), 0 for gum.

    Args:
        place: Where the mesh comes from, for messages.
        colours: (F,) 0xrrggbb.
        meanings: What ``read_colours`` returned.

    Raises:
        ConditionError: If a colour has no meaning; it names the most frequent of these with their counts.
    """
    found, where, counts = np.unique(colours, return_inverse=True, return_counts=True)
    names = [f"#{colour:06x}" for colour in found.tolist()]
    unknown = sorted((-count, name) for name, count in zip(names, counts.tolist(), strict=True) if name not in meanings)
    if unknown:
        named = ", ".join(f"{name} ({-count} triangles)" for count, name in unknown[:_MOST_NAMED])
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        raise ConditionError(place, f"colours {named}{more}", f"colours of --colours: {', '.join(meanings)}"[:300])
    return np.array([meanings[name] for name in names], np.int64)[where]
