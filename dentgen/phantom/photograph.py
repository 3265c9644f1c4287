"""Reference pictures: an intra-oral photograph with lens and sensor, or a sharp scan model on a flat background.

Constants without a source were chosen by eye against five real intra-oral photographs.
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
from dentgen.phantom.surroundings.depth_of_field import defocused
from dentgen.phantom.surroundings.exposure import Exposure, blurred, compressed, exposed
from dentgen.phantom.visible_surface import Sight
from dentgen.quality.srgb import to_srgb

#: Grey behind scan models, measured on the published renders of the original dental-image-generation project.
SCAN_BACKGROUND: Final = 59
#: Rec. 601's luma weights (0.299, 0.587, 0.114) to one digit.
_LUMINANCE: Final = (0.3, 0.6, 0.1)
#: Light that enters tissue and leaves it nearby, red the farthest: sigma of R, G, B in pixels at 256, and its share.
_SUBSURFACE_SIGMA: Final = (1.1, 0.7, 0.5)
_SUBSURFACE_SHARE: Final = 0.38
#: Lips lie in front of the focal plane: sigma of their blur, and of the mask's soft edge, in pixels at 256.
_LIP_BLUR_SIGMA, _LIP_EDGE_SIGMA = 2.2, 1.5
#: Glare: share of the light above a level that spreads around highlights, and its sigma in pixels at 256.
_GLARE_SHARE, _GLARE_FROM, _GLARE_SIGMA = 0.25, 0.85, 5
#: Light of the brightest string of saliva over that of the median tooth pixel.
_STRAND_LIGHT: Final = 0.9
#: Noise of a sensor, as shares of white: a floor (read-out) and a part that grows with the root of the light (photons).
_READOUT_NOISE, _PHOTON_NOISE = 0.003, 0.006
#: Amplitudes of the noise that all channels share and of each channel's own.
_SHARED_NOISE, _CHANNEL_NOISE = 0.85, 0.5
#: Highlights are compressed above this level of linear light, as film and cameras do; the width of the roll-off.
_SHOULDER, _SHOULDER_WIDTH = 0.6, 0.45


def photograph(
    sight: Sight,
    lighting: Lighting,
    rng: np.random.Generator,
    exposure: Exposure | None = None,
    strands: FloatArray | None = None,
) -> NDArray[np.uint8]:
    """Develop a photograph of what a camera sees.

    Args:
        sight: Painted surface.
        lighting: Lamps and exposure.
        rng: Source of the grain.
        exposure: Faults of the camera; None for the well exposed pictures of a clinic.
        strands: (H, W) light of strings of saliva, 0..1 of their brightest; None for none.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    centres = sight.centres.surface
    if exposure is not None:
        lighting = exposed(lighting, exposure)
    image = _expose(sight.radiance(lighting), centres, lighting).reshape(sight.size, sight.size, 3)
    if strands is not None:
        image = image + _STRAND_LIGHT * lighting.target * strands[..., None]
    if exposure is not None:
        image = _focused(image, centres, exposure)
    image = _lens(image, centres, lighting)
    image = _tone(image if exposure is None else blurred(image, exposure))
    image = image + _sensor_noise(image, rng)
    picture = (255 * np.clip(image, 0, 1)).astype(np.uint8)
    return picture if exposure is None else compressed(picture, exposure, rng)


def _focused(image: FloatArray, centres: Surface, exposure: Exposure) -> FloatArray:
    """Blur what lies before or behind the teeth; where no ray hit anything is infinitely far behind them."""
    depth = np.where(centres.hit, centres.depth_mm, np.inf).reshape(image.shape[:2])
    teeth = (centres.tissue == Tissue.TOOTH).reshape(image.shape[:2])
    return defocused(image, depth, teeth, exposure.defocus)


def scan_render(sight: Sight, lighting: Lighting) -> NDArray[np.uint8]:
    """Render a scan model on a background of ``SCAN_BACKGROUND``, antialiased by the samples' coverage.

    Args:
        sight: Painted surface of the cast.
        lighting: Neutral lamps and exposure, with a black surround.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    coverage = sight.coverage()
    model = sight.radiance(lighting) / np.maximum(coverage, 1e-9)  # misses contributed black
    model = 255 * _tone(_expose(model, sight.centres.surface, lighting))
    image = coverage * np.clip(model, 0, 255) + (1 - coverage) * SCAN_BACKGROUND
    return np.round(image).astype(np.uint8).reshape(sight.size, sight.size, 3)


def _expose(radiance: FloatArray, centres: Surface, lighting: Lighting) -> FloatArray:
    """Scale so that the median tooth pixel has the lighting's target luminance."""
    teeth = centres.tissue == Tissue.TOOTH
    luminance = radiance[teeth] @ _LUMINANCE
    median = float(np.median(luminance)) if teeth.sum() > 50 else 0.5  # too few tooth pixels: mid-grey exposure
    return radiance * lighting.target / max(median, 0.05)


def _lens(image: FloatArray, centres: Surface, lighting: Lighting) -> FloatArray:
    """Subsurface blur, out-of-focus lips, glare around highlights, vignette."""
    size = len(image)
    scale = size / 256
    bled = np.stack([gaussian_filter(image[..., c], sigma * scale) for c, sigma in enumerate(_SUBSURFACE_SIGMA)], -1)
    image = (1 - _SUBSURFACE_SHARE) * image + _SUBSURFACE_SHARE * bled
    lips = (centres.tissue == Tissue.LIP).reshape(size, size).astype(float)
    lips = gaussian_filter(lips, _LIP_EDGE_SIGMA * scale)[..., None]
    image = image * (1 - lips) + _blur(image, _LIP_BLUR_SIGMA * scale) * lips
    image = image + _GLARE_SHARE * _blur(np.clip(image - _GLARE_FROM, 0, 2), _GLARE_SIGMA * scale)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    return image * (1 - lighting.vignette * (x**2 + y**2))[..., None]


def _blur(image: FloatArray, sigma: float) -> FloatArray:
    return gaussian_filter(image, (sigma, sigma, 0))


def _sensor_noise(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Read-out and photon noise at a random gain, most of it shared by the channels."""
    gain = rng.uniform(0.3, 1.2)
    shared, coloured = rng.normal(0, 1, (*image.shape[:2], 1)), rng.normal(0, 1, image.shape)
    strength = gain * (_READOUT_NOISE + _PHOTON_NOISE * np.sqrt(np.clip(image, 0, 1)))
    return strength * (_SHARED_NOISE * shared + _CHANNEL_NOISE * coloured)


def _tone(image: FloatArray) -> FloatArray:
    """Compress highlights and apply the sRGB transfer function (IEC 61966-2-1)."""
    rolled_off = _SHOULDER + 0.4 * np.tanh((image - _SHOULDER) / _SHOULDER_WIDTH)  # approaches 1
    image = np.where(image > _SHOULDER, rolled_off, np.clip(image, 0, 1))
    return to_srgb(image)
