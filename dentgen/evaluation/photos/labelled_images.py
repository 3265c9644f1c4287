"""Images with labels of teeth and lesions, as the networks of this study learn and are scored on them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import grey_dilation, grey_erosion

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import APPLIANCE, FDI_NUMBERS, IGNORE, RESTORATION, TOOTH
from dentgen.conditions.lesion_map import CARIES, CAVITY, FRACTURE
from dentgen.conditions.prepare import fit_map
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.shards import layout
from dentgen.shards.dataset import open_dataset

#: Values of label maps: no, yes, not annotated.
NO, YES = 0, 1
#: What Dentalai and similar sets call a lesion.
_DISEASED: Final = (CARIES, CAVITY, FRACTURE)
#: Half width of the border between touching teeth, pixels.
_BORDER_PX: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """n square images of one size with their labels.

    Attributes:
        keys: Names of the images.
        images: (n, S, S, 3) uint8.
        tooth: (n, S, S) uint8, ``NO``, ``YES`` or ``IGNORE``.
        instances: (n, S, S) uint8: a number for every tooth, 0 for none.
        lesion: (n, S, S) uint8, ``NO``, ``YES`` or ``IGNORE``.
        numbers: (n, S, S) uint8: FDI numbers, 0 for none, ``IGNORE`` where no tooth has one.
    """

    keys: tuple[str, ...]
    images: NDArray[np.uint8]
    tooth: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    lesion: NDArray[np.uint8]
    numbers: NDArray[np.uint8]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.keys)

    def take(self, index: NDArray[np.intp]) -> LabelledImages:
        """The images at ``index`` (m,)."""
        keys = tuple(self.keys[place] for place in index.tolist())
        maps = (self.images, self.tooth, self.instances, self.lesion, self.numbers)
        return LabelledImages(keys, *(each[index] for each in maps))

    @property
    def has_numbers(self) -> bool:
        """Whether any tooth has an FDI number."""
        return bool(np.isin(self.numbers, list(FDI_NUMBERS)).any())

    def borders(self) -> NDArray[np.uint8]:
        """(n, S, S) ``YES`` where two teeth touch, ``IGNORE`` where teeth are not annotated."""
        size = (1, 2 * _BORDER_PX + 1, 2 * _BORDER_PX + 1)
        highest = grey_dilation(self.instances, size)
        none_as_highest = np.where(self.instances > 0, self.instances, 255).astype(np.uint8)
        lowest = grey_erosion(none_as_highest, size)
        touching = (highest > 0) & (lowest < 255) & (highest != lowest)
        return np.where(self.tooth == IGNORE, IGNORE, np.where(touching, YES, NO)).astype(np.uint8)


def read_synthetic(place: str, limit: int, size: int) -> LabelledImages:
    """Read synthetic images: a finished build, or condition records with reference pictures.

    Args:
        place: Folder or URL.
        limit: Largest number of images, the first ones.
        size: Edge of the images; others are resized.

    Raises:
        ConditionError: If a record has no picture or segmentation.
    """
    if storage.exists(storage.join(place, layout.INDEX)):
        return stacked([fitted(_of_sample(sample), size) for sample in islice(open_dataset(place), limit)], place)
    raws = (raw for shard in list_shards(place) for raw in read_records(shard))
    return stacked([fitted(_of_record(raw), size) for raw in islice(raws, limit)], place)


_Map = NDArray[np.uint8]
#: Key, image, tooth, instances, lesion, numbers.
Labelled = tuple[str, _Map, _Map, _Map, _Map, _Map]


def labelled(
    key: str, image: NDArray[np.uint8], seg: NDArray[np.uint8], fdi: NDArray[np.uint8], lesion: NDArray[np.uint8] | None
) -> Labelled:
    """Labels of one synthetic image from its class, tooth and lesion maps, each (H, W)."""
    tooth = np.isin(seg, (TOOTH, RESTORATION)).astype(np.uint8)
    tooth[np.isin(seg, (APPLIANCE, IGNORE))] = IGNORE
    diseased = np.full(seg.shape, IGNORE, np.uint8) if lesion is None else np.isin(lesion, _DISEASED).astype(np.uint8)
    diseased[(tooth == IGNORE) | (lesion == IGNORE if lesion is not None else False)] = IGNORE
    return key, image, tooth, fdi, diseased, fdi


def fitted(found: Labelled, size: int) -> Labelled:
    """The same image and labels as squares of one size; padding is ``IGNORE``.

    Args:
        found: Image (H, W, 3) and maps (h, w) of one aspect ratio.
        size: Edge of the squares, pixels.
    """
    key, image, tooth, instances, lesion, numbers = found
    shape = size, size
    image = fit_map(image, shape, "pad", nearest=False, empty=0)
    labels = (fit_map(values, shape, "pad", nearest=True, empty=IGNORE) for values in (tooth, lesion, numbers))
    tooth, lesion, numbers = labels
    return key, image, tooth, fit_map(instances, shape, "pad", nearest=True, empty=0), lesion, numbers


def _of_sample(sample: dict[str, object]) -> Labelled:
    image, seg, fdi = (np.asarray(sample[name]) for name in ("image", "seg", "fdi"))
    lesion = np.asarray(sample["lesion"]) if "lesion" in sample else None
    return labelled(str(sample["key"]), np.ascontiguousarray(image.transpose(1, 2, 0)), seg, fdi, lesion)


def _of_record(raw: RawRecord) -> Labelled:
    if raw.problem is not None:
        raise raw.problem
    record = decode_record(raw, ["segmentation"], with_photo=True)
    if record.photo is None or record.fdi is None:
        raise ConditionError(raw.place, f"members {sorted(raw.members)[:20]}", "a photo and a map 'fdi.png'")
    seg, lesion = record.conditions["segmentation"].astype(np.uint8), record.conditions.get("findings")
    return labelled(raw.key, record.photo, seg, record.fdi, None if lesion is None else lesion.astype(np.uint8))


def stacked(found: list[Labelled], place: str) -> LabelledImages:
    """Join labelled images of one size; ``place`` names them in the error if there is none."""
    if not found:
        raise ConditionError(place, "no images", "at least one image with its labels")
    keys, *maps = zip(*found, strict=True)
    return LabelledImages(tuple(map(str, keys)), *(np.stack(each) for each in maps))
