"""``sampling.upscale`` resolved: a multiple of the size of a source's pictures, in windows of the bundle's own size."""

from __future__ import annotations

from itertools import islice

from pydantic import ValidationError

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError, SpecError, faults_of
from dentgen.models.bundle import find_bundle
from dentgen.models.native_size import native_size
from dentgen.pipeline.source_build import read_source_build
from dentgen.spec.build import BuildSpec
from dentgen.spec.sampling import CELL


def with_upscale(spec: BuildSpec) -> BuildSpec:
    """The spec with size and window in place of ``sampling.upscale``; what it names itself stays.

    Raises:
        SpecError: If the source has no pictures to enlarge, or the spec cannot be built at the larger size.
        BundleError: If the bundle tells no size for the windows.
        ConditionError: If the source has no records.
    """
    factor = spec.sampling.upscale
    if factor is None:
        return spec
    height, width = (edge * factor for edge in _source_shape(spec))
    size = (height, width) if spec.conditions.size is None else spec.conditions.shape
    window = spec.sampling.window or native_size(find_bundle(spec.model.bundle))
    changed = spec.model_copy(
        update={
            "conditions": spec.conditions.model_copy(update={"size": size}),
            "sampling": spec.sampling.model_copy(update={"upscale": None, "window": window}),
        }
    )
    try:
        return BuildSpec.model_validate(changed.model_dump())
    except ValidationError as error:
        raise SpecError(faults_of(error), key=f"sampling.upscale {factor}, to {width} x {height} pixels") from error


def _source_shape(spec: BuildSpec) -> tuple[int, int]:
    """Height and width of the pictures of a finished build, or of the first record's photo, cut to whole latents."""
    source = spec.source.path
    shard = list_shards(source, spec.source.format, log=False)[0]
    if shard.kind == "build":
        build = read_source_build(source)
        return build.height, build.width
    raw = next(islice(read_records(shard, RecordRange(0, 1)), 1), None)
    photo = None if raw is None else decode_record(raw, (), with_photo=True).photo
    if photo is None:
        raise SpecError(
            file=storage.without_secrets(source), key="sampling.upscale",
            found="a first record without a photo", expected="a finished build, or records with photos to enlarge",
        )  # fmt: skip
    height, width = (edge // CELL * CELL for edge in photo.shape[:2])
    if not (height and width):
        raise ConditionError(shard.place, f"a photo of {photo.shape[1]} x {photo.shape[0]} pixels", f"{CELL} or more")
    return height, width
