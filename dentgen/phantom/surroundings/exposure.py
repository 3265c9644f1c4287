"""Faults of a camera: exposure, white balance, contrast, focus, motion, noise, fog and compression."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.light import Lighting

#: Lightness L* of teeth in 711 photographs: mean and standard deviation; 5, 50 and 95 % have less than 48, 66 and 82.
_LIGHTNESS_MEAN, _LIGHTNESS_SPREAD = 65.5, 10.3
#: Means of white balance (red against blue, magenta against green) and contrast, logarithms. In the same photographs
#: teeth have a* 9.1 +- 5.8 and b* 16 +- 8.3 on average, everything else 19.9 and 12.3.
_WARMTH_MEAN, _TINT_MEAN, _CONTRAST_MEAN = 0.0, 0.085, 0.16
#: Luminance of teeth in well exposed pictures.
_WELL_EXPOSED = 0.66
#: Width of the lens's opening over its distance, from a phone (1 mm at 250 mm) to a macro lens at f/8 (12 mm at 400
#: mm): so much wider a point gets per mm out of focus. Standard deviation along one axis of an even disc of width 1.
_APERTURE, _SIGMA = (0.004, 0.03), 0.25


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a camera does to linear light.

    Attributes:
        target: Median luminance of teeth, 0..1.
        surround: Factor on the light of what is behind the mouth, near 0 before black.
        gains: (3,) factors of red, green and blue.
        blur_px, motion_px: Sigma of the blur, and the way of a shake, (2,), at 256 pixels.
        noise: Standard deviation of additional noise, 0..1.
        fog: Share of white mist before the lens, 0..1.
        contrast: Exponent about mid-grey.
        quality: JPEG quality, 100 for none.
        defocus: Sigma of the blur, pixels at 256, for each mm before or behind the teeth.
    """

    target: float
    surround: float
    gains: FloatArray
    blur_px: float
    motion_px: FloatArray
    noise: float
    fog: float
    contrast: float
    quality: int
    defocus: float


def sample_exposure(strength: float, black: float, width_mm: float, rng: np.random.Generator) -> Exposure:
    """Draw the faults of one picture.

    Args:
        strength: 0 gives a well exposed, sharp picture, 1 all that is seen.
        black: Share of pictures before black.
        width_mm: Width of the picture at the teeth, which a blur of one size is a smaller part of from farther away.
        rng: Source of all faults.
    """
    lightness = np.clip(rng.normal(_LIGHTNESS_MEAN, _LIGHTNESS_SPREAD), 30, 92)
    target = float(_WELL_EXPOSED + strength * (((lightness + 16) / 116) ** 3 - _WELL_EXPOSED))  # CIE 1976
    warmth = rng.normal(_WARMTH_MEAN, 0.11) * strength
    tint = rng.normal(_TINT_MEAN, 0.05) * strength
    shaken = rng.random() < 0.15 * strength
    angle = rng.uniform(0, np.pi)
    return Exposure(
        target=target,
        surround=0.05 if rng.random() < black else float(rng.uniform(0.6, 2.5)),
        gains=np.exp([warmth, -tint, -1.3 * warmth]),
        blur_px=float(abs(rng.normal(0, 0.55)) * strength + (rng.uniform(0.6, 1.8) * (rng.random() < 0.15) * strength)),
        motion_px=(rng.uniform(2, 7) if shaken else 0.0) * np.array([np.sin(angle), np.cos(angle)]),
        noise=float(abs(rng.normal(0, 0.012)) * strength),
        fog=float(rng.uniform(0.05, 0.3) * (rng.random() < 0.07) * strength),
        contrast=float(np.exp(rng.normal(_CONTRAST_MEAN, 0.16) * strength)),
        quality=int(rng.integers(45, 96)) if rng.random() < 0.6 * strength else 100,
        defocus=float(rng.uniform(*_APERTURE)) * _SIGMA * 256 / width_mm * strength,
    )


def exposed(lighting: Lighting, exposure: Exposure) -> Lighting:
    """The same lamps at the exposure's brightness, before black if it says so."""
    surround = lighting.surround * exposure.surround
    return replace(lighting, target=exposure.target, surround=surround)


def blurred(image: FloatArray, exposure: Exposure) -> FloatArray:
    """Linear light (H, W, 3) after white balance, blur and fog."""
    scale = len(image) / 256
    image = image * exposure.gains
    if exposure.blur_px > 0.05:
        image = gaussian_filter(image, (exposure.blur_px * scale, exposure.blur_px * scale, 0))
    if exposure.motion_px.any():
        steps = [
            shift(image, (*(t * scale * exposure.motion_px), 0), order=1, mode="nearest")
            for t in (-0.5, -0.25, 0, 0.25, 0.5)
        ]
        image = np.mean(steps, axis=0)
    return image * (1 - exposure.fog) + exposure.fog * 0.55


def compressed(picture: NDArray[np.uint8], exposure: Exposure, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The finished sRGB picture (H, W, 3) with contrast, noise and JPEG's traces."""
    share = picture / 255.0
    share = np.clip(0.5 + (share - 0.5) * exposure.contrast, 0, 1)
    if exposure.noise:
        share = np.clip(share + rng.normal(0, exposure.noise, share.shape), 0, 1)
    noisy = np.round(255 * share).astype(np.uint8)
    if exposure.quality == 100:
        return noisy
    return jpeg_round_trip(noisy, exposure.quality)


def jpeg_round_trip(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as it is after compression."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))
