"""An invisible watermark: a keyed pattern of signs in the luminance of a picture, found again without the original.

Additive spread spectrum in the discrete cosine transform of the whole picture (Cox, Kilian, Leighton, Shamoon 1997,
"Secure spread spectrum watermarking for multimedia", IEEE Transactions on Image Processing 6(12), equation 1 with a
pattern of signs). Coefficient (u, v) counts half-cycles per picture, so the pattern survives resizing of the whole
picture.

It tells the origin and protects nothing: all pictures of a key have the same pattern, so whoever averages many of them
can estimate and remove it, and cropping, turning or mirroring a picture hides it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter, uniform_filter

from dentgen.errors import ConditionError

Pixels = NDArray[np.uint8]
Signs = NDArray[np.int8]
_Numbers = NDArray[np.float64]

#: Scores over this are marked. Scores of any picture under random keys have mean 0 and standard deviation 1, and are a
#: sum of over a thousand independent terms, so about one in a billion is over 6. Whatever the picture, the probability
#: is below exp(-18) = 1.5e-8 (Hoeffding 1963, theorem 2).
THRESHOLD: Final = 6.0
#: Half-cycles per picture at which the pattern begins and ends; slower ones hold most of a picture's energy.
_INNER: Final = 40
_OUTER: Final = 112
#: Least edge of a picture that is marked, which has the whole pattern, and of one that is searched.
LEAST_MARKED: Final = _OUTER
LEAST_SEARCHED: Final = _OUTER // 2
#: Root mean square of what is added, grey levels: a PSNR of 42 dB; and its largest share of the picture's own detail.
_STRENGTH: Final = 1.9
_LARGEST_SHARE: Final = 0.5
#: Strength by the magnitude of neighbouring coefficients: 0 would be the same everywhere, 1 a share of each.
_EXPONENT: Final = 0.5
#: Edge of the neighbourhood of a coefficient.
_NEIGHBOURS: Final = 9
#: Local contrast, grey levels, at which half of the pattern is added: flat areas stay clean.
_CONTRAST: Final = 3.0
#: Distance from black and white, grey levels, from which all of the pattern is added; bars stay clean up to their edge.
_HEADROOM: Final = 16.0
#: Of the local contrast: standard deviations of its window per picture.
_WINDOWS: Final = 64
#: Magnitude, grey levels, under which coefficients count little, because compression and resizing replace them.
_NOISE: Final = 3.0
#: Whitened coefficients count up to this.
_CLIP: Final = 3.0
#: ITU-R BT.601 weights of red, green and blue, as in JPEG.
_LUMINANCE: Final = (0.299, 0.587, 0.114)
#: Root mean square of coefficients under which a picture has no detail but rounding errors.
_NO_DETAIL: Final = 1e-6


def signs_of(key: bytes) -> Signs:
    """Pattern of a key, whatever the size of pictures: SHAKE-256 of HMAC-SHA256(key, "dentgen watermark 1").

    Returns:
        (112, 112) int8 by vertical and horizontal half-cycles: -1 or 1 in the annulus of the pattern, else 0.
    """
    seed = hmac.digest(key, b"dentgen watermark 1", "sha256")
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(seed).digest(_OUTER * _OUTER // 8), np.uint8))
    radius = np.hypot(*np.ogrid[:_OUTER, :_OUTER])
    inside = (radius >= _INNER) & (radius < _OUTER)
    signs: Signs = np.where(inside, bits.reshape(_OUTER, _OUTER).astype(np.int8) * 2 - 1, 0).astype(np.int8)
    return signs


def marked(picture: Pixels, signs: Signs, place: str = "") -> Pixels:
    """The picture with the pattern; red, green and blue change by the same value, so colours stay.

    Args:
        picture: (H, W, 3) RGB.
        signs: Pattern, of ``signs_of``.
        place: Name of the picture, for messages.

    Returns:
        (H, W, 3): the same on one machine, whenever picture and pattern are the same.

    Raises:
        ConditionError: If an edge has fewer than 112 pixels, too few for the pattern.
    """
    _require_edges(picture, LEAST_MARKED, place)
    added = _added(_luminance(picture), signs)
    return np.clip(np.rint(picture + added[..., None]), 0, 255).astype(np.uint8)


def score(picture: Pixels, signs: Signs, place: str = "") -> float:
    """How clearly a picture carries the pattern, in standard deviations; 0 if it has no detail at all.

    Whitened coefficients are correlated with the pattern. What a weight of a coefficient is depends on the picture
    alone, so the score under a random key has mean 0 and variance 1 for every picture.

    Args:
        picture: (H, W, 3) RGB, resized or compressed, but neither cropped nor turned.
        signs: Pattern, of ``signs_of``.
        place: Name of the picture, for messages.

    Raises:
        ConditionError: If an edge has fewer than 56 pixels.
    """
    _require_edges(picture, LEAST_SEARCHED, place)
    found, pattern = _coefficients(_luminance(picture), signs)
    size = _magnitude(found) + np.finfo(np.float64).tiny
    if np.sqrt(np.square(found[pattern != 0]).mean()) < _NO_DETAIL:
        return 0.0
    white = np.clip(found / size, -_CLIP, _CLIP)
    weighted = white * size ** (_EXPONENT - 1) * size**2 / (size**2 + _NOISE**2)
    return float((pattern * weighted).sum() / np.sqrt(np.square(weighted[pattern != 0]).sum()))


def _require_edges(picture: Pixels, least: int, place: str) -> None:
    height, width = picture.shape[:2]
    if min(height, width) < least:
        raise ConditionError(place, f"{width} x {height} pixels", f"edges of at least {least} pixels for a watermark")


def _luminance(picture: Pixels) -> _Numbers:
    return picture @ np.array(_LUMINANCE)


def _coefficients(grey: _Numbers, signs: Signs) -> tuple[_Numbers, Signs]:
    """Orthonormal coefficients of a grey picture (H, W) where the pattern may be, and as much of the pattern."""
    height, width = (min(edge, _OUTER) for edge in grey.shape)
    found: _Numbers = dctn(grey, norm="ortho")[:height, :width]
    return found, signs[:height, :width]


def _magnitude(coefficients: _Numbers) -> _Numbers:
    """Mean magnitude in the neighbourhood of every coefficient."""
    local: _Numbers = uniform_filter(np.abs(coefficients), _NEIGHBOURS, mode="reflect")
    return local


def _added(grey: _Numbers, signs: Signs) -> _Numbers:
    """What is added to a grey picture (H, W), in grey levels."""
    own, pattern = _coefficients(grey, signs)
    spectrum = np.zeros_like(grey)
    spectrum[:_OUTER, :_OUTER] = pattern * _magnitude(own) ** _EXPONENT
    added: _Numbers = idctn(spectrum, norm="ortho") * _room(grey)
    detail = np.sqrt(np.square(own[pattern != 0]).sum() / grey.size)
    wanted = min(_STRENGTH, _LARGEST_SHARE * detail)
    return added * (wanted / max(np.sqrt(np.square(added).mean()), _NO_DETAIL))


def _room(grey: _Numbers) -> _Numbers:
    """0 in black, white and flat areas of a grey picture (H, W) to 1 in rich ones, by the local standard deviation."""
    window = np.sqrt(grey.size) / _WINDOWS
    mean, square = gaussian_filter(grey, window), gaussian_filter(np.square(grey), window)
    contrast = np.sqrt(np.maximum(square - np.square(mean), 0))
    headroom = np.clip(np.minimum(grey, 255 - grey) / _HEADROOM, 0, 1)
    share: _Numbers = headroom * contrast / (contrast + _CONTRAST)
    return share
