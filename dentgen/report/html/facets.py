"""Attributes against each other: how many samples have each combination of values, small enough to embed in a page."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dentgen.records import ATTRIBUTES
from dentgen.report.tally import Tally
from dentgen.shards.sample_table import stream_samples

#: Columns of the table of samples that may be facets, in the order to show.
FACETS: Final = (*ATTRIBUTES, "split")
_MAX_FACETS: Final = 8
_MAX_VALUES: Final = 12
#: Combinations that a page holds: the most frequent ones.
MAX_COMBINATIONS: Final = 3000
#: Combinations that are counted at all.
_MAX_COUNTED: Final = 50_000
_NOT_NAMED: Final = "not named"


@dataclass(frozen=True, slots=True)
class Facets:
    """Samples per combination of attribute values.

    Attributes:
        names: Attributes, each with two or more values.
        values: Values of each attribute, the most frequent first; "not named" for none.
        rows: Positions of the values in ``values``, and the number of samples.
        covered: Samples in ``rows``.
    """

    names: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()
    covered: int = 0

    @property
    def titles(self) -> list[str]:
        """Names to show."""
        return [name.replace("_", " ").capitalize() for name in self.names]

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {"values": self.values, "rows": self.rows}

    def positions(self, attributes: Mapping[str, str]) -> list[int | None]:
        """Positions of a record's values; None for a value that is not among them."""
        found = [attributes.get(name) or _NOT_NAMED for name in self.names]
        return [known.index(value) if value in known else None for value, known in zip(found, self.values, strict=True)]

    def samples_of(self, column: int, value: int) -> int:
        """Samples with one value of an attribute."""
        return sum(row[-1] for row in self.rows if row[column] == value)

    def crossed(self, down: int, across: int) -> list[list[int]]:
        """Samples by the values of two attributes."""
        table = [[0] * len(self.values[across]) for _ in self.values[down]]
        for row in self.rows:
            table[row[down]][row[across]] += row[-1]
        return table


def read_facets(out: str, tallies: Mapping[str, Tally]) -> Facets:
    """Count combinations over the written samples of a build.

    Args:
        out: The build.
        tallies: Samples per value of each of ``FACETS``.

    Returns:
        Facets of at most ``MAX_COMBINATIONS`` rows; empty if no attribute has from two to a dozen values.

    Raises:
        StorageError: If the table of samples cannot be read.
    """
    names = [name for name in FACETS if tallies[name].exact and 2 <= len(tallies[name].counts) <= _MAX_VALUES]
    names = _bounded(names[:_MAX_FACETS], tallies)
    if not names:
        return Facets()
    values = tuple(
        tuple(
            value or _NOT_NAMED
            for value, _ in sorted(tallies[name].counts.items(), key=lambda item: (-item[1], item[0]))
        )
        for name in names
    )
    counts: Counter[tuple[str, ...]] = Counter()
    for batch in stream_samples(out, names):
        counts.update(_combinations(batch.written, names))
    frequent = heapq.nsmallest(MAX_COMBINATIONS, counts.items(), key=lambda item: (-item[1], item[0]))
    rows = tuple(
        (*(known.index(value or _NOT_NAMED) for known, value in zip(values, combination, strict=True)), samples)
        for combination, samples in frequent
    )
    return Facets(tuple(names), values, rows, sum(row[-1] for row in rows))


def _bounded(names: Sequence[str], tallies: Mapping[str, Tally]) -> list[str]:
    """The first attributes whose values have at most ``_MAX_COUNTED`` combinations, so that counting them is cheap."""
    kept, combinations = list[str](), 1
    for name in names:
        if combinations * len(tallies[name].counts) <= _MAX_COUNTED:
            kept.append(name)
            combinations *= len(tallies[name].counts)
    return kept


def _combinations(written: pa.RecordBatch, names: Sequence[str]) -> dict[tuple[str, ...], int]:
    columns = {name: pc.fill_null(written[name], "") for name in names}
    grouped = pa.table({**columns, "n": pa.nulls(written.num_rows, pa.int8())})
    counted = grouped.group_by(list(names), use_threads=False).aggregate([("n", "count", pc.CountOptions("all"))])
    keys = zip(*(counted[name].to_pylist() for name in names), strict=True)
    return dict(zip(keys, counted["n_count"].to_pylist(), strict=True))
