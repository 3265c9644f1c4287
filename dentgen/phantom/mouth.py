"""Meshes of the soft tissue around the arches: palate, mouth floor, tongue, cheeks, and lips or gloves.

All sizes (mm) and shares were chosen by eye against five real intra-oral photographs of one mouth.
"""

from __future__ import annotations

import numpy as np

from dentgen.phantom.anatomy import Arch, FloatArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Part, Tissue, grid_faces

_SPAN = 37  # vertices across palate and mouth floor
_FAR_FROM_MARGIN_MM, _CHEEK_MARGIN_MM = 8.0, 9.0  # beyond any reddening of the gum margin
_LIP_RINGS, _LIP_SPOKES = 26, 120
_LIP_EXPONENT = 2.6  # of the opening's superellipse; 2 would be an ellipse


def build_palate(lingual_edge: FloatArray, rootwards: FloatArray, rng: np.random.Generator) -> Part:
    """Build the dome between the lingual gum edges, with rugae, raphe and incisive papilla.

    Args:
        lingual_edge: (stations, 3) mm, as in ``Gum``.
        rootwards: (3,) unit vector from crown to root.
        rng: Source of the height of the vault and the phase of the rugae.
    """
    sheet, width, arch_height, share = _span(lingual_edge)
    dome = arch_height * np.minimum(0.34 * width, 9.5) * rng.uniform(0.8, 1.15)
    x, behind = sheet[..., 0], lingual_edge[:, 2].max() - sheet[..., 2]
    # rugae: wavy ridges 4.6 mm apart and 0.75 mm high, bent backwards, strongest 7 mm behind the front teeth
    wave = np.sin((behind - 0.35 * np.abs(x) + 1.2 * np.sin(0.5 * x + rng.uniform(0, 6))) * 2 * np.pi / 4.6)
    rugae = 0.75 * np.clip(wave, 0, 1) ** 1.5 * np.exp(-(((behind - 7) / 6.5) ** 2))
    rugae = rugae * np.clip(np.abs(x) / 2, 0, 1) * np.clip((width - 8) / 10, 0, 1)  # fade at the raphe
    raphe = 0.5 * np.exp(-((x / 0.9) ** 2)) * np.clip((width - 10) / 10, 0, 1)
    papilla = 1.2 * np.exp(-((x / 1.6) ** 2) - ((behind - 2.5) / 2.2) ** 2)
    vertices = (sheet + rootwards * (dome - rugae - raphe - papilla)[..., None]).reshape(-1, 3)
    attributes = {
        "margin_mm": np.full(len(vertices), _FAR_FROM_MARGIN_MM),
        "height": np.minimum(share, 1 - share).reshape(-1),
    }
    return Part(vertices, grid_faces(*sheet.shape[:2]), Tissue.PALATE, 0, attributes, facing=-rootwards)


def build_floor(lingual_edge: FloatArray, rootwards: FloatArray) -> Part:
    """Build the mouth floor between the lingual gum edges of the lower arch; arguments as for ``build_palate``."""
    sheet, width, arch_height, _ = _span(lingual_edge)
    sheet = sheet + rootwards * (arch_height * np.minimum(0.25 * width, 7))[..., None]
    return _mucosa(sheet, rootwards, _FAR_FROM_MARGIN_MM)


def build_tongue(
    lingual_edge: FloatArray, arch_width_mm: float, rootwards: FloatArray, rng: np.random.Generator
) -> Part:
    """Build a resting tongue with a median groove, 52 mm long, its tip 7-12 mm behind the lower front teeth.

    Args:
        lingual_edge: (stations, 3) mm, as in ``Gum``.
        arch_width_mm: Width of the lower arch at its ends.
        rootwards: (3,) unit vector from crown to root.
        rng: Source of the tongue's position.
    """
    tip = lingual_edge[:, 2].max() - rng.uniform(7, 12)
    back = np.linspace(0, 1, 90)[:, None]
    across = np.linspace(-1, 1, 60)[None] * np.pi / 2
    half_width = 0.36 * arch_width_mm * np.clip(1 - (1 - back) ** 3.6, 0, 1) ** 0.5
    x = half_width * np.sin(across)
    # the back of the tongue lies 3 mm below the occlusal plane
    y = -11.5 + 8.5 * np.cos(across) ** 0.7 * np.clip(3 * back, 0, 1) ** 0.5
    y = y - 0.9 * np.exp(-((x / 1.2) ** 2)) * np.clip(2 * back - 0.2, 0, 1) + rng.normal(0, 0.8)
    vertices = np.stack([x, y, np.broadcast_to(tip - 52 * back, x.shape)], -1).reshape(-1, 3)
    attributes = {"margin_mm": np.full(len(vertices), _FAR_FROM_MARGIN_MM)}
    return Part(vertices, grid_faces(90, 60), Tissue.TONGUE, 0, attributes, facing=-rootwards)


def build_cheeks(arch: Arch, front_mm: float, rootwards: FloatArray, rng: np.random.Generator) -> Part:
    """Build the mucosa behind an arch in occlusal views, so that no ray leaves the mouth.

    Args:
        arch: Upper or lower.
        front_mm: z of the foremost tooth.
        rootwards: (3,) unit vector from crown to root.
        rng: Source of the phase of its folds.
    """
    z, x = np.meshgrid(np.linspace(-75, front_mm + 25, 44), np.linspace(-75, 75, 44), indexing="ij")
    depth, rise = (31.0, 22.0) if arch == "upper" else (15.0, 9.0)
    y = depth + 2 * np.sin(0.15 * x + rng.uniform(0, 6)) + 2 * np.sin(0.13 * z)
    y = y + 8 * np.exp(-((x / 22) ** 2)) * (z < -5)  # deepest at the throat
    y = y - rise * np.clip((np.abs(x) - 26) / 14, 0, 1) * (z < 8)  # cheeks rise beside the arch
    return _mucosa(np.stack([x, rootwards[1] * y, z], -1), rootwards, _CHEEK_MARGIN_MM)


def build_lips(camera: Camera, rng: np.random.Generator) -> Part:
    """Build lips, gloves or a retractor: a folded annulus in camera space, so that it frames whatever is in view.

    Args:
        camera: The camera.
        rng: Source of the opening's size, its outline and the folds.
    """
    half = camera.width_mm / 2
    match camera.view:
        case "frontal":
            rx, ry = half * rng.uniform(0.95, 1.15), half * rng.uniform(0.50, 0.70)
            height, towards_viewer = rng.normal(0, 1), 17.0  # with less, the vestibule pokes through
        case "left" | "right":
            rx, ry = half * rng.uniform(1.0, 1.3), half * rng.uniform(0.54, 0.76)
            height, towards_viewer = rng.normal(0, 1), 11.0
        case _:
            rx, ry = half * rng.uniform(0.96, 1.1), half * rng.uniform(0.95, 1.1)
            height, towards_viewer = 0.0, -2.0
    angle = np.linspace(0, 2 * np.pi, _LIP_SPOKES)
    cos, sin = np.cos(angle), np.sin(angle)
    waves = 1 + sum(rng.normal(0, 0.03) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 9))
    superellipse = (np.abs(cos / rx) ** _LIP_EXPONENT + np.abs(sin / ry) ** _LIP_EXPONENT) ** (-1 / _LIP_EXPONENT)
    opening = superellipse * waves
    u = np.linspace(0, 1, _LIP_RINGS)[:, None]
    radius = opening * (1 + 1.3 * u**1.3)
    # the inner rim is rolled 12 mm into the mouth; from there the sheet rises 7 mm to the viewer
    lift = -12 * np.exp(-14 * u) + 7 * np.sqrt(np.clip(2.2 * u, 0, 1)) + 1.2 * np.sin(3 * angle + 1) * u
    folds = sum(  # amplitudes fall with the root of the frequency
        rng.normal(0, 1.1 / k**0.5) * np.sin(k * angle + 12 * u * rng.normal() + rng.uniform(0, 6))
        for k in range(3, 22)
    ) * np.clip(3 * u, 0, 1)
    in_camera = np.stack([radius * cos, radius * sin + height, lift + folds + towards_viewer], -1).reshape(-1, 3)
    vertices = camera.eye + (in_camera - np.array([0, 0, camera.distance_mm])) @ camera.axes
    attributes = {
        "margin_mm": np.broadcast_to(u, (_LIP_RINGS, _LIP_SPOKES)).reshape(-1),
        "height": np.broadcast_to(np.abs(sin), (_LIP_RINGS, _LIP_SPOKES)).reshape(-1),
    }
    return Part(vertices, grid_faces(_LIP_RINGS, _LIP_SPOKES), Tissue.LIP, 0, attributes, facing=camera.axes[2])


def _span(lingual_edge: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Sheet between the two halves of an edge: points, width (mm), dome height 0..1, share of the way across 0..1."""
    half = len(lingual_edge) // 2
    right, left = lingual_edge[: half + 1], lingual_edge[::-1][: half + 1]
    share = np.linspace(0, 1, _SPAN)[:, None]
    sheet = right * (1 - share[..., None]) + left * share[..., None]
    width = np.linalg.norm(right - left, axis=1)[None]
    return sheet, width, (4 * share * (1 - share)) ** 0.75, np.broadcast_to(share, sheet.shape[:2])


def _mucosa(sheet: FloatArray, rootwards: FloatArray, margin_mm: float) -> Part:
    vertices = sheet.reshape(-1, 3)
    attributes = {"margin_mm": np.full(len(vertices), margin_mm)}
    return Part(vertices, grid_faces(*sheet.shape[:2]), Tissue.MUCOSA, 0, attributes, facing=-rootwards)
