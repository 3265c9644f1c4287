"""Lighting set-ups of intra-oral photography; positions, strengths and shares of the kinds were chosen by eye."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import Camera

LightKind = Literal["ring", "twin", "overhead", "side", "soft", "harsh"]
LIGHT_KINDS: Final[tuple[LightKind, ...]] = get_args(LightKind)
_KIND_SHARES: Final = (0.26, 0.22, 0.20, 0.14, 0.09, 0.09)
#: Factor on ambient light, and range of exposures: soft light casts hardly any shadow, harsh light deep ones.
_AMBIENT: Final[dict[str, float]] = {"soft": 1.5, "harsh": 0.3}
_EXPOSURE: Final[dict[str, tuple[float, float]]] = {"harsh": (0.34, 0.92)}
_WARM_WHITE = np.array([1.0, 0.955, 0.915])
_REFERENCE_DISTANCE_MM = 260.0


@dataclass(frozen=True, slots=True)
class Lamp:
    """A small lamp.

    Attributes:
        position: (3,) mm from the lens, in camera space.
        strength: (3,) linear RGB.
        radius: Angular size, added to the GGX roughness of highlights.
    """

    position: FloatArray
    strength: FloatArray
    radius: float


@dataclass(frozen=True, slots=True)
class Lighting:
    """Lamps, ambient light and exposure of one picture.

    Attributes:
        kind: Set-up that the lamps were drawn from.
        lamps: The lamps.
        ambient: (3,) linear RGB.
        gloss: Factor on highlights.
        target: Median tooth luminance after exposure, 0..1.
        vignette: Darkening towards the corners, 0..1.
        fading: Darkening of surfaces deep in the mouth, 0..1.
        surround: (3,) linear RGB where no surface is hit: the dark of the mouth.
    """

    kind: LightKind
    lamps: tuple[Lamp, ...]
    ambient: FloatArray
    gloss: float
    target: float
    vignette: float
    fading: float
    surround: FloatArray

    def arriving(self, position: FloatArray, camera: Camera) -> list[tuple[FloatArray, FloatArray, Lamp]]:
        """Light that reaches points (n, 3) mm, by the inverse square of the distance, without shadows.

        Returns:
            Per lamp: unit directions to it (n, 3), linear RGB arriving at each point (n, 3), and the lamp.
        """
        result = []
        for lamp in self.lamps:
            towards = camera.eye + lamp.position @ camera.axes - position
            distance = np.linalg.norm(towards, axis=1, keepdims=True)
            falloff = (_REFERENCE_DISTANCE_MM / distance) ** 2
            result.append((towards / distance, lamp.strength * falloff, lamp))
        return result


def sample_lightings(generators: Iterable[np.random.Generator]) -> Iterator[Lighting]:
    """Draw one lighting set-up from each generator; no kind repeats before all kinds have been drawn."""
    used: set[LightKind] = set()
    for rng in generators:
        lighting = sample_lighting(rng, used)
        used = set() if len(used) + 1 == len(LIGHT_KINDS) else used | {lighting.kind}
        yield lighting


def sample_lighting(rng: np.random.Generator, without: Collection[LightKind] = ()) -> Lighting:
    """Draw a lighting set-up of any kind except those in ``without``."""
    shares = np.array([0 if kind in without else s for kind, s in zip(LIGHT_KINDS, _KIND_SHARES, strict=True)])
    kind = LIGHT_KINDS[rng.choice(len(LIGHT_KINDS), p=shares / shares.sum())]
    white = _WARM_WHITE * (1 + rng.normal(0, 0.02, 3))
    match kind:
        case "ring":
            angles = np.linspace(0, 2 * np.pi, 6, endpoint=False) + 0.3
            places = [(45 * np.cos(a), 45 * np.sin(a)) for a in angles]
            total, radius = 0.82, 0.02
        case "twin":
            places, total, radius = [(-80.0, 15.0), (80.0, 15.0)], 0.86, 0.05
        case "overhead":
            places = [(rng.normal(0, 30), rng.uniform(80, 160)), (rng.normal(0, 60), rng.uniform(20, 90))]
            total, radius = 0.86, 0.04
        case "soft":
            places = [(rng.uniform(-160, 160), rng.uniform(-60, 160)) for _ in range(5)]
            total, radius = 0.62, 0.22
        case "harsh":
            angle = rng.uniform(-0.25, np.pi + 0.25)  # from above or the side, far off the lens's axis
            places = [(rng.uniform(260, 420) * np.cos(angle), rng.uniform(260, 420) * np.sin(angle))]
            total, radius = 1.5, 0.015
        case _:
            side = rng.choice([-1, 1])
            places = [(side * rng.uniform(110, 200), rng.normal(40, 40)), (side * 20.0, 60.0)]
            total, radius = 0.9, 0.05
    share = rng.dirichlet(np.full(len(places), 12.0)) * total
    lamps = tuple(Lamp(np.array([x, y, 0.0]), s * white, radius) for (x, y), s in zip(places, share, strict=True))
    return Lighting(
        kind=kind,
        lamps=lamps,
        ambient=np.array([0.34, 0.31, 0.29]) * rng.uniform(0.7, 1.1) * _AMBIENT.get(kind, 1.0),
        gloss=rng.uniform(1.1, 2.4),
        target=rng.uniform(*_EXPOSURE.get(kind, (0.60, 0.76))),
        vignette=rng.uniform(0.2, 1) * 0.5,
        fading=0.45,
        surround=np.array([0.075, 0.024, 0.02]) * rng.uniform(0.5, 1.3),
    )


def neutral(lighting: Lighting) -> Lighting:
    """The same lamps for a scan model: white, with weak highlights, no vignette, no fading and a black surround."""
    lamps = tuple(replace(lamp, strength=np.full(3, lamp.strength.mean())) for lamp in lighting.lamps)
    ambient = np.full(3, lighting.ambient.mean())
    gloss = 0.35 * lighting.gloss
    return replace(lighting, lamps=lamps, ambient=ambient, gloss=gloss, vignette=0.0, fading=0.0, surround=np.zeros(3))
