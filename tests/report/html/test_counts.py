"""Counts that the report shows, compared with a plain loop over the samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dentgen.documents.samples import SampleStatus
from dentgen.errors import StorageError
from dentgen.report.html.counts import Summary, read_summary
from dentgen.report.tally import Distribution
from tests.report.fake_builds import fake_build, rejected, with_spec, written


def labelled(distribution: Distribution | None) -> dict[str, int]:
    assert distribution is not None
    return {count.label: count.samples for count in distribution.counts}


def summary_of(out: Path, *samples: SampleStatus) -> Summary:
    return read_summary(str(out), fake_build(out, [list(samples)]))


def test_counts_equal_those_of_a_plain_loop(tmp_path: Path) -> None:
    samples = [sample for n in range(7) for sample in written(n, teeth=tuple(range(11, 12 + n)), light_level=10 * n)]
    summary = summary_of(tmp_path, *samples, *rejected(8, "a.tar: found 1, expected 2"))
    view, split = summary.distributions
    assert (view.title, split.title) == ("View", "Split")
    assert labelled(view) == Counter(sample.attributes["view"] for sample in samples)
    assert labelled(split) == Counter(sample.split for sample in samples)
    assert summary.splits == ("train", "validation"), "the largest first"
    bins = Counter(sample.light_level // 16 for sample in samples if sample.light_level is not None)
    assert labelled(summary.light) == {f"{16 * n}-{16 * n + 15}": bins[n] for n in range(4)}
    shown = {tooth.fdi: tooth.samples for row in summary.permanent for tooth in row}
    assert shown == {fdi: sum(fdi in sample.teeth for sample in samples) for fdi in shown}
    assert len(shown) == 32
    assert summary.deciduous == ()
    assert labelled(summary.prompts) == Counter(sample.prompt for sample in samples)
    assert labelled(summary.phrases)["a photo of teeth"] == 14
    assert [(group.reason, group.samples) for group in summary.rejects] == [("found N, expected 2", 2)]
    assert (summary.index.written, summary.index.rejected, summary.size) == (
        14, 2, sum(path.stat().st_size for path in (tmp_path / "shards").iterdir()),
    )  # fmt: skip


def test_unknown_values_are_left_out_or_named(tmp_path: Path) -> None:
    summary = summary_of(
        tmp_path,
        *written(0, attributes={}, split="", prompt="", light_level=None, teeth=()),
        *written(1, attributes={}, split="", prompt="", light_level=250, teeth=(85,)),
    )
    assert summary.distributions == ()
    assert (summary.prompts, summary.phrases, summary.splits) == (None, None, ())
    assert labelled(summary.light) == {"240-255": 2, "no lighting map": 2}
    assert summary.permanent == ()
    assert summary.deciduous[1][0].fdi == 85
    assert [tooth.fdi for tooth in summary.deciduous[1] if tooth.samples] == [85]


@pytest.mark.parametrize(("max_rejected", "too_many"), [(0.5, False), (0.49, True)])
def test_tolerated_share_of_rejected_samples(tmp_path: Path, max_rejected: float, too_many: bool) -> None:
    plan = fake_build(tmp_path, [[*written(0), *rejected(1, "no map")]])
    plan = with_spec(plan, quality={"max_rejected": max_rejected})
    assert read_summary(str(tmp_path), plan).too_many_rejected == too_many


def test_build_that_is_not_sealed_has_no_summary(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    (tmp_path / "index.json").unlink()
    with pytest.raises(StorageError):
        read_summary(str(tmp_path), plan)
