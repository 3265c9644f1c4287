"""Training records in memory: pictures, conditions and prompts of one split, with mirrored twins.

Refuses to know models and losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import APPLIANCE, RESTORATION, TOOTH, mirror_normal, mirror_prompt, tissue_classes
from dentgen.conditions.prepare import condition_image, control_image, fit_record
from dentgen.conditions.sources import list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.records import ConditionName, ConditionRecord

_WANTED: tuple[ConditionName, ...] = ("segmentation", "lighting", "normal", "curvature")
SINGLE_KINDS: Final = ("segmentation", "lighting", "normal", "curvature")
CONTROL_KINDS: Final = (*SINGLE_KINDS, "blended", "blended-teeth")


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures with their conditions; entry 2 i is a record, entry 2 i + 1 its mirror image.

    Attributes:
        photos: (n, H, W, 3) uint8.
        controls: Control images (n, H, W, 3) uint8 by kind; ``blended-teeth`` has light on teeth only, as maps rendered
            from tooth scans do.
        seg: (n, H, W) uint8 in three classes (``tissue_classes``).
        prompts: One per entry, views swapped in mirror images.
    """

    photos: NDArray[np.uint8]
    controls: dict[str, NDArray[np.uint8]]
    seg: NDArray[np.uint8]
    prompts: list[str]

    def __len__(self) -> int:
        return len(self.photos)


def load_training_set(source: str, split: str, size: int, alpha: float = 0.3) -> TrainingSet:
    """Read every record of a split into memory.

    Args:
        source: Condition shards with photos.
        split: Which split; "" takes all.
        size: Edge, pixels.
        alpha: Blend.

    Raises:
        ConditionError: If a record cannot be used or has no picture.
    """
    records = [record for record in _read(source, size) if split in {"", record.split}]
    if not records:
        raise ConditionError(source, f"no record of split {split!r}", "at least one")
    seg = tissue_classes(np.stack([record.conditions["segmentation"] for record in records]).astype(np.uint8))
    controls = {kind: np.stack([_control(record, kind, alpha) for record in records]) for kind in CONTROL_KINDS}
    mirrored = {
        kind: np.stack([mirror_normal(i) for i in images]) if kind == "normal" else images[:, :, ::-1]
        for kind, images in controls.items()
    }
    photos = np.stack([record.photo for record in records if record.photo is not None])
    return TrainingSet(
        photos=_interleave(photos, photos[:, :, ::-1]),
        controls={kind: _interleave(controls[kind], mirrored[kind]) for kind in CONTROL_KINDS},
        seg=_interleave(seg, seg[:, :, ::-1]),
        prompts=[text for record in records for text in (record.prompt, mirror_prompt(record.prompt))],
    )


def drop_words(prompt: str, rng: np.random.Generator) -> str:
    """Leave out each attribute phrase at random, so that shorter prompts are known too."""
    head, *attributes = prompt.split(", ")
    fixed, free = attributes[:2], attributes[2:]
    kept = [phrase for phrase in free if rng.random() > 0.15]
    if rng.random() < 0.15:
        kept = [*kept[:-1], "clinical lighting"]
    return ", ".join([head, *fixed, *kept])


def _read(source: str, size: int) -> Sequence[ConditionRecord]:
    records = []
    for shard in tqdm(list_shards(source), desc="reading", unit="shard"):
        for raw in read_records(shard):
            record = decode_record(raw, _WANTED, with_photo=True)
            if record.photo is None:
                raise ConditionError(raw.place, f"members {sorted(raw.members)}", "a photo member to train on")
            records.append(fit_record(record, size, "pad"))
    return records


def _control(record: ConditionRecord, kind: str, alpha: float) -> NDArray[np.uint8]:
    match kind:
        case "blended":
            return control_image(record, ("segmentation", "lighting"), alpha)
        case "blended-teeth":
            seg, light = record.conditions["segmentation"], record.conditions["lighting"]
            on_teeth = np.isin(seg, [TOOTH, RESTORATION, APPLIANCE])
            bare = {**record.conditions, "lighting": np.where(on_teeth, light, 0).astype(np.uint8)}
            twin = replace(record, conditions=bare, photo=None)
            return control_image(twin, ("segmentation", "lighting"), alpha)
        case "segmentation" | "lighting" | "normal" | "curvature":
            return condition_image(record, kind)
        case _:
            raise ValueError(kind)


def _interleave(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([first, second], 1).reshape(-1, *first.shape[1:])
