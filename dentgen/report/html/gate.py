"""What the quality gate did in a build: figures against their limits, and the pictures nearest to them."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dentgen.documents.gate import FigureLimit
from dentgen.documents.index import DatasetIndex
from dentgen.records import FIGURES, FigureName
from dentgen.report.html.pictures import Picture, array_uri, sample_uri
from dentgen.report.tally import Count, Distribution
from dentgen.shards.plan import Plan
from dentgen.shards.reader import Members, read_shard, tar_samples
from dentgen.shards.sample_table import SampleBatch, stream_samples

_BINS: Final = 16
_SHOWN: Final = 12
#: Shards that are read for pictures, at most.
_MAX_SHARDS: Final = 8
_PICTURE_BYTES: Final = 30_000
_COLUMNS: Final = ("key", "shard", "prompt", "gate_failed", "retries", *(f"gate_{name}" for name in FIGURES))


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure over all pictures that the gate measured.

    Attributes:
        name: Its name.
        limit: Its limit; None where it does not count.
        failed: Pictures outside.
        median: Of those that pass the gate.
        histogram: All pictures by value, from the smallest to the largest.
    """

    name: FigureName
    limit: FigureLimit | None
    failed: int
    median: float
    histogram: Distribution


@dataclass(frozen=True, slots=True)
class NearPicture:
    """A picture near the limits.

    Attributes:
        key: Sample key.
        margin: Distance to the nearest limit, in interquartile ranges of its figure; below 0 outside.
        figure: That figure.
        value: Its value.
        shard: Shard that holds the picture, "" if none does.
        prompt: Its prompt.
        picture: The picture, None if it was not read.
    """

    key: str
    margin: float
    figure: str
    value: float
    shard: str
    prompt: str
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class GateSummary:
    """What the gate did.

    Attributes:
        measured, failed, retried: Pictures.
        lost: Share of the reference pictures that the limits lose.
        figures: Figures that were measured.
        worst_accepted, best_rejected: Pictures nearest to their limits, from either side.
    """

    measured: int
    failed: int
    retried: int
    lost: float
    figures: tuple[FigureRow, ...]
    worst_accepted: tuple[NearPicture, ...]
    best_rejected: tuple[NearPicture, ...]


def read_gate(
    out: str, plan: Plan, index: DatasetIndex, rejected: Mapping[str, NDArray[np.uint8]] | None = None
) -> GateSummary | None:  # fmt: skip
    """Summarise the gate of a sealed build; the table of samples is read twice, in batches.

    Args:
        out: The build.
        plan: Its plan.
        index: Its index.
        rejected: Pictures (H, W, 3) by key of samples that no shard has, because the gate rejected them.

    Returns:
        The summary; None if the build has no gate, or the gate measured nothing.

    Raises:
        StorageError: If table or shards cannot be read.
    """
    if plan.gate is None:
        return None
    scale = _Scale()
    for batch in stream_samples(out, _COLUMNS):
        scale.add(batch)
    if not scale.measured:
        return None
    near = _Nearest(plan.gate.limits, scale.spreads())
    histograms = {name: _Histogram(*scale.ends(name)) for name in scale.known()}
    for batch in stream_samples(out, _COLUMNS):
        near.add(batch)
        for name, histogram in histograms.items():
            for part in (batch.written, batch.rejected):
                histogram.add(_values(part, name))
    rows = tuple(
        FigureRow(
            name, plan.gate.limits.get(name), scale.failed[name], scale.median(name), histogram.distribution(name)
        )
        for name, histogram in histograms.items()
    )
    best = [_remade(one, rejected or {}) for one in _with_pictures(out, index, near.rejected())]
    worst = _with_pictures(out, index, near.accepted())
    return GateSummary(scale.measured, scale.failing, scale.retried, plan.gate.lost, rows, tuple(worst), tuple(best))


def _values(part: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.asarray(part[f"gate_{name}"].to_numpy(zero_copy_only=False), np.float64)
    return values[~np.isnan(values)]


@dataclass(slots=True)
class _Scale:
    """Ends and quartiles of every figure; those of a sample of the pictures, which does not grow."""

    measured: int = 0
    failing: int = 0
    retried: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    kept: dict[str, list[float]] = field(default_factory=dict)

    def add(self, batch: SampleBatch) -> None:
        for part in (batch.written, batch.rejected):
            names = part["gate_failed"].to_pylist()
            self.measured += sum(failed is not None for failed in names)
            self.failing += sum(bool(failed) for failed in names)
            self.failed.update(name for failed in names for name in failed or ())
            self.retried += sum(bool(count) for count in part["retries"].to_pylist())
            for name in FIGURES:
                values = _values(part, name)
                if len(values):
                    self.low[name] = min(self.low.get(name, math.inf), float(values.min()))
                    self.high[name] = max(self.high.get(name, -math.inf), float(values.max()))
                    kept = self.kept.setdefault(name, [])
                    kept += values[: max(0, 100_000 - len(kept))].tolist()

    def known(self) -> list[FigureName]:
        return [name for name in FIGURES if name in self.kept]

    def ends(self, name: str) -> tuple[float, float]:
        return self.low[name], self.high[name]

    def median(self, name: str) -> float:
        return float(np.median(self.kept[name]))

    def spreads(self) -> dict[str, float]:
        quartiles = {name: np.quantile(values, (0.25, 0.75)) for name, values in self.kept.items()}
        return {name: max(float(upper - lower), 1e-6) for name, (lower, upper) in quartiles.items()}


@dataclass(slots=True)
class _Histogram:
    low: float
    high: float
    counts: list[int] = field(default_factory=lambda: [0] * _BINS)

    def add(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        found, _ = np.histogram(values, _BINS, (self.low, self.high if self.high > self.low else self.low + 1))
        self.counts = [a + int(b) for a, b in zip(self.counts, found, strict=True)]

    def distribution(self, name: str) -> Distribution:
        edges = np.linspace(self.low, self.high, _BINS + 1)
        labels = [f"{edges[i]:.3g} to {edges[i + 1]:.3g}" for i in range(_BINS)]
        counts = tuple(Count(label, count) for label, count in zip(labels, self.counts, strict=True))
        return Distribution(name, counts, max(1, sum(self.counts)))


class _Nearest:
    """The accepted pictures that pass most narrowly, and the rejected ones that fail most narrowly."""

    def __init__(self, limits: Mapping[FigureName, FigureLimit], spreads: Mapping[str, float]) -> None:
        self._limits, self._spreads = limits, spreads
        self._kept: dict[bool, list[tuple[float, str, NearPicture]]] = {True: [], False: []}

    def add(self, batch: SampleBatch) -> None:
        for part in (batch.written, batch.rejected):
            for row in part.to_pylist():
                if row["gate_failed"] is not None:
                    self._add(row)

    def _add(self, row: Mapping[str, Any]) -> None:
        margins = [
            (_margin(float(row[f"gate_{name}"]), limit) / self._spreads[name], name)
            for name, limit in self._limits.items()
            if row[f"gate_{name}"] is not None and name in self._spreads
        ]
        if not margins:
            return
        margin, name = min(margins)
        passed = not row["gate_failed"]
        near = NearPicture(
            row["key"], margin, name, float(row[f"gate_{name}"]), row["shard"] or "", row["prompt"] or ""
        )
        heap = self._kept[passed]
        heapq.heappush(heap, (-margin if passed else margin, row["key"], near))
        if len(heap) > _SHOWN:
            heapq.heappop(heap)

    def accepted(self) -> list[NearPicture]:
        return sorted((near for _, _, near in self._kept[True]), key=lambda near: (near.margin, near.key))

    def rejected(self) -> list[NearPicture]:
        return sorted((near for _, _, near in self._kept[False]), key=lambda near: (-near.margin, near.key))


def _margin(value: float, limit: FigureLimit) -> float:
    """Distance of a value to the nearest end of its limit, below 0 outside."""
    ends = [value - limit.least] if limit.least is not None else []
    ends += [limit.most - value] if limit.most is not None else []
    return min(ends)


def _with_pictures(out: str, index: DatasetIndex, found: Sequence[NearPicture]) -> list[NearPicture]:
    """The same with their pictures, of those in the first few shards that hold some."""
    names = list(dict.fromkeys(near.shard for near in found if near.shard))[:_MAX_SHARDS]
    shards = {shard.name: shard for shard in index.shards}
    members: dict[str, Members] = {}
    wanted = {near.key for near in found}
    for name in names:
        members |= {key: own for key, own in tar_samples(read_shard(out, shards[name])) if key in wanted}
    return [_with_picture(near, members.get(near.key)) for near in found]


def _with_picture(near: NearPicture, members: Members | None) -> NearPicture:
    return near if members is None else _shown(near, sample_uri(members, _PICTURE_BYTES))


def _remade(near: NearPicture, pictures: Mapping[str, NDArray[np.uint8]]) -> NearPicture:
    return near if near.key not in pictures else _shown(near, array_uri(pictures[near.key], _PICTURE_BYTES))


def _shown(near: NearPicture, uri: str) -> NearPicture:
    picture = Picture(f"{near.figure} {near.value:.3g}", near.key, near.prompt, uri, is_map=False)
    return replace(near, picture=picture)
