"""Random changes of a finished sample: exposure, colour, blur, noise, compression, bars and rods, maps following."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dentgen.conditions.labels import BACKGROUND, INSTRUMENT
from dentgen.conditions.painted import clear_painted
from dentgen.conditions.prepare import EMPTY
from dentgen.generation.findings import seen_findings
from dentgen.phantom.surroundings.exposure import jpeg_round_trip
from dentgen.quality.srgb import to_linear, to_srgb
from dentgen.records import ConditionRecord, GeneratedSample
from dentgen.seeding import numpy_generator
from dentgen.spec.augment import AugmentSpec

_BEST_QUALITY = 95
#: Widths of bars and rods, as shares of the edge.
_BAR_SHARES, _ROD_SHARES = (0.03, 0.16), (0.03, 0.12)
#: sRGB colours of rods: steel, white and blue plastic, skin.
_ROD_COLOURS = ((150, 152, 156), (226, 226, 222), (70, 120, 170), (205, 150, 126))


def augment(sample: GeneratedSample, spec: AugmentSpec) -> GeneratedSample:
    """Change a sample as the spec says; its own seed, key and variant name all draws.

    Bars and rods are drawn into the picture and into every map: there is no tooth under them and no surface of the jaw.

    Args:
        sample: As it was decoded.
        spec: What to change.

    Returns:
        The changed sample with the drawn values in ``augment``; the sample itself if the spec changes nothing.
    """
    if spec == AugmentSpec():
        return sample
    request = sample.request
    scene = _Scene(sample.picture / 255.0, request.record, np.zeros(request.record.shape, bool))
    rng = numpy_generator(request.seed, "augment", request.record.key, request.noise)
    if rng.random() < spec.occluder:
        scene = _with_rod(scene, rng)
    scene = _photographed(scene, spec, rng)
    if rng.random() < spec.border:
        scene = _with_bars(scene, rng)
    picture = np.round(255 * np.clip(scene.picture, 0, 1)).astype(np.uint8)
    values = scene.values
    if spec.jpeg is not None:
        quality = int(rng.integers(spec.jpeg, _BEST_QUALITY + 1))
        picture, values = jpeg_round_trip(picture, quality), {**values, "jpeg": float(quality)}
    request = replace(request, record=scene.record)
    if request.finding_labels is not None:
        labels = np.where(scene.hidden, 0, request.finding_labels).astype(np.uint8)
        findings = seen_findings(request.findings, labels, scene.record.fdi)
        request = replace(request, finding_labels=labels, findings=findings)
    return replace(sample, request=request, picture=picture, augment=values)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A picture (H, W, 3) in 0..1, sRGB, with its maps, what is hidden of them (H, W), and the values drawn so far."""

    picture: NDArray[np.float64]
    record: ConditionRecord
    hidden: NDArray[np.bool_]
    values: dict[str, float] = field(default_factory=dict)


def _photographed(scene: _Scene, spec: AugmentSpec, rng: np.random.Generator) -> _Scene:
    """Exposure and colour in linear light, then contrast, blur and noise."""
    stops, warmth, contrast = (float(rng.normal(0, spread)) for spread in (spec.exposure, spec.colour, spec.contrast))
    blur, noise = (float(rng.uniform(0, most)) for most in (spec.blur, spec.noise))
    linear = to_linear(scene.picture) * 2.0**stops * np.exp([warmth, 0, -warmth])
    if blur:
        sigma = blur * max(scene.record.shape) / 256
        linear = gaussian_filter(linear, (sigma, sigma, 0))
    picture = 0.5 + (to_srgb(np.clip(linear, 0, 1)) - 0.5) * np.exp(contrast)
    if noise:
        picture = picture + rng.normal(0, noise, picture.shape)
    values = {"exposure": stops, "colour": warmth, "contrast": contrast, "blur": blur, "noise": noise}
    drawn = {name: round(value, 4) for name, value in values.items() if value}
    return replace(scene, picture=np.clip(picture, 0, 1), values={**scene.values, **drawn})


def _with_rod(scene: _Scene, rng: np.random.Generator) -> _Scene:
    """A shaded rod from an edge of the picture to some point in it."""
    height, width = scene.record.shape
    edge = max(height, width)
    end = rng.uniform(0.3, 0.7, 2) * (height, width)
    angle, thickness = rng.uniform(0, 2 * np.pi), rng.uniform(*_ROD_SHARES)
    down, right = np.mgrid[:height, :width] + 0.5
    along = (down - end[0]) * np.sin(angle) + (right - end[1]) * np.cos(angle)
    across = (right - end[1]) * np.sin(angle) - (down - end[0]) * np.cos(angle)
    radius = thickness * edge / 2
    reach = np.hypot(np.minimum(along, 0), across) / radius
    inside = reach < 1
    colour = np.array(_ROD_COLOURS[rng.integers(len(_ROD_COLOURS))]) / 255
    shade = np.sqrt(np.clip(1 - reach**2, 0, 1))[..., None]
    picture = np.where(inside[..., None], colour * (0.45 + 0.55 * shade), scene.picture)
    values = {**scene.values, "occluder": round(float(thickness), 4)}
    return _Scene(picture, _hidden(scene.record, inside, INSTRUMENT), scene.hidden | inside, values)


def _with_bars(scene: _Scene, rng: np.random.Generator) -> _Scene:
    """Black or white bars on both sides, or above and below."""
    height, width = scene.record.shape
    share, level = rng.uniform(*_BAR_SHARES), float(rng.random() < 0.3)
    bars = np.zeros((height, width), bool)
    if rng.random() < 0.5:
        rows = max(1, round(share * height))
        bars[:rows] = bars[-rows:] = True
    else:
        columns = max(1, round(share * width))
        bars[:, :columns] = bars[:, -columns:] = True
    picture = np.where(bars[..., None], level, scene.picture)
    values = {**scene.values, "border": round(float(share), 4)}
    return _Scene(picture, _hidden(scene.record, bars, BACKGROUND), scene.hidden | bars, values)


def _hidden(record: ConditionRecord, where: NDArray[np.bool_], seg_class: int) -> ConditionRecord:
    """The record's maps with ``seg_class`` and nothing of the jaw where something lies before it."""
    conditions = {}
    for name, array in record.conditions.items():
        changed = array.copy()
        changed[where] = seg_class if name == "segmentation" else EMPTY[name]
        conditions[name] = changed
    fdi = None if record.fdi is None else np.where(where, 0, record.fdi).astype(np.uint8)
    painted = tuple(clear_painted(region, where) for region in record.painted)
    return replace(record, conditions=conditions, fdi=fdi, painted=painted)
