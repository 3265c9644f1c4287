"""Training rows: pictures, control images, labels and prompts of records.

While a step computes, the rows of the next one are made, and the chunks of those after it read. Refuses to know models,
losses and where records come from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import APPLIANCE, RESTORATION, TOOTH, mirror_record, tissue_classes
from dentgen.conditions.prepare import condition_image, control_image
from dentgen.phantom.prompt import LIGHT_WORD, SCAN_LIGHT_WORD
from dentgen.records import ConditionRecord
from dentgen.spec.train import ControlKind, TrainSpec
from dentgen.training.data.order import Place, RowOrder
from dentgen.training.data.records import Records

#: What prompts of phantoms call light.
LIGHT_PHRASES: Final = frozenset({*LIGHT_WORD.values(), *SCAN_LIGHT_WORD.values()})


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One record as a row shows it.

    Attributes:
        place: Where it is, and whether it is mirrored.
        photo: (H, W, 3) uint8.
        seg: (H, W) uint8 in three classes and ``IGNORE`` (``tissue_classes``).
        prompt: The record's; views swapped in a mirror image.
        record: The record itself, mirrored if the row is.
        alpha: Share of segmentation colours in blended control images.
    """

    place: Place
    photo: NDArray[np.uint8]
    seg: NDArray[np.uint8]
    prompt: str
    record: ConditionRecord
    alpha: float

    def control(self, kind: ControlKind) -> NDArray[np.uint8]:
        """A control image (H, W, 3), made when it is asked for: latents that are kept need none."""
        return _control(self.record, kind, self.alpha)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are computed together.

    Attributes:
        step: Step they belong to; draws are named by step and row.
        first: Number of the first of them within the step.
        rows: The rows.
    """

    step: int
    first: int
    rows: Sequence[TrainingRow]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def photos(self) -> NDArray[np.uint8]:
        """(b, H, W, 3)."""
        return np.stack([row.photo for row in self.rows])

    @property
    def seg(self) -> NDArray[np.uint8]:
        """(b, H, W)."""
        return np.stack([row.seg for row in self.rows])


class TrainingData:
    """Rows of a training run, by step."""

    def __init__(self, spec: TrainSpec, records: Records, split: str = "") -> None:
        """Order the records of a split."""
        self._spec, self._records = spec, records
        self._order = RowOrder(records.sizes, spec.seed, split)
        self._ahead = ThreadPoolExecutor(1, "rows")
        self._next: dict[tuple[int, int, int], Future[Batch]] = {}

    def __len__(self) -> int:
        return self._order.records

    def batch(self, step: int, first: int, count: int) -> Batch:
        """Rows ``first`` to ``first + count`` of a step; the same ones of the next step are made in the meantime."""
        begun = self._next.pop((step, first, count), None)
        batch = begun.result() if begun else self._make(step, first, count)
        if step + 1 < self._spec.steps:
            self._next[step + 1, first, count] = self._ahead.submit(self._make, step + 1, first, count)
        return batch

    def _make(self, step: int, first: int, count: int) -> Batch:
        begin = step * self._spec.batch + first
        places = self._order.places(begin, count)
        self._records.expect(
            OrderedDict.fromkeys(place.chunk for place in self._order.places(begin, 4 * self._spec.batch))
        )
        return Batch(step, first, [training_row(place, self._records.record(place), self._spec) for place in places])


def training_row(place: Place, record: ConditionRecord, spec: TrainSpec) -> TrainingRow:
    """A record as a row, with the control images that the spec's recipe needs."""
    shown = mirror_record(record) if place.mirrored else record
    assert shown.photo is not None  # or it would have been refused when it was read
    seg = shown.conditions["segmentation"].astype(np.uint8)
    return TrainingRow(place, shown.photo, tissue_classes(seg), shown.prompt, shown, spec.alpha)


def drop_words(prompt: str, rng: np.random.Generator) -> str:
    """Leave out each attribute phrase at random, so that shorter prompts are known too; name known light neutrally."""
    head, *attributes = prompt.split(", ")
    fixed, free = attributes[:2], attributes[2:]
    kept = [phrase for phrase in free if rng.random() > 0.15]
    if rng.random() < 0.15:
        kept = ["clinical lighting" if phrase in LIGHT_PHRASES else phrase for phrase in kept]
    return ", ".join([head, *fixed, *kept])


def _control(record: ConditionRecord, kind: ControlKind, alpha: float) -> NDArray[np.uint8]:
    match kind:
        case "blended":
            return control_image(record, ("segmentation", "lighting"), alpha)
        case "blended-teeth":
            seg, light = record.conditions["segmentation"], record.conditions["lighting"]
            on_teeth = np.isin(seg, [TOOTH, RESTORATION, APPLIANCE])
            bare = {**record.conditions, "lighting": np.where(on_teeth, light, 0).astype(np.uint8)}
            return control_image(replace(record, conditions=bare), ("segmentation", "lighting"), alpha)
        case _:
            return condition_image(record, kind)
