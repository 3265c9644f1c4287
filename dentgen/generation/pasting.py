"""Repainted pictures in their photographs: outside the repainted part and its border, the photograph stays as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from dentgen.conditions.labels import SEG_CLASSES
from dentgen.errors import ConditionError
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.spec.sampling import PAINTED, SamplingSpec


def repaint_mask(request: SampleRequest, sampling: SamplingSpec) -> NDArray[np.bool_]:
    """(H, W), True where classes, teeth and painted regions that the spec names, and its findings, are repainted."""
    record = request.record
    painted = np.zeros(record.shape, bool)
    values = [value for value, name in SEG_CLASSES.items() if name in sampling.repaint_classes]
    if values:
        painted |= np.isin(record.conditions["segmentation"], values)
    if record.fdi is not None:
        painted |= np.isin(record.fdi, sampling.repaint_teeth)
    for region in record.painted if PAINTED in sampling.repaint else ():
        painted |= region.mask > 0
    if request.finding_labels is not None:
        painted |= request.finding_labels > 0  # a restoration is no tooth any more
    return painted


def check_repaint(record: ConditionRecord, sampling: SamplingSpec) -> None:
    """Check that a record has the maps that say what is repainted.

    Raises:
        ConditionError: If segmentation, tooth numbers or painted regions are missing.
    """
    if sampling.repaint_classes and "segmentation" not in record.conditions:
        raise ConditionError("seg", "none", "a segmentation, because sampling.repaint names classes")
    if sampling.repaint_teeth and record.fdi is None:
        raise ConditionError("fdi", "none", "tooth numbers, because sampling.repaint names teeth")
    if PAINTED in sampling.repaint and not record.painted:
        raise ConditionError("painted", "none", "painted regions, because sampling.repaint names them")


def pasted(picture: NDArray[np.uint8], request: SampleRequest, sampling: SamplingSpec) -> NDArray[np.uint8]:
    """The picture's repainted part in the request's photo.

    Args:
        picture: (H, W, 3) decoded.
        request: Its record has a photo of the same size.
        sampling: What is repainted, and how wide the border is.

    Returns:
        (H, W, 3): the picture where it is repainted, the photo's own levels beyond the border, and a linear blend
        between them; the picture itself if the spec does not paste.
    """
    photo = request.record.photo
    if sampling.paste_border is None or photo is None:
        return picture
    painted = repaint_mask(request, sampling)
    if not painted.any():
        return photo.copy()
    distance = distance_transform_edt(~painted)
    near = distance <= sampling.paste_border
    share = np.where(near, 1 - distance / (sampling.paste_border + 1), 0)[..., None]
    return np.rint(share * picture + (1 - share) * photo).astype(np.uint8)
