"""The reference picture: a traced scene shaded to look like an intra-oral photograph.

Wrapped diffuse light with coloured occlusion, two GGX lobes, a Fresnel reflection of the surroundings, then a lens:
short-range subsurface blur, glare, vignette, grain. Refuses to know labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dentgen.conditions.phantom.anatomy import FloatArray
from dentgen.conditions.phantom.light import Lighting
from dentgen.conditions.phantom.material import Material
from dentgen.conditions.phantom.mesh import Tissue
from dentgen.conditions.phantom.noise import LatticeNoise
from dentgen.conditions.phantom.scene import Scene, Surface
from dentgen.conditions.phantom.tissue import coat

_EDGE_SAMPLES = ((0.15, 0.35), (0.65, 0.12), (0.86, 0.64), (0.35, 0.86))
_DEPTH_JUMP_MM = 0.9
_SUBSURFACE_SIGMA = (1.1, 0.7, 0.5)  # pixels at 256
_FRESNEL_NORMAL = 0.045


def reference_picture(
    scene: Scene, centres: Surface, material: Material, lighting: Lighting, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB picture of ``scene``; ``rng`` draws texture and grain."""
    size, noise = scene.size, LatticeNoise(rng)
    radiance = _shade(scene, centres, material, lighting, noise)
    edge = np.flatnonzero(_edges(centres, size))
    column = np.concatenate([edge % size + dx for dx, _ in _EDGE_SAMPLES])
    row = np.concatenate([edge // size + dy for _, dy in _EDGE_SAMPLES])
    extra = _shade(scene, scene.trace(column, row), material, lighting, noise)
    samples = len(_EDGE_SAMPLES)
    radiance[edge] = (radiance[edge] + extra.reshape(samples, -1, 3).sum(0)) / (samples + 1)
    image = _expose(radiance, centres, lighting).reshape(size, size, 3)
    return _develop(_lens(image, centres, lighting), rng)


def _edges(centres: Surface, size: int) -> NDArray[np.bool_]:
    """Pixels next to a change of tissue, tooth or depth: only these need more than one sample."""
    label = (centres.tissue.astype(int) * 100 + centres.fdi).reshape(size, size)
    depth = centres.depth_mm.reshape(size, size)
    edge = np.zeros((size, size), bool)
    across = (label[:, 1:] != label[:, :-1]) | (np.abs(np.diff(depth, axis=1)) > _DEPTH_JUMP_MM)
    down = (label[1:] != label[:-1]) | (np.abs(np.diff(depth, axis=0)) > _DEPTH_JUMP_MM)
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _shade(scene: Scene, surface: Surface, material: Material, lighting: Lighting, noise: LatticeNoise) -> FloatArray:
    """Linear RGB (n, 3) towards the viewer."""
    skin = coat(surface, material, noise)
    view, normal = -surface.direction, surface.normal
    bumped = _bump(surface, skin.bump, material.grain, noise)
    open_air = np.clip(surface.occlusion, 0, 1)
    hollow = np.isin(surface.tissue, [Tissue.PALATE, Tissue.TONGUE])  # wide open in a real mouth
    open_air = np.where(hollow, 0.45 + 0.55 * open_air, open_air)
    ao = open_air[:, None]
    tinted = ao / (ao + (1 - ao) * (1 - 0.75 * skin.albedo))  # light bounced between neighbours
    radiance = skin.albedo * lighting.ambient * tinted**1.3
    gloss_seen = np.clip(1.4 * open_air - 0.3, 0, 1)[:, None]
    second = np.where(surface.tissue == Tissue.TOOTH, 0.55, 0.25)
    wrap = skin.wrap[:, None] * [1.0, 0.8, 0.65]
    for towards, arriving, lamp in lighting.arriving(surface.position, scene.camera):
        facing = (bumped * towards).sum(1, keepdims=True)
        diffuse = np.clip((facing + wrap) / (1 + wrap), 0, 1) ** 1.25
        radiance += skin.albedo * diffuse * arriving * (0.25 + 0.75 * ao) * tinted**0.6
        half = towards + view
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        alpha = np.sqrt(np.clip(skin.roughness, 0.08, 1) ** 4 + lamp.radius**2)
        lobe = _ggx(bumped, half, towards, view, alpha)
        lobe = (lobe + second * _ggx(normal, half, towards, view, alpha + 0.2)) * skin.gloss
        radiance += lobe[:, None] * arriving * lighting.gloss * gloss_seen
    cosine = (normal * view).sum(1)
    fresnel = 0.04 + 0.96 * (1 - np.clip(cosine, 0, 1)) ** 5
    mirrored = (2 * cosine[:, None] * normal - view) @ scene.camera.axes[1]
    surroundings = np.clip(0.25 + 0.55 * mirrored, 0.05, 1) * np.clip(1.3 * open_air - 0.3, 0, 1)
    radiance += (0.9 * fresnel * surroundings * skin.gloss)[:, None] * lighting.ambient
    behind = np.clip((surface.depth_mm - (scene.camera.distance_mm - 12)) / 60, 0, 1)[:, None]
    radiance *= 1 - 0.45 * behind
    radiance[~surface.hit] = lighting.surround
    return radiance


def _bump(surface: Surface, strength: FloatArray, grain: float, noise: LatticeNoise) -> FloatArray:
    step = 0.12
    here = noise.octaves(surface.position, grain, 2)
    gradient = np.stack([noise.octaves(surface.position + step * axis, grain, 2) - here for axis in np.eye(3)], 1)
    gradient /= step
    gradient -= (gradient * surface.normal).sum(1, keepdims=True) * surface.normal
    bumped = surface.normal - gradient * strength[:, None]
    return bumped / np.linalg.norm(bumped, axis=1, keepdims=True)


def _ggx(normal: FloatArray, half: FloatArray, light: FloatArray, view: FloatArray, alpha: FloatArray) -> FloatArray:
    """GGX microfacet lobe times n.l (Walter et al. 2007), Schlick's Fresnel and masking."""
    nh = np.clip((normal * half).sum(1), 0, 1)
    nl = np.clip((normal * light).sum(1), 0, 1)
    nv = np.clip((normal * view).sum(1), 0.05, 1)
    vh = np.clip((view * half).sum(1), 0, 1)
    square = alpha * alpha
    distribution = square / (np.pi * (nh * nh * (square - 1) + 1) ** 2)
    k = alpha / 2
    masking = 1 / ((nl * (1 - k) + k) * (nv * (1 - k) + k)) / 4
    return distribution * masking * (_FRESNEL_NORMAL + (1 - _FRESNEL_NORMAL) * (1 - vh) ** 5) * nl


def _expose(radiance: FloatArray, centres: Surface, lighting: Lighting) -> FloatArray:
    """Scale so that the median tooth has the lighting's target luminance."""
    teeth = centres.tissue == Tissue.TOOTH
    luminance = radiance[teeth] @ [0.3, 0.6, 0.1]
    median = float(np.median(luminance)) if teeth.sum() > 50 else 0.5
    return radiance * lighting.target / max(median, 0.05)


def _lens(image: FloatArray, centres: Surface, lighting: Lighting) -> FloatArray:
    """Subsurface blur, soft lips (out of focus), glare around highlights, vignette."""
    size = len(image)
    scale = size / 256
    bled = np.stack([gaussian_filter(image[..., c], sigma * scale) for c, sigma in enumerate(_SUBSURFACE_SIGMA)], -1)
    image = 0.62 * image + 0.38 * bled
    lips = (centres.tissue == Tissue.LIP).reshape(size, size).astype(float)
    lips = gaussian_filter(lips, 1.5 * scale)[..., None]
    image = image * (1 - lips) + gaussian_filter(image, (2.2 * scale, 2.2 * scale, 0)) * lips
    image = image + 0.25 * gaussian_filter(np.clip(image - 0.85, 0, 2), (5 * scale, 5 * scale, 0))
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    return image * (1 - lighting.vignette * (x**2 + y**2))[..., None]


def _develop(image: FloatArray, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shoulder above 0.6, sRGB curve, a little grain, 8 bits."""
    image = np.where(image > 0.6, 0.6 + 0.4 * np.tanh((image - 0.6) / 0.45), np.clip(image, 0, 1))
    image = np.where(image <= 0.0031308, 12.92 * image, 1.055 * np.maximum(image, 1e-9) ** (1 / 2.4) - 0.055)
    image = image + rng.normal(0, 0.006, (*image.shape[:2], 1))
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)
