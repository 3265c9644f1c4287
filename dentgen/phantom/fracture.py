"""Broken crowns: chipped corners, lost cusps and root remnants, cut from the posed meshes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.arch import DentalArch, Slot
from dentgen.phantom.lesions import Fracture

#: How far the broken face is above or below an even one, mm.
_UNEVEN_MM = 0.35


def break_teeth(arch: DentalArch, fractures: Iterable[Fracture]) -> DentalArch:
    """Break crowns of an arch; teeth that it lacks are passed over."""
    by_fdi = {fracture.fdi: fracture for fracture in fractures}
    slots = tuple(_broken(slot, by_fdi.get(slot.fdi), arch) for slot in arch.slots)
    return replace(arch, slots=slots)


def _broken(slot: Slot, fracture: Fracture | None, arch: DentalArch) -> Slot:
    """The crown with everything above the broken face pressed down onto it."""
    if fracture is None or slot.vertices is None:
        return slot
    up = -arch.rootwards
    _, tangent, normal = arch.curve.frame(np.array([slot.s]))
    centre = slot.vertices.mean(0)
    along, across = (slot.vertices - centre) @ tangent[0], (slot.vertices - centre) @ normal[0]
    height = slot.vertices @ up
    face = height.max() - fracture.lost * slot.size.height
    face = face + fracture.slope[0] * along + fracture.slope[1] * across + _roughness(along, across, fracture)
    cut = np.clip(height - face, 0, None)
    return replace(slot, vertices=slot.vertices - cut[:, None] * up, broken=(cut > 0.1).astype(float))


def _roughness(along: FloatArray, across: FloatArray, fracture: Fracture) -> FloatArray:
    phase = 10 * fracture.lost + fracture.fdi
    return _UNEVEN_MM * (np.sin(1.3 * along + phase) * np.cos(1.1 * across - phase) + 0.4 * np.sin(3.1 * along))
