"""Requests to ``dentgen.Pipeline``, checked as a reader checks records, and the samples that they ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.decode import valid_key
from dentgen.conditions.labels import FDI_NUMBERS, SEG_CLASSES
from dentgen.conditions.lesion_map import LESIONS, with_findings_map
from dentgen.conditions.painted import check_painted
from dentgen.conditions.prepare import fit_record
from dentgen.errors import ConditionError, SpecError
from dentgen.generation.generator import Generator
from dentgen.generation.requests import check_requests, sample_requests, with_lighting
from dentgen.records import ConditionName, ConditionRecord, MapArray, PaintedRegion, SampleRequest
from dentgen.spec.build import BuildSpec

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


def requested_samples(generator: Generator, request: PipelineRequest) -> list[SampleRequest]:
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
    check_requests(generator, samples)
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
