"""The reference picture: what a camera sees, developed like an intra-oral photograph or rendered like a scan model.

A photograph goes through a lens: short-range subsurface blur, glare, vignette, grain. A scan model stands before a flat
background, as sharp as its samples. Refuses to know labels.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.light import Lighting
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.scene import Surface
from dentgen.phantom.visible_surface import Sight

#: The grey behind the original project's scan models.
SCAN_BACKGROUND: Final = 59
_SUBSURFACE_SIGMA = (1.1, 0.7, 0.5)  # pixels at 256


def photograph(sight: Sight, lighting: Lighting, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB photograph; ``rng`` draws its grain."""
    centres = sight.centres.surface
    image = _expose(sight.radiance(lighting), centres, lighting).reshape(sight.size, sight.size, 3)
    image = _tone(_lens(image, centres, lighting))
    image = image + _sensor_noise(image, rng)
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def scan_render(sight: Sight, lighting: Lighting) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB render of a scan model before ``SCAN_BACKGROUND``."""
    coverage = sight.coverage()
    model = sight.radiance(lighting) / np.maximum(coverage, 1e-9)  # what missed the model added nothing
    model = 255 * _tone(_expose(model, sight.centres.surface, lighting))
    image = coverage * np.clip(model, 0, 255) + (1 - coverage) * SCAN_BACKGROUND
    return np.round(image).astype(np.uint8).reshape(sight.size, sight.size, 3)


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


def _sensor_noise(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Noise of a sensor at a random gain: photons in the light, read-out in the dark, most of it shared by channels."""
    gain = rng.uniform(0.3, 1.2)
    shared, coloured = rng.normal(0, 1, (*image.shape[:2], 1)), rng.normal(0, 1, image.shape)
    return gain * (0.003 + 0.006 * np.sqrt(np.clip(image, 0, 1))) * (0.85 * shared + 0.5 * coloured)


def _tone(image: FloatArray) -> FloatArray:
    """Linear light to sRGB, with a shoulder above 0.6."""
    image = np.where(image > 0.6, 0.6 + 0.4 * np.tanh((image - 0.6) / 0.45), np.clip(image, 0, 1))
    return np.where(image <= 0.0031308, 12.92 * image, 1.055 * np.maximum(image, 1e-9) ** (1 / 2.4) - 0.055)
