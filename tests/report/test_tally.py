"""Counting texts: exact while they are few, bounded while they are many, and exact about divided groups always."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from dentgen.errors import StorageError
from dentgen.report import tally
from dentgen.report.tally import DistinctValues, Distribution, Tally


def counted(*texts: str | None) -> Tally:
    counts = Tally()
    counts.add(pa.array(texts, pa.string()))
    return counts


def test_distribution_lists_the_most_frequent_texts() -> None:
    shown = counted("b", "a", "b", None, "a", "c", "c", "d").distribution("Letters", 2)
    assert [(count.label, count.samples) for count in shown.counts] == [("a", 2), ("b", 2)], "ties by name"
    assert (shown.total, shown.more_values, shown.more_samples) == (8, 3, 4)
    assert (shown.largest, shown.exact) == (2, True)
    assert Distribution("none", (), 0).largest == 1


def test_null_and_empty_text_are_the_same() -> None:
    assert counted(None, "", "a").distribution("Names", 5).counts[0].samples == 2
    assert counted(None, "").is_blank
    assert not counted(None, "a").is_blank


def test_memory_is_bounded_and_counts_become_lower_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MAX_TEXTS", 100)
    counts = Tally()
    for start in range(0, 1000, 50):
        counts.add(pa.array(["often"] * 20 + [f"once {n}" for n in range(start, start + 50)] + [None]))
    assert len(counts.counts) <= 100
    shown = counts.distribution("Prompts", 1)
    assert (shown.counts[0].label, shown.counts[0].samples, shown.total) == ("often", 400, 1420)
    assert not shown.exact
    assert counts.distinct == 100, "at least"


def test_distinct_values_equal_those_of_sets() -> None:
    rng = random.Random(0)
    pairs = [(f"patient {rng.randrange(50)}\0'", rng.choice(["train", "test", ""])) for _ in range(120)]
    values = DistinctValues()
    for start in range(0, 120, 40):
        part = pairs[start : start + 40]
        values.add(pa.array([value for value, _ in part]), pa.array([split or None for _, split in part]))
    groups = {value: {split for found, split in pairs if found == value} for value, _ in pairs}
    assert values.distinct == len(groups)
    assert values.divided == sum(len(splits) > 1 for splits in groups.values()) > 0
    by_split = {split: sum(split in splits for splits in groups.values()) for split in ("", "test", "train")}
    assert values.by_split() == by_split
    values.close()


def test_full_disk_is_a_storage_error() -> None:
    values = DistinctValues()
    values._database.execute("PRAGMA max_page_count = 8")
    with pytest.raises(StorageError) as caught:
        values.add(pa.array([f"{n:0100d}" for n in range(10_000)]), pa.array(["train"] * 10_000))
    assert "full" in caught.value.found
    assert "TMPDIR" in caught.value.advice
