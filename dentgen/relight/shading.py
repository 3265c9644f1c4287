"""Lighting maps for records that have only normals and depth: clay under lamps that never shone on it.

A plain shading model of what the camera sees: ambient light, Lambert's law, a small highlight, and crevices darkened
as far as depth shows them. Lamps are infinitely far away. It casts no shadows and knows no light between surfaces, and
what is hidden from the camera darkens nothing: a lighting map that was rendered from meshes is truer. Only additions,
products, quotients and roots, in an order that a mirror does not change: same bytes everywhere, and a mirrored record
under mirrored lamps gives the mirrored map bit for bit. Refuses to know files and prompts.
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
LightStyle = Literal["soft", "flash", "overhead", "side", "extreme"]
LIGHT_STYLES: Final[tuple[LightStyle, ...]] = get_args(LightStyle)
#: Fitted to the phantoms' traced occlusion and lighting maps.
_DARKENING: Final = 1.5


@dataclass(frozen=True, slots=True)
class DirectionalLight:
    """A lamp far away.

    Attributes:
        direction: Towards the lamp, camera space (x right, y up, z to the viewer), any length but zero.
        strength: Share of the picture's direct light.
    """

    direction: tuple[float, float, float]
    strength: float = 1.0

    def __post_init__(self) -> None:
        """A direction has a length.

        Raises:
            SpecError: If it has none.
        """
        if not (np.isfinite(self.direction).all() and any(self.direction)):
            raise SpecError(f"light direction: found {self.direction}, expected three numbers that are not all zero")


@dataclass(frozen=True, slots=True)
class ClayLighting:
    """The light of one map; the defaults are those of the phantoms' lighting maps.

    Attributes:
        lights: The lamps.
        ambient: Light from everywhere, 0..1.
        direct: Weight of Lambert's law.
        gloss: Weight of the highlight.
        style: Which preset it was drawn from, "" if none.
    """

    lights: tuple[DirectionalLight, ...]
    ambient: float = 0.12
    direct: float = 0.72
    gloss: float = 0.14
    style: LightStyle | Literal[""] = ""

    def mirrored(self) -> ClayLighting:
        """The same lamps in a mirror: x changes sign."""
        lights = (replace(light, direction=(-light.direction[0], *light.direction[1:])) for light in self.lights)
        return replace(self, lights=tuple(lights))


def draw_lightings(seed: int, key: str, count: int) -> list[ClayLighting]:
    """The first ``count`` lightings of a record: five in a row are of five styles, and more change none before them."""
    styles = numpy_generator(seed, key, "relight").permutation(len(LIGHT_STYLES))
    return [
        draw_lighting(numpy_generator(seed, key, "relight", index), LIGHT_STYLES[styles[index % len(styles)]])
        for index in range(count)
    ]


def draw_lighting(rng: np.random.Generator, style: LightStyle) -> ClayLighting:
    """Draw the light of one map.

    Args:
        rng: Where its lamps come from.
        style: ``soft`` is a wide group of lamps around the lens, ``flash`` one lamp beside it, ``overhead`` and
            ``side`` a lamp at 40-65 degrees with a faint one opposite, ``extreme`` one grazing lamp from anywhere, in
            almost no ambient light.
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
    """A lighting map of a plain shading model (no cast shadows, no light between surfaces).

    Args:
        normal_map: (H, W, 3), 127.5 n + 127.5 in camera space, 0 where there is no surface.
        depth_map: (H, W), linear, near bright, 0 where there is no surface; None leaves crevices as bright as the rest.
        lighting: Lamps.

    Returns:
        (H, W) grey: 0 where there is no surface, 1..255 elsewhere.
    """
    return shadings(normal_map, depth_map, (lighting,))[0]


def shadings(
    normal_map: MapArray, depth_map: MapArray | None, lightings: Sequence[ClayLighting]
) -> list[NDArray[np.uint8]]:
    """``shade`` under several lightings; what does not depend on the light is computed once."""
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
    """Screen-space ambient occlusion: how much of the sky over each pixel its neighbourhood in the picture leaves open.

    Neighbours in eight directions, at four distances up to a twelfth of the picture's diagonal, each hide a share of
    the sky: the squared sine of their height over the pixel's tangent plane, as a wall of that height would. Heights
    are in pixels: the unknown scale of depth is the one at which its slopes are those of the normals.

    Args:
        normal_map: (H, W, 3) as for ``shade``.
        depth_map: (H, W) as for ``shade``.

    Returns:
        (H, W) float64, 0 closed to 1 open; 1 where depth is 0.
    """
    normal = _unit_normals(normal_map)
    known = has_surface(normal_map) & (depth_map > 0)
    height = depth_map.astype(np.float64) * _pixels_per_level(normal, depth_map, known)
    offsets = _offsets(known.shape)
    hidden = np.zeros(known.shape)
    for right, down in offsets:
        # left and right in one sum, so that a mirror, which swaps them, does not change its rounding
        hidden += _hidden(normal, height, known, right, down) + _hidden(normal, height, known, -right, down)
    return np.where(known, np.clip(1 - _DARKENING * hidden / (2 * len(offsets)), 0, 1), 1)


def _offsets(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Steps (right, down) to the neighbours at the right; none is straight up or down, where both sides were one."""
    longest = float(np.sqrt(shape[0] ** 2 + shape[1] ** 2)) / 12
    lengths = (longest, longest / 2, longest / 4, longest / 8)
    steps = ((0.924, 0.383), (0.383, 0.924), (0.924, -0.383), (0.383, -0.924))
    return [(max(1, round(length * x)), round(length * y)) for length in lengths for x, y in steps]


def _hidden(normal: FloatMap, height: FloatMap, known: NDArray[np.bool_], right: int, down: int) -> FloatMap:
    """Squared sine of a neighbour's height over each pixel's tangent plane, 0 where it is lower or there is none."""
    here, there = _overlap(known.shape, right, down)
    rise = height[there] - height[here]
    above = right * normal[0][here] - down * normal[1][here] + rise * normal[2][here]
    share = np.maximum(above, 0) ** 2 / (right * right + down * down + rise * rise)
    hidden = np.zeros(known.shape)
    hidden[here] = np.where(known[there] & known[here], share, 0)
    return hidden


Window = tuple[slice, slice]


def _overlap(shape: tuple[int, ...], right: int, down: int) -> tuple[Window, Window]:
    """Windows of the pixels that have a neighbour at an offset, and of these neighbours."""
    rows, columns = (
        (slice(max(0, -step), max(0, length - max(0, step))), slice(max(0, step), max(0, length - max(0, -step))))
        for length, step in zip(shape, (down, right), strict=True)
    )
    return (rows[0], columns[0]), (rows[1], columns[1])


def _pixels_per_level(normal: FloatMap, depth_map: MapArray, known: NDArray[np.bool_]) -> float:
    """Height in pixels of one level of depth: median slope by the normals over median slope by the depth."""
    inner = known[1:-1, 1:-1] & known[1:-1, 2:] & known[1:-1, :-2] & known[2:, 1:-1] & known[:-2, 1:-1]
    x, y, z = normal[:, 1:-1, 1:-1]
    inner &= z > 0.4  # depth says little about what is seen edge on
    if not inner.any():
        return 0.0
    level = depth_map.astype(np.float64)
    across, along = level[1:-1, 2:] - level[1:-1, :-2], level[2:, 1:-1] - level[:-2, 1:-1]
    by_depth = np.median((np.sqrt(across * across + along * along) / 2)[inner])
    by_normals = np.median(np.sqrt(x * x + y * y)[inner] / z[inner])
    return float(by_normals / by_depth) if by_depth > 0 else 0.0


def _unit_normals(normal_map: MapArray) -> FloatMap:
    """(3, H, W) unit vectors; no byte stands for zero, so none is without a length."""
    vectors = np.moveaxis(normal_map, -1, 0) - 127.5
    x, y, z = vectors
    return vectors / np.sqrt(x * x + y * y + z * z)


def _unit(direction: tuple[float, float, float]) -> tuple[float, float, float]:
    """Unit vector; zero, which halfway to a lamp behind the scene can be, stays zero."""
    x, y, z = direction
    length = float(np.sqrt(x * x + y * y + z * z)) or 1.0
    return x / length, y / length, z / length


def _dot(normal: FloatMap, direction: tuple[float, float, float]) -> FloatMap:
    """Written out: BLAS would sum in an order of its own."""
    return normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]


def _fortieth_power(base: FloatMap) -> FloatMap:
    """By squaring: ``**`` need not round alike on all processors."""
    eighth = base * base
    eighth = eighth * eighth
    eighth = eighth * eighth
    squared = eighth * eighth
    return squared * squared * eighth
