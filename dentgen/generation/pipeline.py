"""``dentgen.Pipeline``: images from condition maps in Python, without a plan, files or Ray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Self

from PIL import Image
from pydantic import ValidationError

from dentgen.diffusion.canvas import Finished, Sampled
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import CanvasError, SpecError, faults_of
from dentgen.generation.augment import augment
from dentgen.generation.canvases import CanvasFactory
from dentgen.generation.decoding import decode_samples
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.pipeline_request import Picture, PipelineRequest, requested_samples
from dentgen.generation.preparer import Preparer
from dentgen.generation.threads import torch_threads
from dentgen.records import PaintedRegion, SampleRequest
from dentgen.spec.build import BuildSpec
from dentgen.spec.model import Scale


@dataclass(frozen=True, slots=True)
class PipelineOutput:
    """What a call returns: ``images`` in the order of the variants, and their sample ``keys``."""

    images: list[Image.Image]
    keys: list[str] = field(default_factory=list)


class Pipeline:
    """Images that obey condition maps, made by a resident stream engine.

    Images equal those of a build with the same settings, record key, seed and variant, byte for byte. The settings
    include ``sampling.variants``: ``engine.control_slots`` follows from it, the rows of one call of the control net,
    and another batch size may change a pixel by a level. Not thread-safe.

    Examples:
        >>> pipe = dentgen.Pipeline.from_bundle("miniature", adapters={"blended": 1.5})
        >>> images = pipe(segmentation=seg, lighting=light, prompt="frontal view", num_images_per_prompt=4).images

    Attributes:
        spec: The settings; those of a build spec.
    """

    def __init__(self, spec: BuildSpec) -> None:
        """Take a build spec without its source, output, pipeline and quality sections; nothing is loaded yet.

        ``sampling.seed`` and ``sampling.prompt`` are given per request instead, and so is the number of images.
        Findings are painted but not judged, so none is rejected.
        """
        self.spec = spec

    @classmethod
    def from_bundle(
        cls,
        bundle: str = "miniature",
        *,
        adapters: Mapping[str, Scale] | None = None,
        model: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Any] | None = None,
        sampling: Mapping[str, Any] | None = None,
        engine: Mapping[str, Any] | None = None,
    ) -> Self:
        """A pipeline on a model bundle.

        Args:
            bundle: "miniature", a bundle folder or URL, or a hub id.
            adapters: ctrLoRA adapters and their scales, one or by class as in ``{"blended": {"tooth": 1.5}}``; None
                takes the build spec's default.
            model: Further keys of the build spec's section, such as ``{"decoder": "tiny"}``.
            conditions: Likewise, such as ``{"use": ["normal"], "size": [256, 384]}``.
            sampling: Likewise, such as ``{"scheduler": "lcm", "steps": 8, "guidance_scale": 2.0}``.
            engine: Likewise, such as ``{"slots": 8, "compile": True}``.

        Raises:
            SpecError: If a key is unknown or a value is wrong.
        """
        chosen = {"bundle": bundle, **(model or {}), **({} if adapters is None else {"adapters": dict(adapters)})}
        sections = {"model": chosen, "conditions": conditions, "sampling": sampling, "engine": engine}
        try:
            return cls(BuildSpec.model_validate({name: dict(values) for name, values in sections.items() if values}))
        except ValidationError as error:
            raise SpecError(faults_of(error)) from error

    @classmethod
    def on(cls, generator: Generator) -> Self:
        """A pipeline on networks that are loaded, with the settings of their spec."""
        pipeline = cls(generator.spec)
        pipeline._generator = generator
        return pipeline

    def __call__(
        self,
        *,
        segmentation: Picture | None = None,
        lighting: Picture | None = None,
        normal: Picture | None = None,
        curvature: Picture | None = None,
        depth: Picture | None = None,
        findings: Picture | None = None,
        fdi: Picture | None = None,
        photo: Picture | None = None,
        painted: Sequence[PaintedRegion] = (),
        target_lighting: Picture | None = None,
        prompt: str = "",
        num_images_per_prompt: int = 1,
        seed: int = 0,
        key: str = "image",
    ) -> PipelineOutput:
        """Make images from one set of condition maps; arguments are those of ``PipelineRequest``.

        Raises:
            ConditionError: If a map that ``conditions.use`` names is missing or unusable, a painted region is, or a
                prompt is too long.
            CanvasError: If an image could not be made.
        """
        request = PipelineRequest(
            segmentation=segmentation, lighting=lighting, normal=normal, curvature=curvature, depth=depth,
            findings=findings, fdi=fdi, photo=photo, painted=tuple(painted), target_lighting=target_lighting,
            prompt=prompt, num_images_per_prompt=num_images_per_prompt, seed=seed, key=key,
        )  # fmt: skip
        images = dict(self.stream([request]))
        keys = sorted(images)
        return PipelineOutput([images[key] for key in keys], keys)

    def stream(self, requests: Iterable[PipelineRequest]) -> Iterator[tuple[str, Image.Image]]:
        """Make images for any number of requests, whose keys differ, in one stream batch.

        Requests are read as the engine has room for them. Images come as they are finished: in the order of the
        requests if all take the same number of steps.

        Args:
            requests: The requests.

        Yields:
            Sample key (``KEY-vNNN``) and image.

        Raises:
            ConditionError: If a request cannot be used.
            CanvasError: If an image could not be made.
        """
        threads = self.spec.engine.threads
        with Preparer(threads) as preparer:
            yield from self._stream(_StreamBatch(self._generator, self._engine, preparer, requests))

    def _stream(self, batch: _StreamBatch) -> Iterator[tuple[str, Image.Image]]:
        try:
            while not batch.finished:
                with torch_threads(self.spec.engine.threads):
                    batch.admit()
                    batch.tick()
                    images = batch.decode()
                yield from images
        finally:
            batch.cancel()

    @cached_property
    def _generator(self) -> Generator:
        with torch_threads(self.spec.engine.threads):
            return load_generator(self.spec)

    @cached_property
    def _engine(self) -> DiffusionEngine:
        with torch_threads(self.spec.engine.threads):
            return start_engine(self._generator)


class _StreamBatch:
    """Requests in flight: read while the engine has room, encoded on another thread, decoded in full batches."""

    def __init__(
        self, generator: Generator, engine: DiffusionEngine, preparer: Preparer, requests: Iterable[PipelineRequest]
    ) -> None:
        self._generator, self._engine, self._remaining = generator, engine, iter(requests)
        self._in_flight: dict[str, SampleRequest] = {}
        self._sampled: dict[str, Sampled] = {}
        self._factory = CanvasFactory(generator)
        self._prepared = preparer.ahead(self._factory.canvases, self._groups())
        self._exhausted = False

    @property
    def finished(self) -> bool:
        """Whether every request was read and every image handed out."""
        return self._exhausted and not self._in_flight

    def admit(self) -> None:
        """Submit canvases until no tick could admit more."""
        while not self._exhausted and self._engine.waiting < self._engine.shape.slots:
            canvas = next(self._prepared, None)
            if canvas is None:
                self._exhausted = True
            else:
                self._engine.submit(canvas)

    def _groups(self) -> Iterator[list[SampleRequest]]:
        """Read requests, a batch of the autoencoder or of a small engine's slots at a time."""
        size = min(self._generator.spec.engine.codec_batch, self._engine.shape.slots)
        while requests := list(islice(self._remaining, size)):
            group = [sample for request in requests for sample in requested_samples(self._generator, request)]
            self._in_flight |= {sample.key: sample for sample in group}
            yield group

    def tick(self) -> None:
        """Advance everything in flight by one step."""
        for left in self._engine.tick():
            self._sampled[left.key] = left.latents if isinstance(left, Finished) else left.error

    def decode(self) -> list[tuple[str, Image.Image]]:
        """Images of finished canvases, in full batches; all of them once the engine is idle."""
        batch = self._generator.spec.engine.codec_batch
        count = len(self._sampled) if self._engine.idle else len(self._sampled) // batch * batch
        if not count:
            return []
        keys = list(self._sampled)[:count]
        requests = [self._in_flight.pop(key) for key in keys]
        samples, rejected = decode_samples(self._generator, requests, {key: self._sampled.pop(key) for key in keys})
        if rejected:
            raise CanvasError(rejected[0].reason)
        changed = (augment(sample, self._generator.spec.augment) for sample in samples)
        return [(sample.request.key, Image.fromarray(sample.picture)) for sample in changed]

    def cancel(self) -> None:
        """Empty the engine of canvases that nobody waits for any more."""
        if self._in_flight:
            self._engine.drain()
