"""The mouth that a photograph of a scan needs: living tissue on the scan, closed edges, lips, cheeks and palate.

Sizes were chosen by eye on open scans of phantoms and of a free mouth model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dentgen.conditions.labels import RIGHT_QUADRANTS, UPPER_QUADRANTS
from dentgen.phantom.anatomy import Arch, FloatArray, IntArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Mesh, Part, Tissue, join_meshes, join_parts
from dentgen.phantom.mouth import build_cheeks, build_floor, build_lips, build_palate, build_tongue
from dentgen.seeding import numpy_generator

#: Distance from the teeth at which the gum of the upper jaw becomes palate, and over which it does, mm.
_PALATE_FROM_MM, _PALATE_WIDTH_MM = 4.0, 20.0
#: How far open edges are continued towards the root, and away from the arch on the cheek's side, mm.
_SKIRT_DOWN_MM, _SKIRT_OUT_MM = 16.0, 5.0
#: Where palate and floor begin: inwards of the teeth's inner surface, and rootwards of their necks, mm.
_INWARDS_MM, _ROOTWARDS_MM = 1.5, 3.0
_STATIONS: Final = 61
#: A scan covers its palate or floor if it has this many vertices this near to the midline, behind the front teeth.
_COVERED, _MIDLINE_MM, _BEHIND_MM = 50, 5.0, 15.0
#: Share of a crown's height from which a front tooth's edge begins.
_EDGE_FROM: Final = 0.92
_FRONT_FORMS: Final = 3


@dataclass(frozen=True, slots=True)
class _Crown:
    """One tooth of a scan: its vertices, centre, and unit directions to the cheek and to the midline."""

    number: int
    vertices: IntArray
    centre: FloatArray
    outward: FloatArray
    mesial: FloatArray
    half_depth_mm: float


@dataclass(frozen=True, slots=True)
class _Jaw:
    """One jaw of a scan: its crowns from the patient's right to the left, its vertices, and where its roots point."""

    arch: Arch
    crowns: tuple[_Crown, ...]
    vertices: IntArray
    rootwards: FloatArray


def living(mesh: Mesh) -> Mesh:
    """A scan with what colours living tissue, and with its open edges continued towards the roots.

    Args:
        mesh: Posed scan with labels.

    Returns:
        The mesh with ``margin_mm``, ``height``, ``buccal``, ``mesial``, ``outward`` and ``edge`` of every vertex, the
        palate's faces as such, and mucosa below the scan's borders.
    """
    attributes = {name: values.copy() for name, values in mesh.attributes.items()}
    tissue, skirts = mesh.tissue.copy(), []
    for jaw in _jaws(mesh):
        for crown in jaw.crowns:
            _place_on_crown(mesh, jaw, crown, attributes)
        palate = _place_on_gum(mesh, jaw, attributes)
        tissue[(tissue == Tissue.GUM) & palate[mesh.faces].all(1)] = Tissue.PALATE
        skirts += list(_skirt(mesh, jaw, attributes))
    return join_meshes([replace(mesh, tissue=tissue, attributes=attributes), *map(_meshed, skirts)])


def surroundings(mesh: Mesh, camera: Camera, group: str, seed: int) -> Mesh:
    """What surrounds a living scan in one view: lips, and in occlusal views cheeks, palate or tongue and floor.

    Args:
        mesh: Posed scan, as the view shows it.
        camera: The camera.
        group: Name of the patient.
        seed: Seed of the set.
    """
    parts = [build_lips(camera, numpy_generator(seed, group, camera.view, "lips"))]
    jaws = _jaws(mesh)
    for jaw in jaws:
        rng = numpy_generator(seed, group, jaw.arch, "mouth")
        if not _is_covered(mesh, jaw):
            parts += _inner_parts(mesh, jaw, rng)
        if len(jaws) == 1:
            front = float(mesh.vertices[np.concatenate([crown.vertices for crown in jaw.crowns]), 2].max())
            parts.append(build_cheeks(jaw.arch, front, jaw.rootwards, rng).moved(_lowered(mesh, jaw)))
    return join_parts(parts)


def _lowered(mesh: Mesh, jaw: _Jaw) -> FloatArray:
    """Shift (3,) from y = 0 to the biting surfaces of a jaw; that of an open mouth is lower."""
    tips = [float((mesh.vertices[crown.vertices] @ jaw.rootwards).min()) for crown in jaw.crowns]
    return jaw.rootwards * float(np.median(tips))


def _jaws(mesh: Mesh) -> list[_Jaw]:
    """Jaws with teeth; gum belongs to the jaw whose teeth are nearer, and vertices that no face uses to none."""
    used = np.zeros(len(mesh.vertices), bool)
    used[np.unique(mesh.faces)] = True
    numbers = _vertex_numbers(mesh)
    is_tooth = numbers > 0
    upper = np.isin(numbers // 10, UPPER_QUADRANTS)
    if is_tooth.any():
        _, nearest = cKDTree(mesh.vertices[is_tooth]).query(mesh.vertices)
        upper = upper[is_tooth][nearest]
    sides: tuple[tuple[Arch, NDArray[np.bool_], float], ...] = (("upper", upper, 1.0), ("lower", ~upper, -1.0))
    return [
        _jaw(arch, mesh, numbers, np.flatnonzero(own & used), np.array([0.0, up, 0.0]))
        for arch, own, up in sides
        if (is_tooth & own).any()
    ]


def _vertex_numbers(mesh: Mesh) -> NDArray[np.uint8]:
    """FDI number (V,) of the tooth that a vertex belongs to, 0 for none; those on a margin belong to the tooth."""
    numbers = np.zeros(len(mesh.vertices), np.uint8)
    np.maximum.at(numbers, mesh.faces.ravel(), np.repeat(mesh.fdi, 3))
    return numbers


def _jaw(arch: Arch, mesh: Mesh, numbers: NDArray[np.uint8], own: IntArray, rootwards: FloatArray) -> _Jaw:
    present = [int(number) for number in np.unique(numbers[own]) if number]
    groups = {number: own[numbers[own] == number] for number in present}
    centres = np.stack([mesh.vertices[group].mean(0) for group in groups.values()])
    middle = np.array([centres[:, 0].mean(), 0.0, centres[:, 2].min()])
    front = np.array([middle[0], 0.0, centres[:, 2].max()])
    crowns = [_crown(number, mesh.vertices, group, middle, front) for number, group in groups.items()]
    # the right half by falling numbers, then the left by rising ones
    return _Jaw(arch, tuple(sorted(crowns, key=_along_the_arch)), own, rootwards)


def _along_the_arch(crown: _Crown) -> int:
    position = crown.number % 10
    return -position if crown.number // 10 in RIGHT_QUADRANTS else position


def _crown(number: int, points: FloatArray, group: IntArray, middle: FloatArray, front: FloatArray) -> _Crown:
    centre = points[group].mean(0)
    outward = _level(centre - middle)
    mesial = np.array([outward[2], 0.0, -outward[0]])
    mesial = mesial if mesial @ (front - centre) >= 0 else -mesial
    half_depth = float(np.ptp(points[group] @ outward)) / 2
    return _Crown(number, group, centre, outward, mesial, half_depth)


def _level(direction: FloatArray) -> FloatArray:
    """Unit direction in the plane of the arch."""
    flat = direction * [1.0, 0.0, 1.0]
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-9))


def _place_on_crown(mesh: Mesh, jaw: _Jaw, crown: _Crown, attributes: dict[str, FloatArray]) -> None:
    points = mesh.vertices[crown.vertices]
    risen = -points @ jaw.rootwards
    height = (risen - risen.min()) / max(float(np.ptp(risen)), 1e-9)
    from_centre = points - crown.centre
    for name, axis in (("outward", crown.outward), ("mesial", crown.mesial)):
        across = from_centre @ axis
        attributes[name][crown.vertices] = 2 * across / max(float(np.ptp(across)), 1e-9)
    attributes["height"][crown.vertices] = height
    attributes["margin_mm"][crown.vertices] = 0.0
    if crown.number % 10 <= _FRONT_FORMS:
        attributes["edge"][crown.vertices] = height > _EDGE_FROM


def _place_on_gum(mesh: Mesh, jaw: _Jaw, attributes: dict[str, FloatArray]) -> NDArray[np.bool_]:
    """Fill the gum's distance from the teeth and its side; returns which vertices (V,) are palate."""
    owner = np.concatenate([np.full(len(crown.vertices), n) for n, crown in enumerate(jaw.crowns)])
    teeth = np.concatenate([crown.vertices for crown in jaw.crowns])
    gum = np.setdiff1d(jaw.vertices, teeth)
    palate = np.zeros(len(mesh.vertices), bool)
    if not len(gum):
        return palate
    distance, nearest = cKDTree(mesh.vertices[teeth]).query(mesh.vertices[gum])
    centres = np.stack([crown.centre for crown in jaw.crowns])[owner[nearest]]
    outward = np.stack([crown.outward for crown in jaw.crowns])[owner[nearest]]
    buccal = ((mesh.vertices[gum] - centres) * outward).sum(1) > 0
    attributes["margin_mm"][gum], attributes["buccal"][gum] = distance, buccal
    inner = (jaw.arch == "upper") & ~buccal & (distance > _PALATE_FROM_MM)
    attributes["height"][gum] = np.where(inner, (distance - _PALATE_FROM_MM) / _PALATE_WIDTH_MM, 0.0)
    palate[gum] = inner
    return palate


def _skirt(mesh: Mesh, jaw: _Jaw, attributes: dict[str, FloatArray]) -> Iterator[Part]:
    """Strips of mucosa that continue the open edges of a jaw's gum."""
    own = np.zeros(len(mesh.vertices), bool)
    own[jaw.vertices] = True
    faces = mesh.faces[(mesh.fdi == 0) & own[mesh.faces].all(1)]
    edges = _open_edges(mesh.faces, faces)
    if not len(edges):
        return
    used, position = np.unique(edges, return_inverse=True)
    position = position.reshape(edges.shape)
    middle = np.mean([crown.centre for crown in jaw.crowns], axis=0)
    away = (mesh.vertices[used] - middle) * [1.0, 0.0, 1.0]
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    outwards = away * (_SKIRT_OUT_MM * attributes["buccal"][used])[:, None]
    lower = mesh.vertices[used] + jaw.rootwards * _SKIRT_DOWN_MM + outwards
    n = len(used)
    quads = np.concatenate([
        np.stack([position[:, 0], position[:, 1], position[:, 1] + n], 1),
        np.stack([position[:, 0], position[:, 1] + n, position[:, 0] + n], 1),
    ])  # fmt: skip
    far = np.concatenate([attributes["margin_mm"][used], np.full(n, _SKIRT_DOWN_MM)])
    side = np.tile(attributes["buccal"][used], 2)
    yield Part(np.concatenate([mesh.vertices[used], lower]), quads, Tissue.GUM, 0, {"margin_mm": far, "buccal": side})


def _open_edges(faces: IntArray, of: IntArray) -> IntArray:
    """Edges (E, 2) of some faces that only one face of the whole mesh has."""
    keys, counts = np.unique(_edges(faces), axis=0, return_counts=True)
    single = keys[counts == 1]
    own = np.unique(_edges(of), axis=0)
    shared = np.concatenate([single, own])
    found, repeated = np.unique(shared, axis=0, return_counts=True)
    return np.asarray(found[repeated == 2])


def _edges(faces: IntArray) -> IntArray:
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.sort(pairs, axis=1)


def _meshed(part: Part) -> Mesh:
    return join_parts([part])


def _is_covered(mesh: Mesh, jaw: _Jaw) -> bool:
    """Whether the scan itself shows the palate or floor between the teeth."""
    front = max(float(crown.centre[2]) for crown in jaw.crowns)
    middle = float(np.mean([crown.centre[0] for crown in jaw.crowns]))
    teeth = np.concatenate([crown.vertices for crown in jaw.crowns])
    points = mesh.vertices[np.setdiff1d(jaw.vertices, teeth)]
    inside = (np.abs(points[:, 0] - middle) < _MIDLINE_MM) & (points[:, 2] < front - _BEHIND_MM)
    return int(inside.sum()) >= _COVERED


def _inner_parts(mesh: Mesh, jaw: _Jaw, rng: np.random.Generator) -> list[Part]:
    edge = _lingual_edge(mesh, jaw)
    if jaw.arch == "upper":
        return [build_palate(edge, jaw.rootwards, rng)]
    width = float(np.ptp(edge[:, 0]))
    tongue = build_tongue(edge, width, jaw.rootwards, rng)
    return [build_floor(edge, jaw.rootwards), tongue.moved(_lowered(mesh, jaw))]


def _lingual_edge(mesh: Mesh, jaw: _Jaw) -> FloatArray:
    """Points (stations, 3) inside the teeth's necks, from the patient's right to the left, evenly along the arch."""
    necks = np.stack([
        crown.centre
        - crown.outward * (crown.half_depth_mm + _INWARDS_MM)
        + jaw.rootwards * (_ROOTWARDS_MM + float((mesh.vertices[crown.vertices] @ jaw.rootwards).max()
                                                 - crown.centre @ jaw.rootwards))
        for crown in jaw.crowns
    ])  # fmt: skip
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(necks, axis=0), axis=1))])
    stations = np.linspace(0.0, along[-1], _STATIONS)
    return np.stack([np.interp(stations, along, necks[:, axis]) for axis in range(3)], 1)
