"""Open cavities: hollows that decay leaves in crowns, pressed into the posed meshes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.arch import DentalArch, Slot
from dentgen.phantom.lesions import Caries, spot_distance
from dentgen.phantom.teeth import Crown

#: Depth of decay from which the surface has fallen in.
OPEN_FROM: Final = 0.7
#: Deepest hollow as a share of its radius, and in any tooth, mm; chosen by eye.
_DEPTH_SHARE, _DEEPEST_MM, _DEEPEST_IN_BROKEN_MM = 0.75, 2.4, 0.6
#: Width of a hollow's wall as a share of its radius.
_WALL_SHARE: Final = 0.35


def hollow_teeth(arch: DentalArch, caries: Iterable[Caries]) -> DentalArch:
    """Press the open cavities among ``caries`` into an arch; teeth that it lacks are passed over."""
    open_ones = [lesion for lesion in caries if lesion.depth >= OPEN_FROM]
    slots = tuple(_hollowed(slot, [c for c in open_ones if c.spot.fdi == slot.fdi], arch) for slot in arch.slots)
    return replace(arch, slots=slots)


def _hollowed(slot: Slot, cavities: Sequence[Caries], arch: DentalArch) -> Slot:
    if not cavities or slot.vertices is None or slot.crown is None:
        return slot
    vertices = slot.vertices
    deepest = _DEEPEST_MM if slot.broken is None else _DEEPEST_IN_BROKEN_MM
    for cavity in cavities:
        depth = np.minimum(_depth_mm(slot.crown, slot.width_mm / 2, cavity), deepest)
        vertices = vertices + depth[:, None] * _inwards(slot, cavity, arch)
    return replace(slot, vertices=vertices)


def _depth_mm(crown: Crown, half_width_mm: float, cavity: Caries) -> FloatArray:
    """Depth (V,) of a hollow with a flat floor and sloping walls."""
    radius = cavity.spot.radius
    distance = spot_distance(cavity.spot, crown.mesial, crown.outward, crown.height, crown.fissure)
    share = np.clip((radius - distance) / (_WALL_SHARE * radius), 0, 1)
    return _DEPTH_SHARE * radius * half_width_mm * cavity.depth * share * share * (3 - 2 * share)


def _inwards(slot: Slot, cavity: Caries, arch: DentalArch) -> FloatArray:
    """Unit directions (V, 3) into the tooth: rootwards from the biting surface, else towards the tooth's axis."""
    assert slot.vertices is not None
    if cavity.spot.surface == "occlusal":
        return np.broadcast_to(arch.rootwards, slot.vertices.shape)
    from_axis = slot.vertices - slot.vertices.mean(0)
    from_axis = from_axis - (from_axis @ arch.rootwards)[:, None] * arch.rootwards
    return -from_axis / np.maximum(np.linalg.norm(from_axis, axis=1, keepdims=True), 1e-9)
