"""Lighting maps shaded from normal and depth maps alone: ambient, Lambert and specular terms with occluded crevices.

Lamps are at infinity; there are no cast shadows and no interreflection, and surfaces hidden from the camera occlude
nothing, so a map rendered from meshes is closer to the truth. The arithmetic is limited to sums, products, quotients
and square roots in a mirror-symmetric order: bytes are equal on every platform, and mirroring a record together with
its lamps mirrors the map bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import has_surface
from dentgen.errors import SpecError
from dentgen.records import MapArray
from dentgen.seeding import numpy_generator

FloatMap = NDArray[np.float64]
#: Value of the attribute ``lighting`` of records whose lighting map was replaced.
RELIT: Final = "relit"
LightStyle = Literal["soft", "flash", "overhead", "side", "extreme"]
LIGHT_STYLES: Final[tuple[LightStyle, ...]] = get_args(LightStyle)
#: Strength of the screen-space occlusion, fitted to the phantoms' ray-traced occlusion and lighting maps.
_DARKENING: Final = 1.5
#: Tangent of half the greatest angle, 60 degrees, of a lamp that swings.
_SWING: Final = 0.5773502691896257


@dataclass(frozen=True, slots=True)
class DirectionalLight:
    """A lamp at infinity.

    Attributes:
        direction: Vector to the lamp in camera space (x right, y up, z to the viewer), of any length but zero.
        strength: Share of the direct light, 0..1.

    Raises:
        SpecError: If the direction is zero, infinite or NaN.
    """

    direction: tuple[float, float, float]
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Check the direction."""
        if not (np.isfinite(self.direction).all() and any(self.direction)):
            raise SpecError(
                key="light direction", found=self.direction, expected="three finite numbers that are not all zero"
            )


@dataclass(frozen=True, slots=True)
class ClayLighting:
    """The light of one map; the default weights are those of the phantoms' lighting maps.

    Attributes:
        lights: The lamps.
        ambient: Weight of the ambient term, 0..1.
        direct: Weight of the Lambert term, 0..1.
        gloss: Weight of the specular term, 0..1.
        style: Preset it was drawn from, "" if none.
    """

    lights: tuple[DirectionalLight, ...]
    ambient: float = 0.12
    direct: float = 0.72
    gloss: float = 0.14
    style: LightStyle | Literal[""] = ""

    def mirrored(self) -> ClayLighting:
        """The lamps mirrored left to right: x changes sign."""
        lights = (replace(light, direction=(-light.direction[0], *light.direction[1:])) for light in self.lights)
        return replace(self, lights=tuple(lights))


def draw_lightings(seed: int, key: str, count: int) -> list[ClayLighting]:
    """Draw the first ``count`` lightings of a record; a larger ``count`` only appends.

    Args:
        seed: Seed of the set.
        key: Key of the record.
        count: Number of lightings. The styles repeat with a period of five, in an order drawn per record.
    """
    styles = numpy_generator(seed, key, "relight").permutation(len(LIGHT_STYLES))
    return [
        draw_lighting(numpy_generator(seed, key, "relight", index), LIGHT_STYLES[styles[index % len(styles)]])
        for index in range(count)
    ]


def draw_swing(seed: int, key: str, frames: int) -> list[ClayLighting]:
    """Draw a lamp at the side that swings about the lens: 60 degrees to one side, to the other, and back.

    Args:
        seed: Seed of the set.
        key: Key of the record.
        frames: Lightings on the whole way, which is closed.
    """
    lighting = draw_lighting(numpy_generator(seed, key, "swing"), "side")
    return [_turned(lighting, _SWING * _wave(frame / frames)) for frame in range(frames)]


def _wave(phase: float) -> float:
    """A sine of parabolas for a phase 0..1: 0, 1, 0, -1, 0; without a library's rounding."""
    x = phase if phase <= 0.5 else phase - 1
    return 8 * x * (1 - 2 * abs(x))


def _turned(lighting: ClayLighting, half_tangent: float) -> ClayLighting:
    """Lamps turned about the lens's axis by an angle, of which the tangent of the half is given."""
    t = half_tangent
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    turned = [
        replace(light, direction=(x * cos - y * sin, x * sin + y * cos, z))
        for light in lighting.lights
        for x, y, z in [light.direction]
    ]
    return replace(lighting, lights=tuple(turned))


def draw_lighting(rng: np.random.Generator, style: LightStyle) -> ClayLighting:
    """Draw the light of one map.

    Args:
        rng: Source of the lamp positions.
        style: ``soft`` is a wide group of lamps around the lens; ``flash`` one lamp next to it; ``overhead`` and
            ``side`` one lamp 40-65 degrees off axis with a faint fill opposite; ``extreme`` one grazing lamp from any
            side with almost no ambient light.
    """
    x, y = (float(place) for place in rng.normal(0, 0.15, 2))
    slant, side = float(rng.uniform(0.85, 2.1)), float(rng.choice([-1, 1]))
    match style:
        case "soft":
            ring = tuple(DirectionalLight((x + a, y + b, 1.0), 0.25) for a in (-0.7, 0.7) for b in (-0.7, 0.7))
            return ClayLighting(ring, ambient=0.3, direct=0.6, gloss=0.04, style=style)
        case "flash":
            return ClayLighting((DirectionalLight((x, y + 0.2, 1.0)),), style=style)
        case "overhead":
            return ClayLighting(_with_fill(3 * x, slant), style=style)
        case "side":
            return ClayLighting(_with_fill(side * slant, 2 * y + 0.2), style=style)
        case "extreme":
            right, up, _ = _unit((float(rng.normal()), float(rng.normal()), 0.0))
            grazing = DirectionalLight((3.5 * right, 3.5 * up, 1.0))
            return ClayLighting((grazing,), ambient=0.03, direct=0.9, gloss=0.25, style=style)


def _with_fill(x: float, y: float) -> tuple[DirectionalLight, ...]:
    return DirectionalLight((x, y, 1.0), 0.85), DirectionalLight((-x, -y, 1.5), 0.15)


def shade(normal_map: MapArray, depth_map: MapArray | None, lighting: ClayLighting) -> NDArray[np.uint8]:
    """Shade a lighting map (no cast shadows, no interreflection).

    Args:
        normal_map: (H, W, 3) uint8, 127.5 n + 127.5 in camera space, 0 where there is no surface.
        depth_map: (H, W) uint16, linear, near bright, 0 where there is no surface; None leaves crevices undarkened.
        lighting: Lamps and weights.

    Returns:
        (H, W) uint8: 0 where there is no surface, 1..255 elsewhere.
    """
    return shadings(normal_map, depth_map, (lighting,))[0]


def shadings(
    normal_map: MapArray, depth_map: MapArray | None, lightings: Sequence[ClayLighting]
) -> list[NDArray[np.uint8]]:
    """``shade`` for several lightings; normals and occlusion are computed once."""
    normal = _unit_normals(normal_map)
    exposure = 1.0 if depth_map is None else 0.35 + 0.65 * open_share(normal_map, depth_map)
    levels = (255 * np.clip(_clay(normal, exposure, lighting), 0, 1) for lighting in lightings)
    return [np.where(has_surface(normal_map), np.maximum(level, 1), 0).astype(np.uint8) for level in levels]


def _clay(normal: FloatMap, exposure: FloatMap | float, lighting: ClayLighting) -> FloatMap:
    diffuse, glint = (np.zeros(normal.shape[1:]) for _ in range(2))
    for light in lighting.lights:
        x, y, z = _unit(light.direction)
        diffuse += light.strength * np.maximum(_dot(normal, (x, y, z)), 0)
        glint += light.strength * _fortieth_power(np.maximum(_dot(normal, _unit((x, y, z + 1))), 0))
    return (lighting.ambient + lighting.direct * diffuse) * exposure + lighting.gloss * glint


def open_share(normal_map: MapArray, depth_map: MapArray) -> FloatMap:
    """Screen-space ambient occlusion: the share of each pixel's hemisphere that its neighbourhood leaves open.

    Neighbours in eight directions, at four distances up to a twelfth of the image diagonal, each occlude the squared
    sine of their elevation above the pixel's tangent plane, which is the share that a wall of that height hides. Depth
    has no unit, so it is scaled to pixels such that its slopes match those of the normals.

    Args:
        normal_map: (H, W, 3) as for ``shade``.
        depth_map: (H, W) as for ``shade``.

    Returns:
        (H, W) float64, 0 occluded to 1 open; 1 where depth is 0.
    """
    normal = _unit_normals(normal_map)
    known = has_surface(normal_map) & (depth_map > 0)
    height = depth_map.astype(np.float64) * _pixels_per_level(normal, depth_map, known)
    offsets = _offsets(known.shape)
    hidden = np.zeros(known.shape)
    for right, down in offsets:
        # one sum for both sides: a mirror swaps them and must not change the rounding
        hidden += _hidden(normal, height, known, right, down) + _hidden(normal, height, known, -right, down)
    return np.where(known, np.clip(1 - _DARKENING * hidden / (2 * len(offsets)), 0, 1), 1)


def _offsets(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Steps (right, down) to the neighbours on the right; none is vertical, where both sides would coincide."""
    longest = float(np.sqrt(shape[0] ** 2 + shape[1] ** 2)) / 12
    lengths = (longest, longest / 2, longest / 4, longest / 8)
    steps = ((0.924, 0.383), (0.383, 0.924), (0.924, -0.383), (0.383, -0.924))
    return [(max(1, round(length * x)), round(length * y)) for length in lengths for x, y in steps]


def _hidden(normal: FloatMap, height: FloatMap, known: NDArray[np.bool_], right: int, down: int) -> FloatMap:
    """Squared sine of a neighbour's elevation above each pixel's tangent plane, 0 if lower or absent."""
    here, there = _overlap(known.shape, right, down)
    rise = height[there] - height[here]
    above = right * normal[0][here] - down * normal[1][here] + rise * normal[2][here]
    share = np.maximum(above, 0) ** 2 / (right * right + down * down + rise * rise)
    hidden = np.zeros(known.shape)
    hidden[here] = np.where(known[there] & known[here], share, 0)
    return hidden


Window = tuple[slice, slice]


def _overlap(shape: tuple[int, ...], right: int, down: int) -> tuple[Window, Window]:
    """Windows of the pixels that have a neighbour at an offset, and of those neighbours."""
    rows, columns = (
        (slice(max(0, -step), max(0, length - max(0, step))), slice(max(0, step), max(0, length - max(0, -step))))
        for length, step in zip(shape, (down, right), strict=True)
    )
    return (rows[0], columns[0]), (rows[1], columns[1])


def _pixels_per_level(normal: FloatMap, depth_map: MapArray, known: NDArray[np.bool_]) -> float:
    """Height of one depth level in pixels: median slope of the normals over median slope of the depth."""
    inner = known[1:-1, 1:-1] & known[1:-1, 2:] & known[1:-1, :-2] & known[2:, 1:-1] & known[:-2, 1:-1]
    x, y, z = normal[:, 1:-1, 1:-1]
    inner &= z > 0.4  # depth is unreliable on surfaces seen edge-on
    if not inner.any():
        return 0.0
    level = depth_map.astype(np.float64)
    across, along = level[1:-1, 2:] - level[1:-1, :-2], level[2:, 1:-1] - level[:-2, 1:-1]
    by_depth = np.median((np.sqrt(across * across + along * along) / 2)[inner])
    by_normals = np.median(np.sqrt(x * x + y * y)[inner] / z[inner])
    return float(by_normals / by_depth) if by_depth > 0 else 0.0


def _unit_normals(normal_map: MapArray) -> FloatMap:
    """(3, H, W) unit vectors; no byte encodes 0, so no length is zero."""
    vectors = np.moveaxis(normal_map, -1, 0) - 127.5
    x, y, z = vectors
    return vectors / np.sqrt(x * x + y * y + z * z)


def _unit(direction: tuple[float, float, float]) -> tuple[float, float, float]:
    """Unit vector; zero stays zero (the half vector of a lamp exactly behind the scene)."""
    x, y, z = direction
    length = float(np.sqrt(x * x + y * y + z * z)) or 1.0
    return x / length, y / length, z / length


def _dot(normal: FloatMap, direction: tuple[float, float, float]) -> FloatMap:
    """Written out, because BLAS chooses its own summation order."""
    return normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]


def _fortieth_power(base: FloatMap) -> FloatMap:
    """By repeated squaring, because ``**`` may round differently on other processors."""
    eighth = base * base
    eighth = eighth * eighth
    eighth = eighth * eighth
    squared = eighth * eighth
    return squared * squared * eighth
