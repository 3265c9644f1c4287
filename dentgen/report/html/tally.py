"""Counting texts in bounded memory, an Arrow column at a time. Refuses to know what the texts mean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import pyarrow.compute as pc

#: Different texts that are counted exactly: ten million samples may have as many prompts.
MOST_TEXTS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Count:
    """How many samples have what the label says."""

    label: str
    samples: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """The most frequent values of something.

    Attributes:
        title: What is counted.
        counts: Values with their samples, in the order to show.
        total: Samples that were counted.
        more_values: Values that are not listed.
        more_samples: Their samples.
        exact: False if there were too many values: then every count is a lower bound.
    """

    title: str
    counts: tuple[Count, ...]
    total: int
    more_values: int = 0
    more_samples: int = 0
    exact: bool = True

    @property
    def largest(self) -> int:
        """Samples of the most frequent value, at least 1."""
        return max((count.samples for count in self.counts), default=0) or 1


class Tally:
    """Counts of texts. Beyond ``MOST_TEXTS`` the rare half is forgotten, so that counts become lower bounds."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counts: Counter[str] = Counter()
        self.total = 0
        self.exact = True

    def add(self, column: Any) -> None:
        """Count an Arrow array of strings; null counts as empty."""
        for text, samples in value_counts(column).items():
            self.counts[text or ""] += samples
        self.total += len(column)
        if len(self.counts) > MOST_TEXTS:
            self.counts = Counter(dict(self.counts.most_common(MOST_TEXTS // 2)))
            self.exact = False

    @property
    def says_nothing(self) -> bool:
        """Whether every text was empty."""
        return not any(self.counts.keys())

    def distribution(self, title: str, longest: int, empty: str = "not named") -> Distribution:
        """The most frequent texts, ties in alphabetical order.

        Args:
            title: What was counted.
            longest: How many texts to list.
            empty: What to call the empty text.
        """
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        listed = tuple(Count(text or empty, samples) for text, samples in ranked[:longest])
        more = self.total - sum(count.samples for count in listed)
        return Distribution(title, listed, self.total, max(0, len(ranked) - longest), more, self.exact)


def value_counts(column: Any) -> dict[Any, int]:
    """Distinct values of an Arrow array with their number of rows."""
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}
