"""The cast of a scan model: an arch's gum, cut off at the fold and set on a base, in plain colours."""

from __future__ import annotations

from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.gum import Gum
from dentgen.phantom.material import Material
from dentgen.phantom.mesh import Part, Tissue, grid_faces
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface
from dentgen.phantom.tissue import Coat, coat, inflammation, reddened

_BASE_MM: Final = 2.5
_FAR_FROM_MARGIN_MM: Final = 20.0
_BACKWARDS: Final = np.array([0.0, 0.0, -1.0])


def build_cast(gum: Gum, rootwards: FloatArray) -> list[Part]:
    """Build gum and base of one arch.

    Args:
        gum: The arch's gum.
        rootwards: (3,) unit vector from crown to root.

    Returns:
        The gum, the outer and inner wall, the floor, 2.5 mm rootwards of the gum, and the two ends of the base.
    """
    sheet = gum.part.vertices.reshape(-1, len(gum.lingual_edge), 3)[gum.fold_row :]
    level = (sheet @ rootwards).max() + _BASE_MM
    fold, lingual = sheet[0], sheet[-1]
    fold_foot, lingual_foot = (edge + rootwards * (level - edge @ rootwards)[:, None] for edge in (fold, lingual))
    ends = (np.concatenate([sheet[:, end], [lingual_foot[end], fold_foot[end]]]) for end in (0, -1))
    return [
        _cut_at_fold(gum.part),
        _wall(fold, fold_foot, _outwards(fold)),
        _wall(lingual, lingual_foot, -_outwards(lingual)),
        _floor(fold_foot, lingual_foot, rootwards),
        *(_end(outline) for outline in ends),
    ]


def _cut_at_fold(gum: Part) -> Part:
    kept = np.asarray(gum.tissue) == Tissue.GUM
    return Part(gum.vertices, gum.faces[kept], Tissue.GUM, 0, gum.attributes)


def _outwards(edge: FloatArray) -> FloatArray:
    """Mean outward direction of the edge's right half; the edge runs from the patient's right to the left."""
    along = np.diff(edge[: len(edge) // 2], axis=0).sum(0)
    return np.array([-along[2], 0.0, along[0]])


def _wall(edge: FloatArray, foot: FloatArray, right_half_facing: FloatArray) -> Part:
    """An upright strip, wound so that its right half faces the given direction."""
    vertices, faces = np.concatenate([edge, foot]), grid_faces(2, len(edge))
    a, b, c = vertices[faces[: len(edge) // 2]].transpose(1, 0, 2)
    towards = (np.cross(b - a, c - a) @ right_half_facing).sum()
    return _base(vertices, faces if towards > 0 else faces[:, ::-1])


def _floor(outer: FloatArray, inner: FloatArray, facing: FloatArray) -> Part:
    return _base(np.concatenate([outer, inner]), grid_faces(2, len(outer)), facing)


def _end(outline: FloatArray) -> Part:
    """The flat back of one end of the arch: a fan over its outline."""
    rim = np.arange(len(outline))
    fan = np.stack([rim, np.roll(rim, -1), np.full(len(rim), len(rim))], 1)
    return _base(np.concatenate([outline, outline.mean(0, keepdims=True)]), fan, _BACKWARDS)


def _base(vertices: FloatArray, faces: IntArray, facing: FloatArray | None = None) -> Part:
    attributes = {"margin_mm": np.full(len(vertices), _FAR_FROM_MARGIN_MM)}
    return Part(vertices, faces, Tissue.GUM, 0, attributes, facing)


def cast_coat(surface: Surface, material: Material, noise: LatticeNoise) -> Coat:
    """Coat a cast: teeth as in the mouth but matt, gum in one colour with reddened margins, which prompts mention.

    Args:
        surface: Traced points.
        material: The patient's colours.
        noise: The patient's texture.
    """
    result = coat(surface, material, noise)
    gum = surface.tissue == Tissue.GUM
    red = inflammation(surface.attributes["margin_mm"][gum], material)
    result.albedo[gum] = material.gum * reddened(red, severe=False)
    result.roughness[:] = np.maximum(result.roughness, 0.42)
    result.sheen[:], result.bump[:] = 0.5, 0.0
    return result
