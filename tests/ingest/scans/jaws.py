"""Phantom jaws as labelled mesh files, turned and in other units."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import View
from dentgen.phantom.mesh import Part, Tissue, oriented_normals
from dentgen.phantom.patient import build_patient

Points = np.ndarray


#: Edge of the cubes whose vertices become one, mm: a tenth of a phantom's triangles, in files that are read in no time.
_CELL_MM = 1.6


@cache
def cast(view: View = "frontal", dentition: Dentition = "permanent") -> tuple[Part, ...]:
    """Parts of a phantom's cast with few triangles; "frontal" has both jaws."""
    return tuple(map(_coarse, fine_cast(view, dentition)))


@cache
def fine_cast(view: View = "frontal", dentition: Dentition = "permanent") -> tuple[Part, ...]:
    """Parts of a phantom's cast as it is."""
    group = "s7-p000004" if dentition == "permanent" else "s7-c000004"
    return tuple(build_patient(7, group, dentition).cast_parts(view))


def _coarse(part: Part) -> Part:
    """The part with the first vertex of every cube in place of all, and without the triangles that this makes flat."""
    _, kept, place = np.unique(np.floor(part.vertices / _CELL_MM), axis=0, return_index=True, return_inverse=True)
    faces = place.reshape(-1)[part.faces]
    _, first = np.unique(np.sort(faces, 1), axis=0, return_index=True)
    first.sort()
    faces = faces[first][(faces[first] != np.roll(faces[first], 1, axis=1)).all(1)]
    assert isinstance(part.tissue, Tissue), "one tissue for all triangles"
    attributes = {name: values[kept] for name, values in part.attributes.items()}
    return replace(part, vertices=part.vertices[kept], faces=faces, attributes=attributes)


def jaws(whole: tuple[Part, ...] | None = None) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Parts of the upper and of the lower jaw of a cast, in bite."""
    parts = cast() if whole is None else whole
    first = next(place for place, part in enumerate(parts) if part.fdi // 10 in (3, 4))
    return parts[:first], parts[first:]


def motion(seed: int) -> tuple[Points, Points]:
    """A random rotation (3, 3) and shift (3,)."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return turn * np.sign(np.linalg.det(turn)), rng.uniform(-50, 50, 3)


def moved(parts: tuple[Part, ...], seed: int | None, unit_mm: float) -> list[Points]:
    """Vertices of all parts in the file's coordinates."""
    turn, shift = (np.eye(3), np.zeros(3)) if seed is None else motion(seed)
    return [(part.vertices @ turn.T + shift) / unit_mm for part in parts]


def outward_faces(part: Part) -> np.ndarray:
    """Triangles of a part that face outwards, as scanners write them."""
    corners, normals = part.vertices[part.faces], oriented_normals(part)[part.faces].mean(1)
    facing = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * normals).sum()
    return part.faces if facing >= 0 else part.faces[:, ::-1]


def write_obj(file: Path, parts: tuple[Part, ...], seed: int | None = 0, unit_mm: float = 1.0) -> Path:
    """An OBJ file with a group for every tooth."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines, offset = [], 1
    for vertices in moved(parts, seed, unit_mm):
        lines += [f"v {x!r} {y!r} {z!r}" for x, y, z in vertices.tolist()]
    for part in parts:
        lines.append(f"g {f'fdi_{part.fdi}' if part.fdi else 'gum'}")
        lines += [f"f {a + offset} {b + offset} {c + offset}" for a, b, c in outward_faces(part).tolist()]
        offset += len(part.vertices)
    file.write_text("\n".join(lines) + "\n")
    return file


def write_unlabelled(file: Path, parts: tuple[Part, ...], unit_mm: float = 1.0) -> Path:
    """An OBJ file without groups, as the phantom lies."""
    write_obj(file, parts, None, unit_mm)
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.startswith("g ")) + "\n")
    return file


def write_teeth3ds(file: Path, parts: tuple[Part, ...], jaw: str, seed: int | None = 0) -> Path:
    """An OBJ file without groups and Teeth3DS's labels beside it."""
    write_obj(file, parts, seed)
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.startswith("g ")) + "\n")
    labels = [part.fdi for part in parts for _ in part.vertices]
    file.with_suffix(".json").write_text(json.dumps({"jaw": jaw, "labels": labels, "instances": labels}))
    return file
