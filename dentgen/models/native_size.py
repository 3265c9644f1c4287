"""The picture size that a bundle's UNet was trained at, which builds take unless they choose another."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from dentgen.errors import BundleError, SpecError, faults_of
from dentgen.models.bundle import find_bundle
from dentgen.models.bundle_files import CONFIG, read_json
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

_MAX_SIZE: Final = 4096
#: Sizes are multiples of this.
_STEP: Final = 8


def native_size(folder: Path) -> int:
    """Edge, pixels, of the pictures that the UNet in a bundle's folder was trained at.

    Raises:
        BundleError: If its configs do not tell.
    """
    edge = read_json(folder / "unet" / CONFIG).get("sample_size")
    blocks = read_json(folder / "vae" / CONFIG).get("block_out_channels")
    depth = len(blocks) - 1 if isinstance(blocks, list) else -1
    if not _is_size(edge) or not 0 <= depth < 8 or not 8 <= (size := edge * 2**depth) <= _MAX_SIZE or size % 8:
        raise BundleError(
            file=str(folder / "unet"), key="sample_size", found=f"{edge!r}, with {depth + 1} blocks in the autoencoder",
            expected=f"pictures of 8 to {_MAX_SIZE} pixels", advice="name conditions.size in the spec",
        )  # fmt: skip
    return size


def with_size(spec: BuildSpec) -> BuildSpec:
    """The spec with its picture size resolved; says so if it is not the one that its bundle was trained at.

    The size of a picture that is not square is the edge of a square of the same area.

    Raises:
        BundleError: If the spec names no size, and the bundle cannot be found or tells none.
        SpecError: If the spec does not fit that size: windows may need more slots than it has.
    """
    chosen = spec.conditions.size
    if chosen is None:
        return _sized(spec, native_size(find_bundle(spec.model.bundle)))
    try:
        native = native_size(find_bundle(spec.model.bundle))
    except BundleError:
        return spec  # loading says what is wrong
    if abs(math.sqrt(math.prod(spec.conditions.shape)) - native) >= _STEP:
        _LOG.warning(
            "conditions.size is %s, but the UNet of bundle %s was trained at %d pixels",
            chosen if isinstance(chosen, int) else list(chosen),
            spec.model.bundle,
            native,
        )
    return spec


def _sized(spec: BuildSpec, edge: int) -> BuildSpec:
    conditions = spec.conditions.model_copy(update={"size": edge})
    try:
        return BuildSpec.model_validate(spec.model_copy(update={"conditions": conditions}).model_dump())
    except ValidationError as error:
        raise SpecError(faults_of(error), key=f"conditions.size {edge}, as the bundle's") from error


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
