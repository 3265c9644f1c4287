"""Shading of painted surfaces: wrapped diffuse, two GGX lobes and a Fresnel reflection of the surroundings.

The GGX lobe follows Walter et al. 2007, other weights and exponents were chosen by eye. What does not depend on the
lighting is computed once per surface, in ``paint``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.light import Lighting
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface
from dentgen.phantom.tissue import Coat

_FRESNEL_NORMAL = 0.045


@dataclass(frozen=True, slots=True)
class Painted:
    """A traced and coated surface.

    Attributes:
        surface: First hits, one row per ray.
        coat: Optical values of the same rows.
        bumped: (n, 3) unit normals with the coat's fine relief.
    """

    surface: Surface
    coat: Coat
    bumped: FloatArray


def paint(surface: Surface, coat: Coat, grain: float, noise: LatticeNoise) -> Painted:
    """Add fine relief to a coated surface.

    Args:
        surface: First hits.
        coat: Their optical values, with the relief's strength.
        grain: Frequency of the relief, per mm.
        noise: The patient's texture.
    """
    return Painted(surface, coat, _bump(surface, coat.bump, grain, noise))


def shade(painted: Painted, lighting: Lighting, camera: Camera) -> FloatArray:
    """Linear RGB (n, 3), 0 upwards, that painted points send to the camera.

    Args:
        painted: The points; where nothing was hit, the result is ``lighting.surround``.
        lighting: Lamps and ambient light.
        camera: The camera.
    """
    surface, skin, bumped = painted.surface, painted.coat, painted.bumped
    view, normal = -surface.direction, surface.normal
    open_air = np.clip(surface.occlusion, 0, 1)
    hollow = np.isin(surface.tissue, [Tissue.PALATE, Tissue.TONGUE])  # less enclosed in a real mouth
    open_air = np.where(hollow, 0.45 + 0.55 * open_air, open_air)
    ao = open_air[:, None]
    tinted = ao / (ao + (1 - ao) * (1 - 0.75 * skin.albedo))  # interreflection tints crevices
    radiance = skin.albedo * lighting.ambient * tinted**1.3
    gloss_seen = np.clip(1.4 * open_air - 0.3, 0, 1)[:, None]
    second = np.where(surface.tissue == Tissue.TOOTH, 0.55, 0.25)
    wrap = skin.wrap[:, None] * [1.0, 0.8, 0.65]
    for towards, arriving, lamp in lighting.arriving(surface.position, camera):
        facing = (bumped * towards).sum(1, keepdims=True)
        diffuse = np.clip((facing + wrap) / (1 + wrap), 0, 1) ** 1.25
        radiance += skin.albedo * diffuse * arriving * (0.25 + 0.75 * ao) * tinted**0.6
        half = towards + view
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        alpha = np.sqrt(np.clip(skin.roughness, 0.08, 1) ** 4 + lamp.radius**2)
        lobe = _ggx(bumped, half, towards, view, alpha)
        lobe = lobe + second * _ggx(normal, half, towards, view, alpha + 0.2)
        radiance += lobe[:, None] * skin.sheen * arriving * lighting.gloss * gloss_seen
    cosine = (normal * view).sum(1)
    fresnel = 0.04 + 0.96 * (1 - np.clip(cosine, 0, 1)) ** 5
    mirrored = (2 * cosine[:, None] * normal - view) @ camera.axes[1]
    surroundings = np.clip(0.25 + 0.55 * mirrored, 0.05, 1) * np.clip(1.3 * open_air - 0.3, 0, 1)
    radiance += (0.9 * fresnel * surroundings)[:, None] * skin.sheen * lighting.ambient
    behind = np.clip((surface.depth_mm - (camera.distance_mm - 12)) / 60, 0, 1)[:, None]
    radiance *= 1 - lighting.fading * behind
    radiance[~surface.hit] = lighting.surround
    return radiance


def _bump(surface: Surface, strength: FloatArray, grain: float, noise: LatticeNoise) -> FloatArray:
    """Normals tilted against the noise gradient in the tangent plane."""
    step = 0.12  # mm
    here = noise.octaves(surface.position, grain, 2)
    gradient = np.stack([noise.octaves(surface.position + step * axis, grain, 2) - here for axis in np.eye(3)], 1)
    gradient /= step
    gradient -= (gradient * surface.normal).sum(1, keepdims=True) * surface.normal
    bumped = surface.normal - gradient * strength[:, None]
    return bumped / np.linalg.norm(bumped, axis=1, keepdims=True)


def _ggx(normal: FloatArray, half: FloatArray, light: FloatArray, view: FloatArray, alpha: FloatArray) -> FloatArray:
    """GGX lobe times n.l (Walter et al. 2007) with Schlick's approximations of Fresnel and masking terms."""
    nh = np.clip((normal * half).sum(1), 0, 1)
    nl = np.clip((normal * light).sum(1), 0, 1)
    nv = np.clip((normal * view).sum(1), 0.05, 1)
    vh = np.clip((view * half).sum(1), 0, 1)
    square = alpha * alpha
    distribution = square / (np.pi * (nh * nh * (square - 1) + 1) ** 2)
    k = alpha / 2
    masking = 1 / ((nl * (1 - k) + k) * (nv * (1 - k) + k)) / 4
    return distribution * masking * (_FRESNEL_NORMAL + (1 - _FRESNEL_NORMAL) * (1 - vh) ** 5) * nl
