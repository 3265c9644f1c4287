"""The gum mesh: a sheet swept along the arch, from the vestibular fold over the margin to the lingual side.

Rays find the surface of every posed crown, so the gum meets tilted teeth. Dimensions in mm were chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from dentgen.phantom.anatomy import DECIDUOUS_SCALE, GUM_COVER_MM, PAPILLA_SHARE, FloatArray, side_wall
from dentgen.phantom.arch import DentalArch, Slot
from dentgen.phantom.mesh import Part, Tissue, grid_faces
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.style import Shape

_STATIONS = 600
_FOLD_KNOT, _CREST_KNOT, _KNOTS = 2.6, 10.5, 20
_PROBE_MM = 14.0
#: Extent of the gum behind the last tooth.
_BEHIND_MM = 5.5
#: Added distance from the margin where no tooth stands: a healed ridge has no margin that could be inflamed.
_HEALED_MM = 3.0


@dataclass(slots=True)
class _Profile:
    """Margin (rootward) and surface (outward) of the gum at every station along the arch, mm."""

    s: FloatArray
    buccal_margin: FloatArray
    lingual_margin: FloatArray
    buccal: FloatArray
    lingual: FloatArray
    bulge: FloatArray
    has_tooth: FloatArray

    @property
    def gap(self) -> FloatArray:
        """1 at stations without a tooth (also behind the last one), falling smoothly to 0 at the neighbours."""
        return np.clip(self.smooth(1 - self.has_tooth, 0.8), 0, 1)

    def smooth(self, values: FloatArray, sigma_mm: float) -> FloatArray:
        return gaussian_filter1d(values, sigma_mm / (self.s[1] - self.s[0]), mode="nearest")


@dataclass(frozen=True, slots=True)
class Gum:
    """The gum's mesh, with the edge to which palate or mouth floor is attached.

    Attributes:
        part: The sheet, a grid of vertices stored row by row, one column per station; beyond the fold its tissue is
            ``MUCOSA``.
        lingual_edge: (stations, 3) mm, from the patient's right end to the left.
        fold_row: First row of the grid that is gum and not ``MUCOSA``.
    """

    part: Part
    lingual_edge: FloatArray
    fold_row: int


def build_gum(dental_arch: DentalArch, shape: Shape, rng: np.random.Generator) -> Gum:
    """Sweep the gum of one arch around its teeth.

    Args:
        dental_arch: The posed teeth.
        shape: The patient's shape: recession, papillae, vestibule.
        rng: Source of the unevenness of margin and fold.
    """
    reach = dental_arch.curve.half_length_mm
    end = reach + _BEHIND_MM
    s = np.linspace(-end, end, _STATIONS)
    profile = _nominal_profile(dental_arch, shape, s, rng)
    point, _, normal = dental_arch.curve.frame(s)
    _fit_to_teeth(profile, dental_arch, point, normal)
    taper = np.clip((np.abs(s) - reach + 1.0) / (_BEHIND_MM + 1.0), 0, 1) ** 1.5
    middle = (profile.buccal + profile.lingual) / 2
    profile.buccal = middle + (profile.buccal - middle) * (1 - 0.55 * taper)
    profile.lingual = middle + (profile.lingual - middle) * (1 - 0.55 * taper)
    return _sweep(dental_arch, profile, shape, taper, point, normal, rng)


def _nominal_profile(dental_arch: DentalArch, shape: Shape, s: FloatArray, rng: np.random.Generator) -> _Profile:
    p = _Profile(s, *(np.full(s.shape, value) for value in (6.0, 6.0, 1.0, -4.0, 0.0, 0.0)))
    slots = dental_arch.slots
    for i, slot in enumerate(slots):
        low = -np.inf if i == 0 else slot.s - slot.width_mm / 2
        high = np.inf if i == len(slots) - 1 else slot.s + slot.width_mm / 2
        _slot_profile(p, slot, dental_arch, shape, (s >= low) & (s <= high), rng)
    gap = p.gap
    for name in ("buccal_margin", "lingual_margin"):
        margin = p.smooth(getattr(p, name), 0.30)
        setattr(p, name, margin * (1 - gap) + p.smooth(margin, 0.9) * gap)
    p.buccal, p.lingual, p.bulge = p.smooth(p.buccal, 0.32), p.smooth(p.lingual, 0.32), p.smooth(p.bulge, 0.6)
    return p


def _slot_profile(
    p: _Profile, slot: Slot, dental_arch: DentalArch, shape: Shape, here: np.ndarray, rng: np.random.Generator
) -> None:
    """Fill the stations of one slot: a scalloped margin around a tooth, a ridge where it is missing."""
    index = slot.form - 1
    lower_canine = 0.9 if (dental_arch.arch, slot.form) == ("lower", 3) else 0.0
    scale = 1.0 if shape.dentition == "permanent" else DECIDUOUS_SCALE
    cover = scale * (GUM_COVER_MM[index] + lower_canine) + rng.normal(0, 0.2) - shape.recession_mm
    mid_margin = slot.size.height - slot.level_mm - cover
    wall = side_wall(dental_arch.arch, slot.form)
    half_depth = slot.size.buccolingual / 2
    buccal, lingual = float(wall.buccal(0.1)) * half_depth, float(wall.lingual(0.1)) * half_depth
    x = p.s[here] - slot.s
    tau = np.abs(np.clip(x / (slot.width_mm / 2), -1.6, 1.6))
    papilla = PAPILLA_SHARE[index] * slot.size.height * (1 - shape.papilla_loss)
    if slot.crown is None:  # a saddle, rising to the neighbours' papillae
        saddle = mid_margin + 0.5 - 0.9 * papilla * np.clip(tau, 0, 1) ** 2.2
        p.buccal_margin[here] = p.lingual_margin[here] = saddle
        p.buccal[here] = buccal * 0.75 + slot.outward_mm
        p.lingual[here] = lingual * 0.85 + slot.outward_mm
        p.bulge[here] = -0.4
        return
    beyond = tau > 1  # behind the last tooth
    tail = mid_margin - 1.2 * np.clip(3 * (tau - 1), 0, 1) - 0.6 * papilla * np.clip(1 - 2.2 * (tau - 1), 0, 1)
    scallop = papilla * np.clip(tau, 0, 1) ** 2.4
    p.buccal_margin[here] = np.where(beyond, tail, mid_margin - scallop)
    p.lingual_margin[here] = np.where(beyond, tail, mid_margin - 0.6 - 0.75 * scallop)
    half_x = 1.02 * float(wall.half_width(0.1)) * slot.size.mesiodistal / 2
    roundness = np.clip(1 - np.abs(x / half_x) ** 2.2, 0, None) ** (1 / 2.2)
    middle, half_y = (buccal + lingual) / 2, (buccal - lingual) / 2
    p.buccal[here] = middle + half_y * np.maximum(roundness, 0.46) + slot.outward_mm
    p.lingual[here] = middle - half_y * np.maximum(roundness, 0.42) + slot.outward_mm
    p.bulge[here] = np.cos(np.clip(tau, 0, 1) * np.pi / 2) ** 2 * (1.3 if slot.form == 3 else 0.7)
    p.has_tooth[here] = ~beyond


def _fit_to_teeth(p: _Profile, dental_arch: DentalArch, point: FloatArray, normal: FloatArray) -> None:
    """Move the gum's surface to where rays from both sides meet the posed teeth."""
    teeth = _tooth_rays(dental_arch)
    if teeth is None:
        return
    inside = (p.has_tooth > 0.5) & (np.abs(p.s) < dental_arch.curve.half_length_mm)
    centres = np.array([slot.s for slot in dental_arch.slots])
    for name, sign, margin in (("buccal", 1, p.buccal_margin), ("lingual", -1, p.lingual_margin)):
        nominal = getattr(p, name)

        def probe(rootwards_mm: FloatArray, sign: int = sign) -> FloatArray:
            origin = point + normal * (sign * _PROBE_MM) + dental_arch.rootwards * rootwards_mm[:, None]
            distance = teeth.distance(origin, -normal * sign)
            return np.where(distance < _PROBE_MM + 6, _PROBE_MM - distance, np.nan)

        near, deep = probe(margin + 0.15), probe(margin + 1.2)
        reach = np.where(np.isnan(near), deep, np.fmax(near, deep))
        at_centres = nominal[np.abs(p.s[:, None] - centres).argmin(0)]
        limit = np.interp(p.s, centres, at_centres) * sign - 1.5
        reach = np.fmax(np.where(np.isnan(reach), limit, reach), limit) * sign
        setattr(p, name, p.smooth(np.where(inside, reach, nominal), 0.38))


def _tooth_rays(dental_arch: DentalArch) -> RayMesh | None:
    parts = dental_arch.tooth_parts()
    if not parts:
        return None
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + offset for part, offset in zip(parts, offsets, strict=False)]
    return RayMesh(np.concatenate([part.vertices for part in parts]), np.concatenate(faces))


def _sweep(
    dental_arch: DentalArch, p: _Profile, shape: Shape, taper: FloatArray,
    point: FloatArray, normal: FloatArray, rng: np.random.Generator,
) -> Gum:  # fmt: skip
    ripple = p.smooth(rng.normal(0, 1, p.s.shape), 3.0)
    ripple *= 0.35 / ripple.std()
    knots = _cross_section(p, dental_arch.arch == "upper", shape, ripple)
    v = np.concatenate([np.linspace(0, 0.26, 14)[:-1], np.linspace(0.26, 0.78, 42), np.linspace(0.78, 1, 9)[1:]])
    section = PchipInterpolator(np.linspace(0, 1, _KNOTS), knots, axis=0)(v)
    outward, rootward = section[..., :1], section[..., 1:] + (3.0 * taper**2)[None, :, None]
    vertices = point + normal * outward + dental_arch.rootwards * rootward
    faces = grid_faces(len(v), _STATIONS)
    is_buccal = v < v[np.searchsorted(v, _CREST_KNOT / _KNOTS)]
    margin = np.where(is_buccal[:, None], p.buccal_margin, p.lingual_margin)
    fold_row = int(np.searchsorted(v, _FOLD_KNOT / _KNOTS))
    beyond_fold = faces[:, 0] // _STATIONS < fold_row
    flat = vertices.reshape(-1, 3)
    part = Part(
        flat,
        _outward_faces(flat, faces, normal, int(np.searchsorted(v, 7 / _KNOTS))),
        np.where(beyond_fold, Tissue.MUCOSA, Tissue.GUM),
        attributes={
            "margin_mm": (section[..., 1] - margin + _HEALED_MM * p.gap).reshape(-1),
            "buccal": np.repeat(is_buccal.astype(float), _STATIONS),
        },
    )
    return Gum(part, vertices[-1], fold_row)


def _outward_faces(vertices: FloatArray, faces: np.ndarray, normal: FloatArray, row: int) -> np.ndarray:
    """Wind the sheet so that its buccal side faces outward (the frame of the lower arch is left-handed)."""
    corner = row * _STATIONS + _STATIONS // 2
    a, b, c = vertices[[corner, corner + 1, corner + _STATIONS + 1]]
    return faces if np.cross(b - a, c - a) @ normal[_STATIONS // 2] > 0 else faces[:, ::-1]


def _cross_section(p: _Profile, upper: bool, shape: Shape, ripple: FloatArray) -> FloatArray:
    """Control points (knots, stations, 2), outward and rootward mm, from beyond the fold to the lingual edge."""
    vestibule, collar = shape.vestibule_mm, 1.0 if shape.dentition == "permanent" else DECIDUOUS_SCALE
    root = p.smooth(p.buccal_margin, 4.0)
    far_b, far_l = p.smooth(p.buccal, 3.0), p.smooth(p.lingual, 3.0)
    buccal, lingual, margin, inner = p.buccal, p.lingual, p.buccal_margin, p.lingual_margin
    crest = np.maximum(margin, inner) + 0.45 - 1.3 * p.gap  # a ridge where no tooth stands
    drop = (2.4, 4.2, 6.0, 9.2) if upper else (1.3, 1.8, 3.2, 11.0)
    rows = [
        (far_b + 9.5, root + vestibule + 22.0),
        (far_b + 8.6, root + vestibule + 11.0),
        (far_b + 7.2, root + vestibule + 4.6 + ripple),
        (far_b + 5.2, root + vestibule + 2.1),
        (far_b + 3.2 + ripple, root + vestibule),
        (far_b + 2.0 + 0.6 * p.bulge + 0.7 * ripple, root + 0.62 * vestibule),
        (0.5 * (far_b + buccal) + 1.15 + 0.75 * p.bulge, root + 0.30 * vestibule),
        (0.7 * buccal + 0.3 * far_b + 0.72 + 0.42 * p.bulge, 0.75 * margin + 0.25 * root + 2.0 * collar),
        (buccal + 0.56 + 0.1 * p.bulge, margin + 0.8 * collar),
        (buccal + 0.34, margin + 0.12),
        (buccal - 0.35, margin),
        (0.72 * buccal + 0.28 * lingual, crest),
        (0.28 * buccal + 0.72 * lingual, crest),
        (lingual + 0.35, inner),
        (lingual - 0.22, inner + 0.1),
        (lingual - 0.60, inner + 0.7),
        (lingual - 1.2, 0.6 * inner + 0.4 * root + 2.2),
        (far_l - drop[0], root + 4.6),
        (far_l - drop[1], root + 7.5),
        (far_l - drop[2], root + drop[3]),
    ]
    return np.stack([np.stack(row, -1) for row in rows])
