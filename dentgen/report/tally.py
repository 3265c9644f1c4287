"""Count texts in bounded memory: the most frequent ones, and how many distinct ones there are."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from dentgen.errors import StorageError
from dentgen.shards.sample_table import distinct_pairs, value_counts

#: Distinct texts that a tally counts exactly; every one of ten million samples may have a prompt of its own.
MAX_TEXTS: Final = 200_000
_CACHE_KIB: Final = 16_384


@dataclass(frozen=True, slots=True)
class Count:
    """Number of samples with the value that the label names."""

    label: str
    samples: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """The most frequent values of an attribute.

    Attributes:
        title: What is counted.
        counts: Values with their samples, in the order to show.
        total: Samples counted.
        more_values: Values that are not listed.
        more_samples: Samples with one of those.
        exact: False if there were too many values to count; counts are then lower bounds.
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
    """Samples per text. Above ``MAX_TEXTS`` texts the rarer half is dropped, and counts become lower bounds."""

    def __init__(self) -> None:
        """Start at zero."""
        self.counts: Counter[str] = Counter()
        self.total = 0
        self.exact = True

    def add(self, column: Any) -> None:
        """Count an Arrow array of strings; null counts as empty."""
        for text, samples in value_counts(column).items():
            self.counts[text or ""] += samples
        self.total += len(column)
        if len(self.counts) > MAX_TEXTS:
            self.counts = Counter(dict(self.counts.most_common(MAX_TEXTS // 2)))
            self.exact = False

    @property
    def distinct(self) -> int:
        """Number of distinct texts, a lower bound unless ``exact``."""
        return len(self.counts) if self.exact else max(len(self.counts), MAX_TEXTS)

    @property
    def is_blank(self) -> bool:
        """Whether no text was counted but the empty one."""
        return not any(self.counts.keys())

    def distribution(self, title: str, limit: int, empty: str = "not named") -> Distribution:
        """The most frequent texts, ties in alphabetical order.

        Args:
            title: What was counted.
            limit: Largest number of texts to list.
            empty: Label of the empty text.
        """
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        listed = tuple(Count(text or empty, samples) for text, samples in ranked[:limit])
        more = self.total - sum(count.samples for count in listed)
        return Distribution(title, listed, self.total, max(0, len(ranked) - limit), more, self.exact)


class DistinctValues:
    """Distinct values and the splits they occur in, counted exactly.

    They are kept in a temporary SQLite database, which moves to a file where it outgrows its cache: two of several
    million patients in the wrong split must still be found.
    """

    def __init__(self) -> None:
        """Open an empty database; the file that it may grow into has no name and vanishes with it."""
        self._database = sqlite3.connect("")
        self._database.executescript(
            f"PRAGMA cache_size = -{_CACHE_KIB}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE pairs (value TEXT, split TEXT, PRIMARY KEY (value, split)) WITHOUT ROWID"
        )

    def add(self, values: Any, splits: Any) -> None:
        """Add an Arrow array of strings with the split of each; null counts as empty.

        Raises:
            StorageError: If the temporary file cannot be written.
        """
        try:
            self._database.executemany("INSERT OR IGNORE INTO pairs VALUES (?, ?)", distinct_pairs(values, splits))
        except sqlite3.Error as error:
            raise StorageError(
                "cannot count distinct values in a temporary file",
                found=str(error),
                advice="set TMPDIR to a folder with free space",
            ) from error

    @property
    def distinct(self) -> int:
        """Number of distinct values."""
        return self._number("SELECT count(DISTINCT value) FROM pairs")

    @property
    def divided(self) -> int:
        """Number of values that occur in more than one split."""
        return self._number("SELECT count(*) FROM (SELECT value FROM pairs GROUP BY value HAVING count(*) > 1)")

    def by_split(self) -> dict[str, int]:
        """Number of distinct values per split."""
        return dict(self._database.execute("SELECT split, count(*) FROM pairs GROUP BY split"))

    def close(self) -> None:
        """Delete the database."""
        self._database.close()

    def _number(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])
