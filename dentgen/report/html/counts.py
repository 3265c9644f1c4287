"""A finished build in plain numbers: the index, and counts over the table of samples.

The table streams through Arrow a batch at a time, so that ten million samples take no more memory than ten thousand.
Refuses to know pictures and how anything is drawn.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.documents import DatasetIndex
from dentgen.records import ATTRIBUTES
from dentgen.report.html.rejects import RejectGroup, RejectGroups
from dentgen.report.html.tally import Count, Distribution, Tally, value_counts
from dentgen.shards.index import SAMPLES, read_index
from dentgen.shards.plan import Plan

_BATCH: Final = 65536
_VALUES, _PROMPTS, _PHRASES = 12, 10, 15
_LEVELS_PER_BIN: Final = 16
_TEXTS: Final = (*ATTRIBUTES, "split", "prompt")

#: Rows of a dental chart as a dentist sees the patient: right side on the left.
_PERMANENT: Final = ((1, 2), (4, 3))
_DECIDUOUS: Final = ((5, 6), (8, 7))


@dataclass(frozen=True, slots=True)
class Tooth:
    """An FDI number and the written samples that show it."""

    fdi: int
    samples: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a build came to.

    Attributes:
        index: The sealed index.
        size: Bytes of all shards.
        max_rejected: Largest rejected share that the spec tolerates.
        distributions: Attributes and split of the written samples; what is empty everywhere is left out.
        light: Histogram of the mean lighting level, None if no sample has one.
        permanent: Upper and lower row of the dental chart, empty if no tooth is known.
        deciduous: The same for milk teeth.
        prompts: The most frequent prompts, None if all are empty.
        phrases: The most frequent parts of prompts between commas, None if all are empty.
        rejects: Reasons with examples.
        splits: Names of the splits, the largest first, without the empty one.
    """

    index: DatasetIndex
    size: int
    max_rejected: float
    distributions: tuple[Distribution, ...]
    light: Distribution | None
    permanent: tuple[tuple[Tooth, ...], ...]
    deciduous: tuple[tuple[Tooth, ...], ...]
    prompts: Distribution | None
    phrases: Distribution | None
    rejects: tuple[RejectGroup, ...]
    splits: tuple[str, ...]

    @property
    def too_many_rejected(self) -> bool:
        """Whether the rejected share is above what the spec tolerates."""
        return self.index.rejected > self.max_rejected * self.index.planned


class _Columns:
    """Counts that grow while the table of samples streams by."""

    def __init__(self) -> None:
        self.texts = {name: Tally() for name in _TEXTS}
        self.teeth: Counter[int] = Counter()
        self.levels: Counter[int | None] = Counter()
        self.rejects = RejectGroups()

    def add(self, batch: Any) -> None:
        """Count a record batch."""
        is_written = pc.equal(batch["status"], "written")
        self.rejects.add(batch.filter(pc.invert(is_written))["reason"])
        written = batch.filter(is_written)
        for name, tally in self.texts.items():
            tally.add(written[name])
        self.teeth.update(value_counts(pc.list_flatten(written["teeth"])))
        self.levels.update(value_counts(written["light_level"]))


def read_summary(out: str, plan: Plan) -> Summary:
    """Summarise a sealed build.

    Args:
        out: The build.
        plan: Its plan.

    Raises:
        StorageError: If the build has not been sealed.
    """
    index, columns = read_index(out), _count(out)
    split = columns.texts["split"]
    by_size = sorted(split.counts.items(), key=lambda item: (-item[1], item[0]))
    return Summary(
        index=index,
        size=sum(shard.bytes for shard in index.shards),
        max_rejected=float(plan.spec["quality"]["max_rejected"]),
        distributions=_distributions(columns),
        light=_light_histogram(columns.levels),
        permanent=_dental_rows(columns.teeth, _PERMANENT, 8),
        deciduous=_dental_rows(columns.teeth, _DECIDUOUS, 5),
        prompts=_prompts(columns.texts["prompt"]),
        phrases=_phrases(columns.texts["prompt"]),
        rejects=columns.rejects.ranked(),
        splits=tuple(name for name, _ in by_size if name),
    )


def _count(out: str) -> _Columns:
    columns = _Columns()
    wanted = ["status", "reason", "teeth", "light_level", *_TEXTS]
    with storage.open_read(storage.join(out, SAMPLES)) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(_BATCH, columns=wanted, use_threads=False):
            columns.add(batch)
    return columns


def _distributions(columns: _Columns) -> tuple[Distribution, ...]:
    return tuple(
        columns.texts[name].distribution(name.replace("_", " ").capitalize(), _VALUES)
        for name in (*ATTRIBUTES, "split")
        if not columns.texts[name].says_nothing
    )


def _light_histogram(levels: Counter[int | None]) -> Distribution | None:
    bins: Counter[int] = Counter()
    for level, samples in levels.items():
        if level is not None:
            bins[level // _LEVELS_PER_BIN] += samples
    if not bins:
        return None
    counts = [
        Count(f"{first * _LEVELS_PER_BIN}-{(first + 1) * _LEVELS_PER_BIN - 1}", bins[first])
        for first in range(min(bins), max(bins) + 1)
    ]
    unknown = [Count("no lighting map", levels[None])] if levels[None] else []
    return Distribution("Mean lighting level", (*counts, *unknown), levels.total())


def _dental_rows(
    teeth: Counter[int], quadrants: tuple[tuple[int, int], ...], per_quadrant: int
) -> tuple[tuple[Tooth, ...], ...]:
    """Rows of teeth from the patient's right to the left, empty if none of them is in any sample."""
    rows = [
        [10 * right + n for n in range(per_quadrant, 0, -1)] + [10 * left + n for n in range(1, per_quadrant + 1)]
        for right, left in quadrants
    ]
    if not any(teeth[fdi] for row in rows for fdi in row):
        return ()
    return tuple(tuple(Tooth(fdi, teeth[fdi]) for fdi in row) for row in rows)


def _prompts(prompts: Tally) -> Distribution | None:
    return None if prompts.says_nothing else prompts.distribution("Most frequent prompts", _PROMPTS, "(empty)")


def _phrases(prompts: Tally) -> Distribution | None:
    """Samples whose prompt has a part, counted over the prompts that the tally knows."""
    phrases = Tally()
    for prompt, samples in prompts.counts.items():
        for phrase in {part.strip() for part in prompt.split(",")} - {""}:
            phrases.counts[phrase] += samples
    if not phrases.counts:
        return None
    listed = phrases.distribution("Parts of prompts", _PHRASES)
    return Distribution(listed.title, listed.counts, prompts.total, listed.more_values, 0, prompts.exact)
