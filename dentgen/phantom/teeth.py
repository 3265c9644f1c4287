"""Parametric crown meshes, each in the tooth's own frame.

Frame in mm: x along the arch towards the patient's left, y buccal, z occlusal, origin at the centre of the cervix;
mesial is ``-side * x``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dentgen.phantom.anatomy import CUSPS, Arch, Cusp, FloatArray, IntArray, side_wall
from dentgen.phantom.mesh import grid_faces

COLUMNS, WALL_RINGS, TOP_RINGS = 48, 20, 12
ROOT_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class CrownSize:
    """Crown height, mesiodistal and buccolingual diameter, mm."""

    height: float
    mesiodistal: float
    buccolingual: float


@dataclass(frozen=True, slots=True)
class Crown:
    """Mesh of one crown with its surface coordinates.

    Attributes:
        vertices: (V, 3) mm in the tooth's frame: ``WALL_RINGS`` rings from the root end to the rim, then ``TOP_RINGS``
            to the centre of the biting surface, ``COLUMNS`` vertices each.
        faces: (F, 3) vertex indices.
        fissure: (V,) 1 in an occlusal groove, falling to 0 elsewhere.
        height: (V,) z as a share of crown height, negative on the root.
        mesial: (V,) place along the arch in half widths, mesial positive.
        outward: (V,) place across the arch in half depths, buccal positive.
        edge: (V,) 1 on the biting edge of a front tooth, 0 elsewhere.
    """

    vertices: FloatArray
    faces: IntArray
    fissure: FloatArray
    height: FloatArray
    mesial: FloatArray
    outward: FloatArray
    edge: FloatArray


@dataclass(frozen=True, slots=True)
class _Tooth:
    """Parameters of one tooth's surface."""

    arch: Arch
    position: int
    side: int
    size: CrownSize
    cusps: tuple[Cusp, ...]
    wear: float

    @property
    def half_width(self) -> float:
        return self.size.mesiodistal / 2

    @property
    def half_depth(self) -> float:
        return self.size.buccolingual / 2


def build_crown(arch: Arch, position: int, side: int, size: CrownSize, wear: float, rng: np.random.Generator) -> Crown:
    """Mesh a crown.

    Args:
        arch: Upper or lower.
        position: 1 (central incisor) to 8 (third molar).
        side: +1 on the patient's left, -1 on the right.
        size: Crown size.
        wear: Attrition, 0..1: flattens incisal edges and cusp tips.
        rng: Source of the jitter of the cusps.
    """
    tooth = _Tooth(arch, position, side, size, _jittered_cusps(arch, position, rng), wear)
    rim_x, rim_y = _ring(tooth, np.array([1.0]))
    rim_z, _ = _top(tooth, rim_x[0], rim_y[0])
    wall = _wall(tooth, rim_z - _rounding(tooth, 1.0))
    top, fissure = _cap(tooth, rim_x[0], rim_y[0])
    vertices = np.concatenate([wall, top])
    return Crown(
        vertices=vertices,
        faces=grid_faces(WALL_RINGS + TOP_RINGS, COLUMNS, closed=True),
        fissure=np.concatenate([np.zeros(len(wall)), fissure]),
        height=np.clip(vertices[:, 2] / size.height, -1, 1.1),
        mesial=-side * vertices[:, 0] / tooth.half_width,
        outward=vertices[:, 1] / tooth.half_depth,
        edge=np.concatenate([np.zeros(len(wall)), np.full(len(top), float(position <= 3))]),
    )


def _jittered_cusps(arch: Arch, position: int, rng: np.random.Generator) -> tuple[Cusp, ...]:
    return tuple(
        Cusp(
            cusp.mesial + rng.normal(0, 0.04),
            cusp.buccal + rng.normal(0, 0.04),
            cusp.height + rng.normal(0, 0.015),
            cusp.slope * rng.uniform(0.9, 1.2),
        )
        for cusp in CUSPS.get((arch, position), ())
    )


def _ring(tooth: _Tooth, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Superellipse outlines at heights ``t``: x and y, each (len(t), COLUMNS), mm."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    wall = side_wall(tooth.arch, tooth.position)
    half_x = (wall.half_width(t) * tooth.half_width)[:, None]
    buccal = (wall.buccal(t) * tooth.half_depth)[:, None]
    lingual = (wall.lingual(t) * tooth.half_depth)[:, None]
    power = 2 / wall.exponent(t)[:, None]
    middle, half_y = (buccal + lingual) / 2, (buccal - lingual) / 2
    x = half_x * np.sign(cos) * np.abs(cos) ** power
    y = middle + half_y * np.sign(sin) * np.abs(sin) ** power
    # crowns are narrower on the lingual side; lower second premolars and molars less so
    strong = tooth.position <= 3 or (tooth.arch, tooth.position) in {("upper", 4), ("upper", 5), ("lower", 4)}
    convergence = 0.10 if strong else 0.035
    return x * (1 - convergence * np.clip(-(y - middle) / np.maximum(half_y, 0.1), 0, 1)), y


def _wall(tooth: _Tooth, rim_z: FloatArray) -> FloatArray:
    share = np.linspace(0, 1, WALL_RINGS)
    t = -ROOT_SHARE + (1 + ROOT_SHARE) * share
    x, y = _ring(tooth, t)
    root = ROOT_SHARE * tooth.size.height
    z = -root + (rim_z[None] + root) * share[:, None]
    if tooth.position <= 2:
        groove = np.exp(-(((np.abs(x / tooth.half_width) - 0.36) / 0.16) ** 2))
        y = y - 0.03 * tooth.half_depth * groove * np.clip(t, 0, 1)[:, None] * (y > 0)
    return np.stack([x, y, z], -1).reshape(-1, 3)


def _cap(tooth: _Tooth, rim_x: FloatArray, rim_y: FloatArray) -> tuple[FloatArray, FloatArray]:
    wall = side_wall(tooth.arch, tooth.position)
    centre = float(wall.buccal(1.0) + wall.lingual(1.0)) / 2 * tooth.half_depth
    shrink = np.linspace(1, 0, TOP_RINGS + 1)[1:, None]
    x = rim_x[None] * shrink
    y = centre + (rim_y[None] - centre) * shrink
    z, gap = _top(tooth, x, y)
    z = z - _rounding(tooth, shrink)
    fissure = np.exp(-((gap / 0.22) ** 2)) * (shrink < 0.86) if tooth.position > 3 else np.zeros_like(z)
    return np.stack([x, y, z], -1).reshape(-1, 3), fissure.reshape(-1)


def _rounding(tooth: _Tooth, rim_share: FloatArray | float) -> FloatArray | float:
    """Drop of a front tooth's biting edge towards its rim, mm: a sharp rim would show as a bright stripe."""
    return 0.3 * rim_share**3 if tooth.position <= 3 else 0.0 * rim_share


def _top(tooth: _Tooth, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Height of the biting surface, and the difference of its two highest cones, which is small in a groove."""
    if tooth.position <= 3:
        return _incisal_edge(tooth, x, y), np.ones_like(x)
    cones = np.stack(_cones(tooth, x, y))
    highest = cones.max(0)
    z = highest + np.log(np.exp((cones - highest) * 5.5).sum(0)) / 5.5
    two = np.partition(cones, len(cones) - 2, axis=0)
    gap = two[-1] - two[-2]
    z = z - 0.16 * np.exp(-((gap / 0.16) ** 2))
    return np.minimum(z, tooth.size.height * (1.03 - 0.10 * tooth.wear)), gap


def _incisal_edge(tooth: _Tooth, x: FloatArray, y: FloatArray) -> FloatArray:
    height = tooth.size.height
    mesial = -tooth.side * x / tooth.half_width
    if tooth.position <= 2:
        mesial_drop, distal_drop = (0.11, 0.17) if tooth.arch == "upper" else (0.05, 0.07)
        z = height - mesial_drop * height * np.clip(mesial, 0, 2) ** 5
        z = z - distal_drop * height * np.clip(-mesial, 0, 2) ** 3.5
        z = z - 0.08 * (1 - tooth.wear) * np.cos(6.0 * mesial) * (np.abs(mesial) < 1)
    else:
        slope = np.where(mesial > 0, 0.42, 0.58)
        z = height + 0.22 - slope * np.sqrt((mesial * tooth.half_width) ** 2 + 0.25)
    return np.minimum(z - 0.25 * np.clip(-y, 0, 3), height - 0.5 * tooth.wear)


def _cones(tooth: _Tooth, x: FloatArray, y: FloatArray) -> list[FloatArray]:
    height, half_x, half_y = tooth.size.height, tooth.half_width, tooth.half_depth
    cones = []
    for cusp in tooth.cusps:
        dx, dy = x + tooth.side * cusp.mesial * half_x, y - cusp.buccal * half_y
        square = dx**2 + dy**2
        lobes = 1 + 0.10 * np.cos(3 * np.arctan2(dy, -tooth.side * dx) + 9 * cusp.mesial)
        cones.append(height * cusp.height + 0.2 - cusp.slope * np.sqrt(square + 0.12) * lobes - 0.03 * square)
    for end in (1, -1):  # marginal ridges
        ridge_y = np.clip(y, -0.45 * half_y, 0.45 * half_y)
        cones.append(height * 0.80 + 0.2 - 0.75 * np.sqrt((x + end * 0.78 * half_x) ** 2 + (y - ridge_y) ** 2 + 0.15))
    if tooth.arch == "upper" and tooth.position in {6, 7}:
        cones.append(_oblique_ridge(tooth, x, y))
    return cones


def _oblique_ridge(tooth: _Tooth, x: FloatArray, y: FloatArray) -> FloatArray:
    start = np.array([-tooth.side * 0.40 * tooth.half_width, -0.48 * tooth.half_depth])
    end = np.array([tooth.side * 0.42 * tooth.half_width, 0.52 * tooth.half_depth])
    along = end - start
    share = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
    square = (x - start[0] - share * along[0]) ** 2 + (y - start[1] - share * along[1]) ** 2
    return tooth.size.height * 0.86 + 0.2 - 0.8 * np.sqrt(square + 0.1)
