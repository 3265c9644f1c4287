"""The counts that the report shows: the build's index, and statistics over its table of samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import pyarrow.compute as pc

from dentgen.documents.index import DatasetIndex
from dentgen.records import ATTRIBUTES
from dentgen.report.html.facets import Facets, read_facets
from dentgen.report.html.rejects import RejectGroup, RejectGroups
from dentgen.report.tally import Count, Distribution, Tally
from dentgen.shards.index_reader import read_index
from dentgen.shards.plan import Plan
from dentgen.shards.sample_table import SampleBatch, stream_samples, value_counts

_MAX_VALUES, _MAX_PROMPTS, _MAX_PHRASES = 12, 10, 15
_LEVELS_PER_BIN: Final = 16
_TEXTS: Final = (*ATTRIBUTES, "split", "prompt")
_COLUMNS: Final = ("reason", "teeth", "light_level", "findings", "findings_found", *_TEXTS)

#: Quadrants in the upper and lower row of a dental chart, seen from the dentist: the patient's right is on the left.
_PERMANENT: Final = ((1, 2), (4, 3))
_DECIDUOUS: Final = ((5, 6), (8, 7))


@dataclass(frozen=True, slots=True)
class Tooth:
    """An FDI number and the number of written samples that show the tooth."""

    fdi: int
    samples: int


@dataclass(frozen=True, slots=True)
class FindingCount:
    """A kind of finding: how often it was asked for in written samples, and how often the judge found it."""

    kind: str
    asked: int
    found: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a build.

    Attributes:
        index: The sealed index.
        size: Bytes of all shards.
        max_rejected: Largest share of rejected samples that the spec tolerates.
        distributions: Attributes and split of the written samples, without those that are empty in all of them.
        light: Histogram of the mean lighting level, None if no sample has one.
        permanent: Upper and lower row of the dental chart, empty if no sample shows a permanent tooth.
        deciduous: The same for milk teeth.
        prompts: The most frequent prompts, None if all are empty.
        phrases: The most frequent comma-separated parts of prompts, None if all are empty.
        rejects: Reasons of rejection with examples.
        splits: Names of the splits, the largest first, without the empty one.
        facets: Attributes against each other.
        findings: Findings that were asked for, by kind; empty without any.
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
    facets: Facets
    findings: tuple[FindingCount, ...]

    @property
    def too_many_rejected(self) -> bool:
        """Whether more samples were rejected than the spec tolerates."""
        return self.index.rejected > self.max_rejected * self.index.planned


class _Counts:
    """Counts that grow as the table of samples streams by."""

    def __init__(self) -> None:
        self.texts = {name: Tally() for name in _TEXTS}
        self.teeth: Counter[int] = Counter()
        self.levels: Counter[int | None] = Counter()
        self.asked: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.rejects = RejectGroups()

    def add(self, batch: SampleBatch) -> None:
        self.rejects.add(batch.rejected["reason"])
        for name, tally in self.texts.items():
            tally.add(batch.written[name])
        self.teeth.update(value_counts(pc.list_flatten(batch.written["teeth"])))
        self.levels.update(value_counts(batch.written["light_level"]))
        self.asked.update(value_counts(pc.list_flatten(batch.written["findings"])))
        self.found.update(value_counts(pc.list_flatten(batch.written["findings_found"])))


def read_summary(out: str, plan: Plan, index: DatasetIndex | None = None) -> Summary:
    """Summarise a sealed build.

    Memory does not grow with the number of samples.

    Args:
        out: The build.
        plan: Its plan.
        index: Index of the version that the table of samples is of; None: the latest.

    Raises:
        StorageError: If the build has not been sealed, or its table of samples cannot be read.
    """
    index, counts = read_index(out) if index is None else index, _Counts()
    for batch in stream_samples(out, _COLUMNS):
        counts.add(batch)
    split = counts.texts["split"]
    by_size = sorted(split.counts.items(), key=lambda item: (-item[1], item[0]))
    return Summary(
        index=index,
        size=sum(shard.bytes for shard in index.shards),
        max_rejected=plan.spec.quality.max_rejected,
        distributions=_distributions(counts),
        light=_light_histogram(counts.levels),
        permanent=_dental_rows(counts.teeth, _PERMANENT, 8),
        deciduous=_dental_rows(counts.teeth, _DECIDUOUS, 5),
        prompts=_prompts(counts.texts["prompt"]),
        phrases=_phrases(counts.texts["prompt"]),
        rejects=counts.rejects.ranked(),
        splits=tuple(name for name, _ in by_size if name),
        facets=read_facets(out, counts.texts),
        findings=tuple(FindingCount(kind, asked, counts.found[kind]) for kind, asked in sorted(counts.asked.items())),
    )


def _distributions(counts: _Counts) -> tuple[Distribution, ...]:
    return tuple(
        counts.texts[name].distribution(name.replace("_", " ").capitalize(), _MAX_VALUES)
        for name in (*ATTRIBUTES, "split")
        if not counts.texts[name].is_blank
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
    """Rows of teeth from the patient's right to the left, empty if no sample shows any of them."""
    rows = [
        [10 * right + n for n in range(per_quadrant, 0, -1)] + [10 * left + n for n in range(1, per_quadrant + 1)]
        for right, left in quadrants
    ]
    if not any(teeth[fdi] for row in rows for fdi in row):
        return ()
    return tuple(tuple(Tooth(fdi, teeth[fdi]) for fdi in row) for row in rows)


def _prompts(prompts: Tally) -> Distribution | None:
    return None if prompts.is_blank else prompts.distribution("Most frequent prompts", _MAX_PROMPTS, "(empty)")


def _phrases(prompts: Tally) -> Distribution | None:
    """Samples per part of their prompts, counted over the prompts that the tally kept."""
    phrases = Tally()
    for prompt, samples in prompts.counts.items():
        for phrase in {part.strip() for part in prompt.split(",")} - {""}:
            phrases.counts[phrase] += samples
    if not phrases.counts:
        return None
    listed = phrases.distribution("Parts of prompts", _MAX_PHRASES)
    return Distribution(listed.title, listed.counts, prompts.total, listed.more_values, 0, prompts.exact)
