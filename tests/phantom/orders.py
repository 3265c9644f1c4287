"""The order of teeth along an arch."""

from __future__ import annotations

from dentgen.conditions.label_schemes import ARCH_ORDER
from dentgen.phantom.anatomy import Arch, Dentition


def arch_order(arch: Arch, dentition: Dentition) -> list[int]:
    """FDI numbers of an arch from the patient's right to the left."""
    if dentition == "permanent":
        return list(ARCH_ORDER[arch])
    right, left = (5, 6) if arch == "upper" else (8, 7)
    return [10 * right + p for p in range(5, 0, -1)] + [10 * left + p for p in range(1, 6)]
