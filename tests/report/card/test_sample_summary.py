"""Counts for the card, compared with a plain loop over the samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.report.card.sample_summary import SampleSummary, summarise
from tests.report.fake_builds import fake_build, rejected, written


def test_counts_equal_those_of_a_plain_loop(tmp_path: Path) -> None:
    units = [
        [*written(0), *written(1), *rejected(0, "no map")],
        [*written(2), *written(3, source_license="")],
        [*written(4, split="validation"), *written(9)],
    ]
    fake_build(tmp_path, units)
    summary = summarise(str(tmp_path))
    samples = [sample for unit in units for sample in unit if sample.status == "written"]
    groups = {(sample.group, sample.split) for sample in samples}
    assert summary.records == len({sample.source_key for sample in samples}) == 6
    assert summary.groups == len({group for group, _ in groups}) == 3
    assert summary.divided_groups == len(groups) - summary.groups == 2
    for split in summary.splits:
        assert split.samples == sum(sample.split == split.name for sample in samples)
        assert split.groups == sum(name == split.name for _, name in groups)
    assert summary.licenses == (("", 2), ("CC0-1.0", 10))
    prompts = sorted({sample.prompt for sample in samples})
    assert (summary.prompts, summary.prompts_exact, summary.some_prompts) == (3, True, tuple(prompts))
    assert summary.shard_splits == {
        "000000.tar": ("train", "validation"),
        "000001.tar": ("train",),
        "000002.tar": ("train", "validation"),
    }


def test_build_without_written_samples_counts_nothing(tmp_path: Path) -> None:
    fake_build(tmp_path, [rejected(0, "no map")])
    assert summarise(str(tmp_path)) == SampleSummary()


def test_build_without_a_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        summarise(str(tmp_path))
    assert "samples.parquet" in str(caught.value)
