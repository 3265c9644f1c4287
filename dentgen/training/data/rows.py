"""Training rows: images, control images, label maps and prompts of records.

While a step computes, the rows of the next one are prepared and the chunks of later ones read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import APPLIANCE, IGNORE, RESTORATION, TOOTH, mirror_record, tissue_classes
from dentgen.conditions.prepare import condition_image, control_image
from dentgen.phantom.prompt import LIGHT_WORD, NEUTRAL_LIGHT, SCAN_LIGHT_WORD, phantom_phrases
from dentgen.records import ConditionRecord
from dentgen.seeding import numpy_generator
from dentgen.spec.train import TrainSpec
from dentgen.spec.train_sections import ConditionsSpec, ControlKind
from dentgen.training.data.order import Place, RowOrder
from dentgen.training.data.partners import PartneredRecords
from dentgen.training.data.records import Records

#: Phrases that name a light in prompts of phantoms.
_LIGHT_PHRASES: Final = frozenset({*LIGHT_WORD.values(), *SCAN_LIGHT_WORD.values()})
#: Probability of leaving out an attribute, and of naming no light.
_WORD_DROP: Final = 0.15


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One record as a training example.

    Attributes:
        place: Where it is, and whether it is mirrored.
        photo: (H, W, 3) uint8.
        seg: (H, W) uint8 label map of three classes and ``IGNORE`` (``tissue_classes``).
        prompt: The record's prompt; left and right views swapped in a mirror image.
        record: The record, mirrored if the row is.
        alpha: Share of segmentation colours in blended control images.
        partner: The same mouth under another light, in recipes of pairs.
    """

    place: Place
    photo: NDArray[np.uint8]
    seg: NDArray[np.uint8]
    prompt: str
    record: ConditionRecord
    alpha: float
    partner: TrainingRow | None = None

    @property
    def found(self) -> NDArray[np.bool_]:
        """(H, W) where the findings map has something; nowhere without one."""
        lesion = self.record.conditions.get("findings")
        return np.zeros(self.seg.shape, bool) if lesion is None else ~np.isin(lesion, (0, IGNORE))

    def control(self, kind: ControlKind) -> NDArray[np.uint8]:
        """A control image (H, W, 3) uint8, composed on demand: cached latents need none."""
        return _control_image(self.record, kind, self.alpha)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are computed together.

    Attributes:
        step: Their step; draws are named by step and row.
        first: Number of the first row within the step.
        rows: The rows.
    """

    step: int
    first: int
    rows: Sequence[TrainingRow]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def partners(self) -> Batch:
        """The rows' partners; rows without one are left out."""
        return replace(self, rows=[row.partner for row in self.rows if row.partner is not None])

    @property
    def photos(self) -> NDArray[np.uint8]:
        """(b, H, W, 3) uint8."""
        return np.stack([row.photo for row in self.rows])

    @property
    def seg(self) -> NDArray[np.uint8]:
        """(b, H, W) uint8 label maps of three classes and ``IGNORE``."""
        return np.stack([row.seg for row in self.rows])

    @property
    def found(self) -> NDArray[np.bool_]:
        """(b, H, W) where the findings map has something; nowhere in a record without one."""
        return np.stack([row.found for row in self.rows])


class TrainingData:
    """Rows of a training run, by step."""

    def __init__(self, spec: TrainSpec, records: Records, split: str | None = None) -> None:
        """Order the records of a split (None: all)."""
        self._spec, self._records = spec, records
        self._order = RowOrder(records.sizes, spec.seed, split)
        self._pool = ThreadPoolExecutor(1, "rows")
        self._prepared: dict[tuple[int, int, int], Future[Batch]] = {}

    def __len__(self) -> int:
        """Number of records."""
        return self._order.records

    def batch(self, step: int, first: int, count: int, *, prefetch: bool = True) -> Batch:
        """Rows ``first`` to ``first + count`` of a step.

        Args:
            step: The step, from 0.
            first: Number of the first row within the step.
            count: Number of rows.
            prefetch: Prepare the same rows of the next step in the background.
        """
        prepared = self._prepared.pop((step, first, count), None)
        batch = prepared.result() if prepared else self._prepare(step, first, count, prefetch=prefetch)
        if prefetch and step + 1 < self._spec.steps:
            future = self._pool.submit(self._prepare, step + 1, first, count, prefetch=True)
            self._prepared[step + 1, first, count] = future
        return batch

    def _prepare(self, step: int, first: int, count: int, *, prefetch: bool) -> Batch:
        start = step * self._spec.batch + first
        places = self._order.places(start, count)
        soon = self._order.places(start, 4 * self._spec.batch) if prefetch else places
        self._records.prefetch(OrderedDict.fromkeys(place.chunk for place in soon))
        rows = [self._row(place) for place in places]
        if isinstance(self._records, PartneredRecords):
            rows = [self._with_partner(row, self._records, step, first + i) for i, row in enumerate(rows)]
        return Batch(step, first, rows)

    def _row(self, place: Place) -> TrainingRow:
        return training_row(place, self._records.record(place), self._spec)

    def _with_partner(self, row: TrainingRow, records: PartneredRecords, step: int, number: int) -> TrainingRow:
        draw = float(numpy_generator(self._spec.seed, "partner", step, number).random())
        return replace(row, partner=self._row(records.partner(row.place, draw)))


def training_row(place: Place, record: ConditionRecord, spec: TrainSpec) -> TrainingRow:
    """A record as a training row."""
    shown = mirror_record(record) if place.mirrored else record
    assert shown.photo is not None  # checked when it was read
    seg = shown.conditions["segmentation"].astype(np.uint8)
    conditions = spec.conditions
    alpha = conditions.alpha if isinstance(conditions, ConditionsSpec) else 0.0  # recipes without it blend nothing
    return TrainingRow(place, shown.photo, tissue_classes(seg), shown.prompt, shown, alpha)


def drop_words(prompt: str, rng: np.random.Generator) -> str:
    """Leave out attributes of a phantom's prompt at random, so that short prompts are learnt too.

    Each attribute is dropped with probability 0.15; with the same probability the light is named neutrally. Head, view
    and genre stay. Text that is not a phantom's prompt is returned unchanged.
    """
    phrases = phantom_phrases(prompt)
    if phrases is None:
        return prompt
    fixed, attributes = phrases[:3], phrases[3:]
    kept = [phrase for phrase in attributes if rng.random() > _WORD_DROP]
    if rng.random() < _WORD_DROP:
        kept = [NEUTRAL_LIGHT if phrase in _LIGHT_PHRASES else phrase for phrase in kept]
    return ", ".join([*fixed, *kept])


def _control_image(record: ConditionRecord, kind: ControlKind, alpha: float) -> NDArray[np.uint8]:
    match kind:
        case "blended":
            return control_image(record, ("segmentation", "lighting"), alpha)
        case "findings":
            return control_image(record, ("segmentation", "lighting", "findings"), alpha)
        case "blended-teeth":
            seg, light = record.conditions["segmentation"], record.conditions["lighting"]
            on_teeth = np.isin(seg, [TOOTH, RESTORATION, APPLIANCE])
            bare = {**record.conditions, "lighting": np.where(on_teeth, light, 0).astype(np.uint8)}
            return control_image(replace(record, conditions=bare), ("segmentation", "lighting"), alpha)
        case _:
            return condition_image(record, kind)
