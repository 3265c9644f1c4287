"""Single pictures of a document, byte for byte those of a build with its spec."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dentgen.generation.generator import Generator, build_generator
from dentgen.generation.pipeline import Pipeline
from dentgen.generation.pipeline_request import PipelineRequest
from dentgen.generation.threads import torch_threads
from dentgen.spec.build import BuildSpec
from dentgen.studio.work import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """Pictures of one document.

    Attributes:
        snapshot: The document.
        spec: The build spec that makes the same ones.
        pictures: (H, W, 3) uint8 each, by sample key.
    """

    snapshot: Snapshot
    spec: BuildSpec
    pictures: dict[str, NDArray[np.uint8]]


class Pictures:
    """Makes pictures on networks that are loaded; keeps the engine of the last spec."""

    def __init__(self, generator: Generator) -> None:
        """Take loaded models; no engine is started yet."""
        self._generator = generator
        self._pipeline: Pipeline | None = None

    @property
    def base(self) -> BuildSpec:
        """The spec that the studio was started with."""
        return self._generator.spec

    def make(self, snapshot: Snapshot) -> Variants:
        """The variants of a document.

        Raises:
            SpecError: If its settings do not go together.
            ConditionError: If a map or prompt cannot be used.
            CanvasError: If a picture could not be made.
        """
        spec = snapshot.settings.build_spec(self.base, len(snapshot.record.painted))
        made = dict(self._on(spec).stream([_request(snapshot)]))
        return Variants(snapshot, spec, {key: np.asarray(made[key]) for key in sorted(made)})

    def _on(self, spec: BuildSpec) -> Pipeline:
        if self._pipeline is None or self._pipeline.spec != spec:
            with torch_threads(spec.engine.threads):
                self._pipeline = Pipeline.on(build_generator(spec, self._generator.bundle))
        return self._pipeline


def _request(snapshot: Snapshot) -> PipelineRequest:
    record, settings = snapshot.record, snapshot.settings
    request = PipelineRequest(
        prompt=record.prompt, fdi=record.fdi, photo=record.photo, painted=record.painted,
        num_images_per_prompt=settings.variants, seed=settings.seed, key=record.key,
    )  # fmt: skip
    maps: dict[str, Any] = {name: record.conditions[name] for name in record.conditions}
    return replace(request, **maps)
