"""What controls the pictures of a live canvas: condition maps and scales of control branches, which may change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dentgen.diffusion.canvas import Canvas
from dentgen.errors import CanvasError, ConditionError, SpecError
from dentgen.generation.canvases import CanvasFactory, guidance_of
from dentgen.generation.generator import Generator
from dentgen.generation.live_layers import LastAsked
from dentgen.generation.regions import embedded
from dentgen.generation.requests import check_request, sample_requests
from dentgen.records import ConditionRecord
from dentgen.seeding import NoiseKey
from dentgen.spec.build import BuildSpec

#: Key of the noise of pictures that no record controls.
LIVE_KEY: Final = "live"


@dataclass(frozen=True, slots=True, eq=False)
class ControlMaps:
    """Condition maps, encoded.

    Attributes:
        key: Key of the noise: the record's.
        canvas: A canvas with everything that does not change from picture to picture: control, guidance, windows.
    """

    key: str
    canvas: Canvas


@dataclass(frozen=True, slots=True, eq=False)
class ControlValues:
    """Values of an edit of what controls pictures.

    Attributes:
        maps: New maps; None keeps those that are there.
        scales: New scales by control branch; others stay.
    """

    maps: ControlMaps | None = None
    scales: Mapping[str, float] = field(default_factory=dict)


class ControlState:
    """What controls the pictures now."""

    def __init__(self, maps: ControlMaps) -> None:
        """Start with the scales of the spec."""
        self._maps, self._scales = maps, dict[str, float]()
        self._maps_asked, self._scales_asked = LastAsked(), LastAsked()

    @property
    def key(self) -> str:
        """Key of the noise."""
        return self._maps.key

    @property
    def canvas(self) -> Canvas:
        """The canvas that all pictures share, with the scales as they are now."""
        shared = self._maps.canvas
        controls = (replace(each, scale=self._scales.get(each.branch, each.scale)) for each in shared.controls)
        return replace(shared, controls=tuple(controls))

    def apply(self, number: int, values: ControlValues) -> bool:
        """Take over the values of the edit of this number; returns whether any of them was not set by a later edit."""
        scales = self._scales_asked.newer(number, values.scales)
        self._scales |= scales
        maps = self._maps_asked.newer(number, {} if values.maps is None else {"maps": values.maps})
        self._maps = maps.get("maps", self._maps)
        return bool(scales or maps)


class MapEncoder:
    """Records to control maps, on one thread at a time; images that were encoded lately are not encoded again."""

    def __init__(self, generator: Generator, seed: int) -> None:
        """Encode nothing yet."""
        self._generator, self._seed, self._factory = generator, seed, CanvasFactory(generator)

    def check(self, record: ConditionRecord | None) -> None:
        """Check the size and the names of a record's maps, which takes no time.

        Raises:
            ConditionError: If a map that the spec uses is missing.
            CanvasError: If the record is not fitted to the canvas.
        """
        if record is None:
            return
        spec = self._generator.spec
        for name in spec.required_conditions:
            if name not in record.conditions:
                raise ConditionError(f"{record.key}: {name}", "none", f"a map, because conditions.use names {name}")
        if record.shape != spec.conditions.shape:
            raise CanvasError("record", key=record.key, found=f"size {record.shape}", expected=spec.conditions.shape)

    def maps(self, record: ConditionRecord | None, prompt: str = "") -> ControlMaps:
        """Encode a checked record; its painted regions are not read, because a live canvas has layers.

        Args:
            record: The record; None: prompts alone.
            prompt: What the canvas is created with, which every picture replaces.

        Raises:
            ConditionError: If the prompt is too long, or the record lacks what the spec's way of sampling needs.
            CanvasError: If there is no record, and pictures start from its photo.
        """
        generator = self._generator
        if record is None:
            own, noise, guidance = (
                embedded(generator, prompt),
                NoiseKey(self._seed, LIVE_KEY, 0),
                guidance_of(generator),
            )
            canvas = Canvas(LIVE_KEY, noise, generator.table, own, guidance, windows=generator.windows)
        else:
            (request,) = sample_requests(generator, replace(record, painted=()), prompt=prompt, variants=1)
            check_request(generator, request)
            (canvas,) = self._factory.canvases([request])
        canvas.check()
        return ControlMaps(LIVE_KEY if record is None else record.key, canvas)


def check_scales(generator: Generator, scales: Mapping[str, float]) -> None:
    """Check scales of control branches.

    Raises:
        CanvasError: If there is no such branch, or a scale is no number.
    """
    branches = [route.branch for route in generator.routes]
    for name, scale in scales.items():
        if name not in branches:
            raise CanvasError(key=name, found="no control branch of this name", expected=branches)
        if not math.isfinite(scale):
            raise CanvasError("scale", key=name, found=scale, expected="a finite number")


def check_spec(spec: BuildSpec, every: int = 1) -> None:
    """Check that a spec asks for nothing that a live canvas would not heed.

    Raises:
        SpecError: If it does, or ``every`` is less than 1.
    """
    given: dict[str, Any] = {"findings": spec.findings, "variants.change": spec.variants.change}
    given |= {f"randomise.{key}": True for key in spec.randomise.used}
    given |= {"regions.bootstrap_steps": spec.regions.bootstrap_steps, "sampling.repaint": spec.sampling.repaint}
    given |= {"sampling.prompt_to": spec.sampling.prompt_to, "sampling.seed_to": spec.sampling.seed_to is not None}
    given |= {"augment": spec.augment.used, "sampling.start_from": spec.sampling.frames > 1}
    for key, value in given.items():
        if value:
            raise SpecError("not supported by live canvases", key=key, found=str(value), expected="none: use layers")
    if spec.sampling.noise != "record":
        raise SpecError(
            "not supported by live canvases", key="sampling.noise", found=spec.sampling.noise, expected="record"
        )
    if every < 1:
        raise SpecError(key="every", found=every, expected="at least 1")
