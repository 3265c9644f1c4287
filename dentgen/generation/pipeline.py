"""``dentgen.Pipeline``: images from condition maps in Python, without a plan, files or Ray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from dentgen.conditions.decode import valid_key
from dentgen.conditions.labels import FDI_NUMBERS, SEG_CLASSES
from dentgen.conditions.lesion_map import LESIONS, with_findings_map
from dentgen.conditions.painted import check_painted
from dentgen.conditions.prepare import fit_record
from dentgen.diffusion.canvas import Finished, Sampled
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import CanvasError, ConditionError, SpecError, faults_of
from dentgen.generation.augment import augment
from dentgen.generation.canvases import CanvasFactory, check_request, sample_requests, with_lighting
from dentgen.generation.decoding import decode_samples
from dentgen.generation.generator import Generator, load_generator, start_engine
from dentgen.generation.preparer import Preparer
from dentgen.generation.threads import torch_threads
from dentgen.records import ConditionName, ConditionRecord, MapArray, PaintedRegion, SampleRequest
from dentgen.spec.build import BuildSpec
from dentgen.spec.model import Scale

Picture = NDArray[Any] | Image.Image
#: (dtype, dimensions) of each condition map.
_MAP_FORM: Final[dict[ConditionName, tuple[type[np.generic], int]]] = {
    "segmentation": (np.uint8, 2),
    "lighting": (np.uint8, 2),
    "normal": (np.uint8, 3),
    "curvature": (np.uint8, 2),
    "depth": (np.uint16, 2),
    "findings": (np.uint8, 2),
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PipelineRequest:
    """Images to make from one set of condition maps.

    Attributes:
        segmentation: (H, W) uint8 classes: 0 background, 1 gingiva, 2 tooth, 3 other soft tissue, 4 restoration,
            5 appliance, 255 ignore.
        lighting: (H, W) uint8 grey.
        normal: (H, W, 3) uint8, 127.5 n + 127.5, camera space.
        curvature: (H, W) uint8, 128 flat.
        depth: (H, W) uint16, near is bright.
        findings: (H, W) uint8 values of ``lesion_map.LESIONS``: decay, damage, deposits, inflamed gum, restorations.
        fdi: (H, W) uint8 FDI tooth numbers, 0 elsewhere, for findings and repainting that name teeth.
        photo: (H, W, 3) uint8 to start from, with ``sampling.start_from: photo`` or ``reference``.
        target_lighting: (H, W) uint8 light of the images, with ``sampling.start_from: reference``; ``lighting`` is then
            that of the photo. None: the same.
        painted: Regions with prompts of their own, the lowest first, at most as many as ``regions.painted``; masks have
            the size of the maps.
        prompt: The prompt.
        num_images_per_prompt: Variants, each with its own noise.
        seed: Seed of the noise.
        key: Name of the maps; with ``seed`` and the variant it decides the noise, as a record's key does in a build.
    """

    segmentation: Picture | None = None
    lighting: Picture | None = None
    normal: Picture | None = None
    curvature: Picture | None = None
    depth: Picture | None = None
    findings: Picture | None = None
    fdi: Picture | None = None
    photo: Picture | None = None
    painted: tuple[PaintedRegion, ...] = ()
    target_lighting: Picture | None = None
    prompt: str = ""
    num_images_per_prompt: int = 1
    seed: int = 0
    key: str = "image"


@dataclass(frozen=True, slots=True)
class PipelineOutput:
    """What a call returns: ``images`` in the order of the variants, and their sample ``keys``."""

    images: list[Image.Image]
    keys: list[str] = field(default_factory=list)


class Pipeline:
    """Images that obey condition maps, made by a resident stream engine.

    Images equal those of a build with the same settings, record key, seed and variant, byte for byte. Not thread-safe.

    Examples:
        >>> pipe = dentgen.Pipeline.from_bundle("miniature", adapters={"blended": 1.5})
        >>> images = pipe(segmentation=seg, lighting=light, prompt="frontal view", num_images_per_prompt=4).images

    Attributes:
        spec: The settings; those of a build spec.
    """

    def __init__(self, spec: BuildSpec) -> None:
        """Take a build spec without its source, output, pipeline and quality sections; nothing is loaded yet.

        ``sampling.seed``, ``sampling.variants`` and ``sampling.prompt`` are given per request instead. Findings are
        painted but not judged, so none is rejected.
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
            group = [sample for request in requests for sample in _sample_requests(self._generator, request)]
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


def _sample_requests(generator: Generator, request: PipelineRequest) -> list[SampleRequest]:
    """The variants of a request, checked.

    Raises:
        SpecError: If no image is asked for.
        ConditionError: If a map, the key or the prompt cannot be used.
    """
    if request.num_images_per_prompt < 1:
        raise SpecError(key="num_images_per_prompt", found=request.num_images_per_prompt, expected="at least 1")
    conditions = generator.spec.conditions
    samples = sample_requests(
        generator, fit_record(_record(request, generator.spec), conditions.shape, conditions.fit),
        prompt=request.prompt, seed=request.seed, variants=request.num_images_per_prompt,
    )  # fmt: skip
    check_request(generator, samples[0])
    if request.target_lighting is None:
        return samples
    return [with_lighting(generator, sample, _target_lighting(generator, request)) for sample in samples]


def _target_lighting(generator: Generator, request: PipelineRequest) -> MapArray:
    """The light of the images, fitted as the record is.

    Raises:
        SpecError: If the spec keeps no reference, or does not see lighting.
        ConditionError: If the map cannot be used.
    """
    spec = generator.spec
    if spec.sampling.frames < 2 or "lighting" not in spec.conditions.use:
        raise SpecError(
            key="target_lighting", found=f"sampling.start_from {spec.sampling.start_from}",
            expected="start_from reference, and lighting in conditions.use",
        )  # fmt: skip
    target = _map("lighting", np.asarray(request.target_lighting))
    record = replace(_record(request, spec), photo=None)
    if target.shape != record.shape:
        raise ConditionError("target_lighting", f"size {target.shape}", f"{record.shape}, as of the other maps")
    lit = replace(record, conditions={**record.conditions, "lighting": target})
    return fit_record(lit, spec.conditions.shape, spec.conditions.fit).conditions["lighting"]


def _record(request: PipelineRequest, spec: BuildSpec) -> ConditionRecord:
    """The request as a condition record; maps are checked as a reader checks them.

    Raises:
        ConditionError: If a map is missing or has another form.
    """
    if not valid_key(request.key):
        raise ConditionError("key", repr(request.key), "printable text without dots and backslashes")
    maps = {name: getattr(request, name) for name in _MAP_FORM}
    conditions = {name: _map(name, np.asarray(array)) for name, array in maps.items() if array is not None}
    for name in spec.required_conditions:
        if name not in conditions:
            raise ConditionError(f"{request.key}: {name}", "none", f"a map, because conditions.use names {name}")
    photo = None if request.photo is None else _array("photo", np.asarray(request.photo), np.uint8, 3)
    fdi = None if request.fdi is None else _tooth_numbers(np.asarray(request.fdi))
    shapes: dict[str, tuple[int, ...]] = {name: array.shape[:2] for name, array in conditions.items()}
    shapes |= {} if photo is None else {"photo": photo.shape[:2]}
    shapes |= {} if fdi is None else {"fdi": fdi.shape}
    if len(set(shapes.values())) > 1:
        raise ConditionError(request.key, f"sizes (height, width) {shapes}", "the same size for every map")
    record = ConditionRecord(
        key=request.key, group=request.key, split="", prompt=request.prompt, conditions=conditions, fdi=fdi,
        photo=photo, license="", attributes={}, painted=request.painted,
    )  # fmt: skip
    check_painted(record.painted, record.shape)
    return with_findings_map(record, spec.conditions.use)


def _map(name: ConditionName, array: NDArray[Any]) -> MapArray:
    checked: MapArray = _array(name, array, *_MAP_FORM[name])
    known = {"segmentation": SEG_CLASSES, "findings": LESIONS}.get(name)
    if known is not None and (unknown := sorted(set(np.unique(checked).tolist()) - known.keys())):
        raise ConditionError(name, f"class values {unknown}", f"only {sorted(known)}")
    return checked


def _tooth_numbers(array: NDArray[Any]) -> NDArray[np.uint8]:
    checked: NDArray[np.uint8] = _array("fdi", array, np.uint8, 2)
    if unknown := sorted(set(np.unique(checked).tolist()) - FDI_NUMBERS - {0}):
        raise ConditionError("fdi", f"numbers {unknown}", "FDI numbers, and 0 elsewhere")
    return checked


def _array(name: str, array: NDArray[Any], dtype: type[np.generic], dimensions: int) -> NDArray[Any]:
    form = "(H, W)" if dimensions == 2 else "(H, W, 3)"
    if array.dtype != dtype or array.ndim != dimensions or (dimensions == 3 and array.shape[2] != 3):
        expected = f"{form} {np.dtype(dtype).name}"
        raise ConditionError(name, f"{array.shape} {array.dtype}", expected)
    return array
