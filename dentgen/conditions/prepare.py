"""Resizing of condition records to a model's image size, and their control images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.enlarge import ENLARGED, Enlarge, enlarged_picture, enlarges
from dentgen.conditions.labels import BACKGROUND_RGB, colour_segmentation
from dentgen.conditions.lesion_map import paint_lesions
from dentgen.errors import ConditionError
from dentgen.records import (
    BLENDS,
    LABEL_CONDITIONS,
    ConditionName,
    ConditionRecord,
    MapArray,
    PaintedRegion,
    SourceSample,
)

Fit = Literal["pad", "crop", "stretch"]
#: Padding values: "no surface", and "flat" for curvature.
EMPTY: Final[dict[ConditionName, int]] = {
    "segmentation": 0, "lighting": 0, "normal": 0, "curvature": 128, "depth": 0, "findings": 0,
}  # fmt: skip


def fit_record(record: ConditionRecord, shape: tuple[int, int], fit: Fit) -> ConditionRecord:
    """Resize every map and the photo of a record to one shape.

    Label maps are resized by nearest neighbour, so no label is ever interpolated. Other maps and the photo are reduced
    by area averaging, and enlarged as ``conditions.enlarge`` says.

    Args:
        record: A validated record.
        shape: Height and width, pixels.
        fit: ``pad`` keeps the whole image and centres it on empty padding, ``crop`` takes the largest central rectangle
            of the shape's aspect ratio, ``stretch`` ignores the aspect ratio.

    Returns:
        The record with maps of this height and width, dtypes unchanged; metadata as they were.
    """
    conditions = {
        name: fit_map(
            array, shape, fit, nearest=name in LABEL_CONDITIONS, empty=EMPTY[name], enlarge=ENLARGED.get(name)
        )
        for name, array in record.conditions.items()
    }
    fdi = None if record.fdi is None else fit_map(record.fdi, shape, fit, nearest=True, empty=0)
    photo = record.photo
    if photo is not None:
        photo = fit_map(photo, shape, fit, nearest=False, empty=0, enlarge=enlarged_picture)
    sample, painted = _fit_sample(record.sample, shape, fit), _fit_painted(record.painted, shape, fit)
    motion = None if record.motion is None else fit_motion(record.motion, shape, fit)
    return replace(record, conditions=conditions, fdi=fdi, photo=photo, sample=sample, painted=painted, motion=motion)


def _fit_sample(sample: SourceSample | None, shape: tuple[int, int], fit: Fit) -> SourceSample | None:
    """The labels of its findings, by nearest neighbour."""
    if sample is None or sample.finding_labels is None:
        return sample
    return replace(sample, finding_labels=fit_map(sample.finding_labels, shape, fit, nearest=True, empty=0))


def _fit_painted(painted: tuple[PaintedRegion, ...], shape: tuple[int, int], fit: Fit) -> tuple[PaintedRegion, ...]:
    """Painted regions with their masks, float32 from here on, resized by nearest neighbour, empty in the padding."""
    return tuple(replace(each, mask=_fit_mask(each.mask, shape, fit)) for each in painted)


def _fit_mask(
    mask: NDArray[np.float32] | NDArray[np.bool_], shape: tuple[int, int], fit: Fit
) -> NDArray[np.float32]:  # fmt: skip
    values = mask.astype(np.uint8) if mask.dtype == bool else mask
    return fit_map(values, shape, fit, nearest=True, empty=0).astype(np.float32)


def fit_motion(motion: NDArray[np.float32], shape: tuple[int, int], fit: Fit) -> NDArray[np.float32]:
    """Resize a motion as maps are, by nearest neighbour, so that a hidden pixel blends with none.

    Args:
        motion: (H, W, 2) pixels of its own size, NaN where hidden, as ``ConditionRecord.motion``.
        shape: Height and width of the result, pixels.
        fit: As for ``fit_record``. All frames of a series have one size, so the offset of padding cancels.

    Returns:
        (height, width, 2) pixels of the new size, hidden in the padding.
    """
    size = motion.shape[0], motion.shape[1]
    if size == shape:
        return motion
    axes = [fit_map(motion[..., axis], shape, fit, nearest=True, empty=np.nan) for axis in (0, 1)]
    down, right = shape[0] / size[0], shape[1] / size[1]
    if fit != "stretch":
        down = right = min(down, right) if fit == "pad" else max(down, right)
    fitted: NDArray[np.float32] = np.stack(axes, -1) * np.array([right, down], np.float32)
    return fitted


def control_image(record: ConditionRecord, use: Sequence[ConditionName], alpha: float) -> NDArray[np.uint8]:
    """Render the conditions in ``use`` as one RGB control image.

    Segmentation and lighting are blended as ``alpha * segmentation colours + (1 - alpha) * lighting``, rounded half up;
    findings are painted over the segmentation before. A single condition is rendered by ``condition_image``.

    Args:
        record: A record that has the conditions in ``use``.
        use: One condition, or segmentation and lighting, with or without findings, in any order.
        alpha: Weight of the segmentation, 0..1; ignored for a single condition.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ConditionError: If another combination is asked for.
    """
    if set(use) in BLENDS:
        colours = condition_image(record, "findings" if "findings" in use else "segmentation").astype(np.float64)
        light = condition_image(record, "lighting").astype(np.float64)
        return np.floor(alpha * colours + (1 - alpha) * light + 0.5).astype(np.uint8)
    if len(use) == 1:
        return condition_image(record, use[0])
    expected = "one condition, or segmentation and lighting (and findings)"
    raise ConditionError(record.key, f"conditions {list(use)}", expected)


def condition_image(record: ConditionRecord, name: ConditionName) -> NDArray[np.uint8]:
    """Render one condition as RGB, (H, W, 3) uint8.

    Segmentation is drawn in palette colours, findings over the segmentation where the record has one; depth keeps its
    upper 8 bits; single-channel maps become grey.
    """
    array = record.conditions[name]
    match name:
        case "segmentation":
            return colour_segmentation(array.astype(np.uint8))
        case "findings":
            seg = record.conditions.get("segmentation")
            teeth = np.broadcast_to(np.array(BACKGROUND_RGB, np.uint8), (*array.shape, 3))
            under = teeth if seg is None else colour_segmentation(seg.astype(np.uint8))
            return paint_lesions(under, array.astype(np.uint8))
        case "normal":
            return array.astype(np.uint8)
        case "depth":
            return np.repeat((array >> 8).astype(np.uint8)[..., None], 3, -1)
        case _:
            return np.repeat(array.astype(np.uint8)[..., None], 3, -1)


def fit_map(
    array: NDArray[Any],
    shape: tuple[int, int],
    fit: Fit,
    *,
    nearest: bool,
    empty: float,
    enlarge: Enlarge | None = None,
) -> Any:
    """Resize one map or picture, as ``fit_record`` does.

    Args:
        array: (H, W) or (H, W, 3), uint8 or uint16; float32 (H, W) with ``nearest``.
        shape: Height and width of the result, pixels.
        fit: As for ``fit_record``.
        nearest: Whether values are labels, which are never interpolated.
        empty: Value of padding.
        enlarge: How it is enlarged; None: as it is reduced.

    Returns:
        The array with this height and width, of the same dtype.
    """
    if array.shape[:2] == shape:
        return array
    if fit == "stretch":
        return _resize(array, shape, nearest, enlarge)
    if fit == "crop":
        return _resize(_central(array, _within((array.shape[0], array.shape[1]), shape)), shape, nearest, enlarge)
    inner = _within(shape, (array.shape[0], array.shape[1]))
    padded = np.full((*shape, *array.shape[2:]), empty, array.dtype)
    _central(padded, inner)[...] = _resize(array, inner, nearest, enlarge)
    return padded


def _within(outer: tuple[int, int], aspect: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest rectangle in ``outer`` with the aspect ratio of ``aspect``, at least a pixel."""
    scale = min(outer[0] / aspect[0], outer[1] / aspect[1])
    height, width = (max(1, round(edge * scale)) for edge in aspect)
    return height, width


def _central(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """A view of the central part of this height and width."""
    top, left = ((outer - inner) // 2 for outer, inner in zip(array.shape, shape, strict=False))
    return array[top : top + shape[0], left : left + shape[1]]


def _resize(array: NDArray[Any], shape: tuple[int, int], nearest: bool, enlarge: Enlarge | None) -> NDArray[Any]:
    """Resize (H, W) or (H, W, 3) by nearest neighbour or area; 16-bit maps go through float32, as Pillow needs."""
    height, width = shape
    if enlarge is not None and enlarges(array, shape):
        enlarged: MapArray = enlarge(array, shape)
        return enlarged
    if array.dtype == np.uint16:
        image = Image.fromarray(array.astype(np.float32))
        return np.rint(np.asarray(image.resize((width, height), Image.Resampling.BOX))).astype(np.uint16)
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BOX
    return np.asarray(Image.fromarray(array).resize((width, height), method))
