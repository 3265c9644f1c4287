"""Lips and the lower face around a mouth that smiles, speaks or is opened.

Distances (mm) were chosen by eye; the lips follow the patient's own teeth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.mesh import Part, Tissue, grid_faces
from dentgen.phantom.patient import Patient
from dentgen.phantom.surroundings.sides import CLOTH

_SPOKES = 144
#: Rings from inside the mouth: inner lip, red of the lip, skin.
_INNER, _RED, _SKIN = 5, 9, 30
_PROFILE_MM = 0.5
#: Half width of the head, and its reach above and below the biting edges.
_HEAD_MM: Final = (74.0, 120.0, 62.0)


@dataclass(frozen=True, slots=True)
class Smile:
    """An opening of the lips.

    Attributes:
        half_width_mm: Distance from the middle to the corners.
        upper_mm, lower_mm: Height of the upper and lower lip's edge at the middle, from the upper teeth's biting edges.
        corner_mm: Height of the corners.
        upper_red_mm, lower_red_mm: Height of the red of the lips.
    """

    half_width_mm: float
    upper_mm: float
    lower_mm: float
    corner_mm: float
    upper_red_mm: float
    lower_red_mm: float


def sample_smile(opening_mm: float, rng: np.random.Generator) -> Smile:
    """Draw an opening: from lips just parted to a gummy smile; a lowered jaw takes the lower lip along."""
    upper = rng.uniform(-0.5, 10.0)
    return Smile(
        half_width_mm=rng.uniform(21, 33) - 0.25 * opening_mm,
        upper_mm=upper,
        lower_mm=-rng.uniform(1.5, 7.0) - 0.95 * opening_mm,
        corner_mm=rng.normal(1.5, 1.8) - 0.4 * opening_mm,
        upper_red_mm=rng.uniform(3.5, 8.0),
        lower_red_mm=rng.uniform(5.5, 10.0),
    )


def build_face(patient: Patient, smile: Smile, rng: np.random.Generator) -> list[Part]:
    """Build lips and lower face, the dark of the mouth, neck and clothes, and the ground behind the head.

    Args:
        patient: The mouth behind.
        smile: Opening of the lips.
        rng: Source of nose, chin and cheeks.
    """
    scale = 0.45 + 0.55 * patient.scale
    throat = _throat(scale, patient.front_mm)
    ground = _plate(Tissue.GROUND, np.array([1500.0, 1500.0]), patient.front_mm - rng.uniform(150, 500))
    return [_skin(patient, smile, scale, rng), throat, *_neck(scale, patient.front_mm, rng), ground]


def _neck(scale: float, front_mm: float, rng: np.random.Generator) -> list[Part]:
    """A neck behind the chin and the clothes on the shoulders."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, 24)
    around = np.stack([56 * np.sin(turn), np.zeros(24), 56 * np.cos(turn) - 105], -1)
    collar = rng.uniform(-100, -72)
    drops = (np.array([[0.0, y, 0.0] for y in (-40, -70, -140)]), np.array([[0, collar - y, -y / 3] for y in (0, 60)]))
    wider = np.array([1.6, 1.0, 1.25]) * around, np.array([3.4, 1.0, 1.6]) * around
    neck, clothes = around[None] + drops[0][:, None], np.stack(wider) + drops[1][:, None]
    parts = []
    for tissue, points, attributes in (
        (Tissue.SKIN, neck, {"margin_mm": 40.0}), (Tissue.GROUND, clothes, {"height": CLOTH})
    ):  # fmt: skip
        flat = points.reshape(-1, 3) * scale + [0, 0, front_mm]
        values = {name: np.full(len(flat), value) for name, value in attributes.items()}
        parts.append(Part(flat, grid_faces(len(points), 24), tissue, 0, values, facing=np.array([0.0, 0.0, 1.0])))
    return parts


def _throat(scale: float, front_mm: float) -> Part:
    """Back and sides of the mouth, so that no ray through the lips leaves the head."""
    x, y = np.array([-52.0, -52.0, 52.0, 52.0]) * scale, np.array([-46.0, 55.0]) * scale
    z = front_mm - np.array([44.0, 62.0, 62.0, 44.0]) * scale
    walls = np.stack([np.broadcast_to(x, (2, 4)), np.repeat(y, 4).reshape(2, 4), np.broadcast_to(z, (2, 4))], -1)
    return Part(walls.reshape(-1, 3), grid_faces(2, 4), Tissue.THROAT, 0, {}, facing=np.array([0.0, 0.0, 1.0]))


def _plate(tissue: Tissue, half: FloatArray, z: float) -> Part:
    x, y = np.meshgrid([-half[0], half[0]], [-half[1], half[1]])
    vertices = np.stack([x, y, np.full_like(x, z)], -1).reshape(-1, 3)
    return Part(vertices, grid_faces(2, 2), tissue, 0, {}, facing=np.array([0.0, 0.0, 1.0]))


def _skin(patient: Patient, smile: Smile, scale: float, rng: np.random.Generator) -> Part:
    """Lips and lower face as one sheet: ``margin_mm`` is the distance outwards from the red of the lips.

    ``margin_mm`` is negative on the red and inside the mouth; ``height`` is 1 inside the mouth.
    """
    angle = np.linspace(0, 2 * np.pi, _SPOKES, endpoint=False)
    edge, border = _edge(smile, angle), _border(smile, angle)
    skin_share = np.linspace(0, 1, _SKIN)[:, None, None] ** 1.5
    outer = _outline(angle) * scale
    inner_share = np.linspace(1, 0, _INNER)[:, None, None]
    plane = np.concatenate([
        edge + inner_share * (border - edge) * 0.5,
        edge + np.linspace(0, 1, _RED)[1:, None, None] * (border - edge),
        (border + skin_share * (outer - border))[1:],
    ])  # fmt: skip
    inside = np.concatenate([np.linspace(1, 0, _INNER), np.zeros(_RED + _SKIN - 2)])[:, None]
    red = np.concatenate([np.zeros(_INNER), np.sin(np.pi * np.linspace(0, 1, _RED)[1:]), np.zeros(_SKIN - 1)])[:, None]
    thickness = np.clip(np.linalg.norm(border - edge, axis=-1) / 8, 0.15, 1)[None]
    outward = np.linalg.norm(plane - border, axis=-1)
    skin = np.arange(len(plane))[:, None] >= _INNER + _RED - 1
    z = _depth(patient, plane) + 2.6 * red * thickness - 6.5 * inside**1.2
    z = z + np.where(skin, _relief(plane, scale, rng), 0.0)
    vertices = np.concatenate([plane, z[..., None]], -1).reshape(-1, 3)
    attributes = {
        "margin_mm": np.where(skin, outward, -outward - 0.01).reshape(-1),
        "height": np.broadcast_to(inside, z.shape).reshape(-1),
    }
    faces = grid_faces(len(plane), _SPOKES, closed=True)
    return Part(vertices, faces, Tissue.SKIN, 0, attributes, facing=np.array([0.0, 0.0, 1.0]))


def _outline(angle: FloatArray) -> FloatArray:
    """Outline of the head (spokes, 2): an ellipse above, below it the squarer shape of a jaw."""
    cos, sin = np.cos(angle), np.sin(angle)
    power = np.where(sin > 0, 1.0, 0.7)
    x, y = (np.sign(each) * np.abs(each) ** power for each in (cos, sin))
    width, above, below = _HEAD_MM
    return np.stack([width * x, np.where(sin > 0, above, below) * y], -1)


def _edge(smile: Smile, angle: FloatArray) -> FloatArray:
    """Edge of the lips (spokes, 2)."""
    x = smile.half_width_mm * np.cos(angle)
    share = np.clip(1 - np.abs(np.cos(angle)) ** 2.4, 0, 1) ** 0.75
    height = np.where(np.sin(angle) >= 0, smile.upper_mm, smile.lower_mm)
    return np.stack([x, smile.corner_mm + (height - smile.corner_mm) * share], -1)


def _border(smile: Smile, angle: FloatArray) -> FloatArray:
    """Outer border of the red (spokes, 2), with a Cupid's bow."""
    edge = _edge(smile, angle)
    sin, cos = np.sin(angle), np.cos(angle)
    share = np.abs(sin) ** 0.7
    bow = 1.0 - 0.35 * np.exp(-((edge[:, 0] / 2.6) ** 2)) * (sin > 0)
    red = np.where(sin >= 0, smile.upper_red_mm * bow, -smile.lower_red_mm) * share
    return edge + np.stack([2.2 * cos * np.abs(cos) ** 6, red], -1)


def _depth(patient: Patient, plane: FloatArray) -> FloatArray:
    """Depth (rings, spokes) of a sheet that lies before the teeth and falls off to the cheeks."""
    grid = np.arange(-90, 90 + _PROFILE_MM, _PROFILE_MM)
    jaws = (patient.upper, patient.lower)
    crowns = [slot.vertices for jaw in jaws for slot in jaw.teeth.slots if slot.vertices is not None]
    gum = [_attached(jaw.gum.part) for jaw in jaws]
    behind = np.concatenate([*crowns, *(part - [0, 0, 1.2] for part in gum)])
    front = np.full(len(grid), -np.inf)
    np.maximum.at(front, np.searchsorted(grid, behind[:, 0]), behind[:, 2])
    front = maximum_filter1d(front, int(6 / _PROFILE_MM))
    cheeks = patient.front_mm + 1.0 - 0.0135 * grid**2
    front = np.maximum(np.where(np.isfinite(front), front + 2.4, -1e9), cheeks)
    front = np.maximum(gaussian_filter1d(front, 3 / _PROFILE_MM), front - 0.8)
    x, y = plane[..., 0], plane[..., 1]
    return np.interp(x, grid, front) - 0.0022 * np.clip(np.abs(y) - 12, 0, None) ** 2


def _attached(gum: Part) -> FloatArray:
    """Vertices of the gum within 5 mm of its margin, on which lips rest."""
    return gum.vertices[gum.attributes["margin_mm"] < 5.0]


def _relief(plane: FloatArray, scale: float, rng: np.random.Generator) -> FloatArray:
    """Nose, furrow under it, folds beside it, chin and the furrow above it, as z (rings, spokes)."""
    x, y = plane[..., 0] / scale, plane[..., 1] / scale

    def hill(cx: float, cy: float, sx: float, sy: float) -> FloatArray:
        return np.exp(-(((np.abs(x) - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)

    nose = rng.uniform(30, 38)
    z = rng.uniform(15, 22) * hill(0, nose + 12, 9, 9) + rng.uniform(5, 8) * hill(13, nose + 9, 6, 6)
    z = z - 5.0 * hill(6, nose + 3.0, 3.2, 2.2)  # nostrils
    z = z - 0.9 * hill(0, nose - 12, 2.2, 9)
    z = z - rng.uniform(0.5, 2.6) * np.exp(-(((np.abs(x) - 17 - 0.35 * (nose - y)) / 2.6) ** 2)) * _between(
        y, -12, nose
    )
    chin = rng.uniform(-42, -34)
    z = z + rng.uniform(3, 7) * hill(0, chin, 14, 11) - rng.uniform(1, 4) * hill(0, chin + 17, 16, 4)
    return z + rng.uniform(2, 7) * hill(38, 6, 17, 18)


def _between(y: FloatArray, low: float, high: float) -> FloatArray:
    return np.clip((y - low) / 8, 0, 1) * np.clip((high - y) / 5, 0, 1)
