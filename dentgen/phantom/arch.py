"""The dental arch: its curve, and the teeth posed along it.

World frame in mm: x to the patient's left, y up, z to the viewer; the occlusal plane is y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from dentgen.phantom.anatomy import (
    BUCCAL_CREST_MM,
    CROWN_SIZE_MM,
    DECIDUOUS_CROWN_SIZE_MM,
    DECIDUOUS_FORM,
    DECIDUOUS_SCALE,
    TIP_DEG,
    TIP_LEVEL_MM,
    TORQUE_DEG,
    Arch,
    FloatArray,
    fdi_number,
    side_wall,
)
from dentgen.phantom.mesh import Part, Tissue
from dentgen.phantom.style import Shape
from dentgen.phantom.teeth import Crown, CrownSize, build_crown

_CONTACT_OVERLAP_MM = 0.32  # overlap of neighbours that closes their contacts, found by eye
_POINTS = 1201
_BETA_SHARE = 0.35  # weight of the beta function; chosen by eye


@dataclass(frozen=True, slots=True)
class ArchCurve:
    """The line through buccal cusps and incisal edges, by arc length from the midline.

    Attributes:
        x, z: Splines over arc length s, mm; s > 0 on the patient's left.
        half_length_mm: Largest |s| of the arch.
        depth_mm: Distance from the front to the plane of the arch's ends.
    """

    x: CubicSpline
    z: CubicSpline
    half_length_mm: float
    depth_mm: float

    def frame(self, s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Points (mm), unit tangents and outward unit normals, each (n, 3), at arc lengths ``s`` (n,) mm.

        The curve continues as a straight line beyond its ends.
        """
        inside = np.clip(s, -self.half_length_mm, self.half_length_mm)
        zero = np.zeros_like(inside)
        point = np.stack([self.x(inside), zero, self.z(inside)], -1)
        tangent = np.stack([self.x(inside, 1), zero, self.z(inside, 1)], -1)
        tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
        point = point + tangent * (s - inside)[..., None]
        normal = np.stack([-tangent[..., 2], zero, tangent[..., 0]], -1)
        # s runs from the patient's right to left (x rising), so this normal points out of the mouth
        return point, tangent, normal


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one tooth on the arch, present or missing.

    Attributes:
        fdi: FDI number of the tooth.
        form: Position 1 to 8 in the permanent dentition whose shape and posture the tooth takes.
        side: +1 on the patient's left, -1 on the right.
        s: Centre along the arch, mm from the midline.
        width_mm: Extent along the arch.
        size: Crown size.
        level_mm: How far the tip reaches beyond the occlusal plane.
        outward_mm: Outward shift of the crown centre from the arch line.
        crown: Mesh in the tooth's own frame; None if the tooth is missing.
        vertices: (V, 3) mm, the mesh posed in the world; None if the tooth is missing.
        broken: (V,) 1 where the crown is broken off; None if it is whole.
    """

    fdi: int
    form: int
    side: int
    s: float
    width_mm: float
    size: CrownSize
    level_mm: float
    outward_mm: float
    crown: Crown | None
    vertices: FloatArray | None
    broken: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class DentalArch:
    """One arch of posed teeth.

    Attributes:
        arch: Upper or lower.
        curve: The arch line.
        slots: Places of the teeth, from the patient's right to the left.
        rootwards: (3,) unit vector from crown to root.
    """

    arch: Arch
    curve: ArchCurve
    slots: tuple[Slot, ...]
    rootwards: FloatArray

    @property
    def front_mm(self) -> float:
        """Largest z of any tooth, mm."""
        return max(float(slot.vertices[:, 2].max()) for slot in self.slots if slot.vertices is not None)

    def tooth_parts(self) -> list[Part]:
        """Meshes of the teeth that are not missing."""
        return [_tooth_part(slot) for slot in self.slots if slot.crown is not None]


def build_arch(arch: Arch, shape: Shape, front_mm: float | None, rng: np.random.Generator) -> DentalArch:
    """Pose one arch of teeth.

    Args:
        arch: Upper or lower.
        shape: The patient's shape.
        front_mm: z of the arch line at the midline; None sets it to the arch's own depth, so that the arch ends at
            z = 0.
        rng: Source of the jitter of sizes and postures.
    """
    upper = arch == "upper"
    crowding = shape.crowding * (1.0 if upper else 1.3)
    positions = _positions(arch, shape)
    sizes = {p: _jittered_size(arch, p, shape, rng) for p in positions}
    spaces = {p: max(0.0, shape.gap_mm + rng.normal(0, 0.08)) - _CONTACT_OVERLAP_MM for p in positions}
    natural = sum(sizes[p].mesiodistal + spaces[p] for p in positions)
    length = natural * (1 - 0.03 * crowding)
    curve = _fit_curve(length + 1.5, shape.arch_width_mm - (0 if upper else 5), shape.arch_tapering, front_mm)
    rootwards = np.array([0.0, 1.0 if upper else -1.0, 0.0])
    slots = []
    for side in (-1, 1):
        reached = 0.0
        for p in positions:
            width = (sizes[p].mesiodistal + spaces[p]) * length / natural
            s = side * (reached + width / 2)
            reached += width
            slots.append(_pose(arch, p, side, s, width, sizes[p], shape, crowding, natural, curve, rootwards, rng))
    return DentalArch(arch, curve, tuple(sorted(slots, key=lambda slot: slot.s)), rootwards)


def _positions(arch: Arch, shape: Shape) -> range:
    if shape.dentition == "deciduous":
        return range(1, 6)
    return range(1, 9 if shape.third_molars[0 if arch == "upper" else 1] else 8)


def _jittered_size(arch: Arch, position: int, shape: Shape, rng: np.random.Generator) -> CrownSize:
    table = CROWN_SIZE_MM if shape.dentition == "permanent" else DECIDUOUS_CROWN_SIZE_MM
    return CrownSize(*(np.array(table[arch][position]) * shape.size * (1 + rng.normal(0, 0.035, 3))))


def _fit_curve(half_length: float, width: float, tapering: float, front_mm: float | None) -> ArchCurve:
    """Bisect the arch's depth until half its arc length is ``half_length``.

    The curve mixes the beta function of Braun et al. 1998 with an even polynomial, whose flatter front keeps the
    canines as far apart as published measurements.
    """
    x = np.linspace(-width / 2, width / 2, _POINTS)
    share = np.abs(2 * x / width)
    beta = np.clip((0.5 + 0.985 * x / width) * (0.5 - 0.985 * x / width), 0, None) ** 0.8
    beta = (beta - beta[0]) / (beta[_POINTS // 2] - beta[0])
    polynomial = 1 - (tapering * share**2 + (1 - tapering) * share**6)
    profile = _BETA_SHARE * beta + (1 - _BETA_SHARE) * polynomial
    low, high = 15.0, 75.0
    depth = (low + high) / 2
    for _ in range(30):
        if np.hypot(np.diff(x), depth * np.diff(profile)).sum() / 2 < half_length:
            low = depth
        else:
            high = depth
        depth = (low + high) / 2
    z = depth * profile
    s = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    s -= s[_POINTS // 2]
    shift = 0.0 if front_mm is None else front_mm - depth
    return ArchCurve(CubicSpline(s, x), CubicSpline(s, z + shift), half_length, depth)


def _pose(
    arch: Arch, position: int, side: int, s: float, width: float, size: CrownSize, shape: Shape,
    crowding: float, natural: float, curve: ArchCurve, rootwards: FloatArray, rng: np.random.Generator,
) -> Slot:  # fmt: skip
    """Tip, torque, rotate and lift one tooth into place."""
    form = position if shape.dentition == "permanent" else DECIDUOUS_FORM[position]
    scale = 1.0 if shape.dentition == "permanent" else DECIDUOUS_SCALE
    index = form - 1
    mobility = 1.0 if position <= 3 else 0.5
    shift = rng.normal(0, 0.18 + 0.6 * crowding * mobility)
    rotation = rng.normal(0, 2 + 8 * crowding * mobility)
    lift = rng.normal(0, 0.15 + 0.25 * crowding)
    tip = TIP_DEG[arch][index] * 0.7 + rng.normal(0, 2)
    torque = TORQUE_DEG[arch][index] * 0.8 + rng.normal(0, 2)
    spee = 2.16 * (abs(s) / natural - 0.55) ** 2 if form > 3 else 0.0
    level = scale * (TIP_LEVEL_MM[arch][index] + (-spee if arch == "upper" else spee)) + lift
    buccal_edge = float(side_wall(arch, form).buccal(0.25)) * size.buccolingual / 2
    outward = scale * BUCCAL_CREST_MM[index] - buccal_edge + shift
    fdi = fdi_number(arch, position, side, shape.dentition)
    crown = vertices = None
    if fdi not in shape.missing:
        crown = build_crown(arch, form, side, size, shape.wear, rng)
        turn = _rotation("y", -side * tip) @ _rotation("x", -torque) @ _rotation("z", side * rotation)
        local = crown.vertices @ turn.T + np.array([0.0, outward, level - size.height])
        point, tangent, normal = curve.frame(np.array([s]))
        vertices = point + local[:, :1] * tangent + local[:, 1:2] * normal - local[:, 2:] * rootwards
    return Slot(fdi, form, side, s, width, size, level, outward, crown, vertices)


def _rotation(axis: str, degrees: float) -> FloatArray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    match axis:
        case "x":
            return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        case "y":
            return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        case _:
            return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def _tooth_part(slot: Slot) -> Part:
    assert slot.crown is not None
    assert slot.vertices is not None
    crown = slot.crown
    return Part(
        slot.vertices,
        crown.faces,
        Tissue.TOOTH,
        slot.fdi,
        {
            "height": crown.height,
            "fissure": crown.fissure,
            "mesial": crown.mesial,
            "outward": crown.outward,
            "edge": crown.edge,
            **({} if slot.broken is None else {"broken": slot.broken}),
        },
        centre=slot.vertices.mean(0),
    )
