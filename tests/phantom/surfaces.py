"""Hand-made traced surfaces and posed teeth for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from dentgen.phantom.anatomy import Arch
from dentgen.phantom.arch import DentalArch, build_arch
from dentgen.phantom.camera import Camera
from dentgen.phantom.lesions import Lesions
from dentgen.phantom.light import Lamp, Lighting
from dentgen.phantom.material import Material, sample_material
from dentgen.phantom.mesh import ATTRIBUTES, Tissue
from dentgen.phantom.scene import Surface
from dentgen.phantom.style import Shape, sample_shape
from dentgen.seeding import numpy_generator

#: Looks along -z from 100 mm at a field of 10 mm.
CAMERA = Camera("frontal", np.eye(3), np.array([0.0, 0.0, 100.0]), 100.0, 10.0)
NO_LESIONS = Lesions((), {}, (), 0.0, 0.0)


def traced(tissue: Any, fdi: Any = 0, *, position: Any = 0.0, normal: Any = (0.0, 0.0, 1.0), **values: Any) -> Surface:
    """Points that face ``CAMERA``, one per tissue; ``values`` are fields or vertex attributes, scalars or arrays."""
    tissue = np.atleast_1d(np.asarray(tissue, np.uint8))
    n = len(tissue)
    spread = {name: np.broadcast_to(np.asarray(value, float), n).copy() for name, value in values.items()}
    return Surface(
        hit=tissue != Tissue.NONE,
        tissue=tissue,
        fdi=np.broadcast_to(np.asarray(fdi, np.uint8), n).copy(),
        position=np.broadcast_to(np.asarray(position, float), (n, 3)).copy(),
        normal=np.broadcast_to(np.asarray(normal, float), (n, 3)).copy(),
        direction=np.broadcast_to([0.0, 0.0, -1.0], (n, 3)).copy(),
        depth_mm=spread.pop("depth_mm", np.full(n, 100.0)),
        occlusion=spread.pop("occlusion", np.ones(n)),
        curvature=spread.pop("curvature", np.zeros(n)),
        attributes={name: spread.get(name, np.zeros(n)) for name in ATTRIBUTES},
    )


def material(lesions: Lesions = NO_LESIONS) -> Material:
    """One patient's colours."""
    return sample_material(numpy_generator("material"), lesions)


def lit_by(*lamps: Lamp, ambient: float = 0.0, **values: float) -> Lighting:
    """A lighting of the given lamps, without vignette, fading and surround."""
    fields = {"gloss": 1.0, "target": 0.7, "vignette": 0.0, "fading": 0.0, **values}
    return Lighting("ring", lamps, np.full(3, ambient), surround=np.zeros(3), **fields)


def shape() -> Shape:
    """An adult's shape."""
    return sample_shape(numpy_generator("test", 1))


def posed_teeth(arch: Arch, of_shape: Shape | None = None) -> DentalArch:
    """The teeth of one arch of an adult."""
    return build_arch(arch, of_shape or shape(), None, numpy_generator("test", 2))
