"""Exact label, geometry and lighting maps of a traced scene, in the encodings of a condition record.

Every map is read from the same rays, one per pixel centre; the lighting map is grey clay under the picture's own lamps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import (
    APPLIANCE,
    DAM,
    GINGIVA,
    INSTRUMENT,
    RESTORATION,
    SKIN,
    SOFT_TISSUE,
    TOOTH,
    mirror_normal,
)
from dentgen.phantom.camera import Camera
from dentgen.phantom.light import Lighting
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.scene import Surface
from dentgen.phantom.shading import Painted
from dentgen.records import MapArray

_WORLD = {
    SOFT_TISSUE: (Tissue.TONGUE, Tissue.MUCOSA, Tissue.THROAT), SKIN: (Tissue.LIP, Tissue.SKIN, Tissue.FINGER),
    INSTRUMENT: (Tissue.INSTRUMENT,), DAM: (Tissue.DAM,),
}  # fmt: skip
_SOLID = (Tissue.GUM, Tissue.PALATE, Tissue.TOOTH, Tissue.APPLIANCE)


def segmentation_map(centres: Painted, size: int) -> NDArray[np.uint8]:
    """(H, W) classes: 0 background, 1 gingiva (palate included), 2 tooth, 4 filling or crown, 5 appliance."""
    tissue = centres.surface.tissue
    seg = np.zeros(len(tissue), np.uint8)
    seg[np.isin(tissue, [Tissue.GUM, Tissue.PALATE])] = GINGIVA
    seg[tissue == Tissue.TOOTH] = TOOTH
    seg[(tissue == Tissue.TOOTH) & (centres.coat.restored >= 0.5)] = RESTORATION
    seg[tissue == Tissue.APPLIANCE] = APPLIANCE
    return seg.reshape(size, size)


def world_segmentation_map(centres: Painted, size: int) -> NDArray[np.uint8]:
    """(H, W) classes of a varied set.

    As ``segmentation_map``, and 3 tongue, cheek and floor, 6 lip, skin and finger, 7 instrument, 8 rubber dam.
    """
    tissue = centres.surface.tissue.reshape(size, size)
    seg = segmentation_map(centres, size)
    for classes, tissues in _WORLD.items():
        seg[np.isin(tissue, tissues)] = classes
    return seg


def lesion_map(centres: Painted, size: int) -> NDArray[np.uint8]:
    """(H, W) values of ``lesion_map.LESIONS``, 0 off teeth and gum."""
    here = np.isin(centres.surface.tissue, (Tissue.TOOTH, Tissue.GUM))
    return np.where(here, centres.coat.lesion, 0).astype(np.uint8).reshape(size, size)


def fdi_map(surface: Surface, size: int) -> NDArray[np.uint8]:
    """(H, W) FDI numbers, 0 where no tooth is visible (a bracket hides its tooth)."""
    return surface.fdi.reshape(size, size)


def lighting_map(surface: Surface, lighting: Lighting, camera: Camera, size: int) -> NDArray[np.uint8]:
    """(H, W) clay shading of all labelled surfaces under the picture's lamps, 0..255; 0 elsewhere."""
    diffuse = np.zeros(len(surface.hit))
    glint = np.zeros(len(surface.hit))
    total = sum(lamp.strength.mean() for lamp in lighting.lamps)
    for towards, _, lamp in lighting.arriving(surface.position, camera):
        share = lamp.strength.mean() / total  # no falloff: exposure must not depend on the camera's distance
        half = towards - surface.direction
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        diffuse += share * np.clip((surface.normal * towards).sum(1), 0, 1)
        glint += share * np.clip((surface.normal * half).sum(1), 0, 1) ** 40
    shade = (0.12 + 0.72 * diffuse) * (0.35 + 0.65 * surface.occlusion) + 0.14 * glint
    return np.where(_solid(surface), 255 * np.clip(shade, 0, 1), 0).astype(np.uint8).reshape(size, size)


def normal_map(surface: Surface, camera: Camera, size: int) -> NDArray[np.uint8]:
    """(H, W, 3) unit normals in camera space (x right, y up, z to the viewer) as 127.5 n + 127.5, 0 elsewhere."""
    encoded = surface.normal @ camera.axes.T * 127.5 + 127.5
    return np.where(_solid(surface)[:, None], encoded, 0).astype(np.uint8).reshape(size, size, 3)


def curvature_map(surface: Surface, size: int) -> NDArray[np.uint8]:
    """(H, W) mean curvature as 128 + 127 tanh(1.3 per mm): 128 flat and elsewhere, bright convex."""
    encoded = 128 + 127 * np.tanh(1.3 * surface.curvature)
    return np.where(_solid(surface), encoded, 128).astype(np.uint8).reshape(size, size)


def depth_map(surface: Surface, size: int) -> NDArray[np.uint16]:
    """(H, W) linear depth along the view axis, 65535 nearest to 5535 farthest, 0 elsewhere."""
    solid = _solid(surface)
    if not solid.any():
        return np.zeros((size, size), np.uint16)
    near, far = surface.depth_mm[solid].min(), surface.depth_mm[solid].max()
    encoded = 65535 - 60000 * (surface.depth_mm - near) / (far - near + 1e-6)
    return np.where(solid, encoded, 0).astype(np.uint16).reshape(size, size)


def mirror_image(maps: Mapping[str, MapArray]) -> dict[str, MapArray]:
    """Flip all maps left to right, as a mirror does; every tooth keeps its FDI number, normals get their x negated."""
    return {
        name: mirror_normal(array.astype(np.uint8)) if name == "normal" else array[:, ::-1].copy()
        for name, array in maps.items()
    }


def _solid(surface: Surface) -> NDArray[np.bool_]:
    return np.isin(surface.tissue, _SOLID)
