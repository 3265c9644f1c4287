"""The teacher of a self-distillation: a bundle that draws every record under several lights, with shared noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from dentgen.conditions.prepare import fit_record
from dentgen.curation.pairs.filter import Panel
from dentgen.curation.pairs.layouts import Layout, grid_shape, split_picture, tile_records
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import CanvasError, ConditionError, SpecError
from dentgen.generation.canvases import build_canvases
from dentgen.generation.decoding import decode_samples
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, build_generator, device_and_dtype
from dentgen.generation.requests import check_request, sample_requests
from dentgen.generation.threads import torch_threads
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.native_size import with_size
from dentgen.phantom.prompt import replace_light_words
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.relight.shading import RELIT, ClayLighting, draw_lightings, shadings
from dentgen.spec.build import BuildSpec
from dentgen.spec.variants import VariantsSpec

#: Sections of a build spec that say how a picture is drawn; the others are not read.
DRAWING: Final = ("model", "conditions", "sampling", "engine")


@dataclass(frozen=True, slots=True)
class LitRecord:
    """A record under its lights.

    Attributes:
        key: Its key.
        records: The fitted record under every light.
        lightings: The lights.
    """

    key: str
    records: tuple[ConditionRecord, ...]
    lightings: tuple[ClayLighting, ...]


class Teacher:
    """Draws panels of one layout. Its pictures depend on spec, layout, seed and record alone."""

    def __init__(self, spec: BuildSpec, layout: Layout, lights: int, seed: int) -> None:
        """Load the models and start the engine.

        Args:
            spec: Model, conditions, sampling and engine; the size is that of one panel.
            layout: How panels lie on canvases.
            lights: Panels per record.
            seed: Names lights and noise.

        Raises:
            BundleError: If the bundle cannot be loaded.
            SpecError: If the spec cannot draw lit panels from noise, or so many panels do not fit the layout.
        """
        panel_spec, self._grid = _panel_spec(spec), grid_shape(layout, lights)
        self._lights, self._seed, self._layout = lights, seed, layout
        self.shape, self.fit = panel_spec.conditions.shape, panel_spec.conditions.fit
        self._threads = spec.engine.threads
        with torch_threads(self._threads):
            self._generator = _generator(panel_spec, self._grid)
            self._engine: DiffusionEngine = start_engine(self._generator)

    @property
    def bundle(self) -> Bundle:
        """The loaded bundle."""
        return self._generator.bundle

    def lit(self, record: ConditionRecord) -> LitRecord:
        """A record under the teacher's lights, fitted to the size of a panel, its prompt without words for a light.

        Raises:
            ConditionError: If it has no normals, or lacks a condition that the spec uses.
        """
        for name in ("normal", "segmentation"):
            if name not in record.conditions:
                raise ConditionError(f"{record.key}: {name}", "none", "a map to light and to compare with")
        lightings = draw_lightings(self._seed, record.key, self._lights)
        maps = shadings(record.conditions["normal"], record.conditions.get("depth"), lightings)
        prompt = replace_light_words(record.prompt, record.attributes.get("lighting", ""))
        plain = replace(
            record, prompt=prompt, photo=None, sample=None, attributes={**record.attributes, "lighting": RELIT}
        )
        records = (replace(plain, conditions={**record.conditions, "lighting": light}) for light in maps)
        fitted = tuple(fit_record(one, self.shape, self.fit) for one in records)
        return LitRecord(record.key, fitted, tuple(lightings))

    def draw(self, records: Sequence[LitRecord]) -> list[list[Panel]]:
        """The panels of every record, in the order of its lights.

        Raises:
            CanvasError: If a canvas could not be drawn.
            ConditionError: If a record cannot be drawn with the spec.
        """
        with torch_threads(self._threads):
            requests = [request for lit in records for request in self._requests(lit)]
            pictures = self._pictures(requests)
        whole = iter(pictures)
        return [self._panels(lit, [next(whole) for _ in range(self._canvases)]) for lit in records]

    @property
    def records_at_once(self) -> int:
        """Records whose canvases fill the engine's slots."""
        return max(1, self._generator.spec.engine.slots // (self._canvases * self._generator.spec.first_rows))

    @property
    def _canvases(self) -> int:
        return self._lights if self._layout == "shared" else 1

    def _requests(self, lit: LitRecord) -> list[SampleRequest]:
        """Requests of a record: the noise is that of its key, so that all of its canvases share it."""
        maps = lit.records if self._layout == "shared" else (tile_records(lit.records, self._grid),)
        requests = []
        for number, record in enumerate(maps):
            (request,) = sample_requests(self._generator, record, prompt=record.prompt, seed=self._seed, variants=1)
            check_request(self._generator, request)
            requests.append(replace(request, key=f"{lit.key}-{number}"))
        return requests

    def _pictures(self, requests: Sequence[SampleRequest]) -> list[NDArray[np.uint8]]:
        sampled = self._engine.run(build_canvases(self._generator, requests))
        samples, rejected = decode_samples(self._generator, requests, sampled)
        if rejected:
            raise CanvasError(rejected[0].reason)
        return [sample.picture for sample in samples]

    def _panels(self, lit: LitRecord, pictures: Sequence[NDArray[np.uint8]]) -> list[Panel]:
        parts = [part for picture in pictures for part in split_picture(picture, self._grid)]
        return [Panel(record, part) for record, part in zip(lit.records, parts, strict=True)]


def _panel_spec(spec: BuildSpec) -> BuildSpec:
    """What of a spec decides a panel, with its size resolved.

    Raises:
        SpecError: If lighting has no part in it, or it does not start from noise.
    """
    if "lighting" not in spec.conditions.use:
        raise SpecError(key="conditions.use", found=list(spec.conditions.use), expected="lighting among them")
    if spec.sampling.start_from != "noise":
        raise SpecError(key="sampling.start_from", found=spec.sampling.start_from, expected="noise")
    drawing = BuildSpec.model_validate({name: getattr(spec, name).model_dump() for name in DRAWING})
    return with_size(drawing.model_copy(update={"variants": VariantsSpec()}))


def _generator(spec: BuildSpec, grid: tuple[int, int]) -> Generator:
    """Models for canvases of a grid of panels."""
    height, width = (edge * count for edge, count in zip(spec.conditions.shape, grid, strict=True))
    values = spec.model_dump()
    values["conditions"]["size"] = [height, width]
    device, dtype = device_and_dtype(spec)
    bundle = load_bundle(spec.model, device=device, dtype=getattr(torch, dtype))
    return build_generator(BuildSpec.model_validate(values), bundle)
