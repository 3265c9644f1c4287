"""Compare two finished builds: specs, samples, counts and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from dentgen import storage
from dentgen.report.comparison.shares import (
    SharedDistribution,
    compare_distributions,
    compare_labels,
    compare_teeth,
)
from dentgen.report.html.balance import BalanceCounter, LabelBalance
from dentgen.report.html.counts import Summary, read_summary
from dentgen.report.html.pick_records import ChosenRecord, choose_records
from dentgen.report.tally import DistinctValues
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import sealed_plan
from dentgen.shards.reader import Members, read_shard, tar_samples
from dentgen.shards.sample_table import stream_samples
from dentgen.spec.yaml_file import spec_difference

#: Samples whose pictures are shown, and shards of the second build that are read for them.
MAX_PAIRS: Final = 12
_MAX_SHARDS: Final = 8


@dataclass(frozen=True, slots=True)
class Side:
    """One of the builds."""

    name: str
    out: str
    plan: Plan
    summary: Summary
    balance: LabelBalance


@dataclass(frozen=True, slots=True)
class PicturePair:
    """Members of a sample that both builds have."""

    key: str
    first: Members
    second: Members

    @property
    def is_equal(self) -> bool:
        """Whether all members are equal, byte for byte."""
        return self.first == self.second


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two builds side by side.

    Attributes:
        first, second: The builds.
        settings: Every deciding setting that differs, as ``key: first -> second``.
        common: Written samples whose key is in both.
        equal_shards: Shards with the same bytes in both.
        distributions: Attributes and light, those that differ most first.
        teeth: Samples that show each tooth, None without numbered teeth.
        labels: Class balance and sizes of teeth.
        pictures: Some of the common samples.
    """

    first: Side
    second: Side
    settings: tuple[str, ...]
    common: int
    equal_shards: int
    distributions: tuple[SharedDistribution, ...]
    teeth: SharedDistribution | None
    labels: tuple[SharedDistribution, ...]
    pictures: tuple[PicturePair, ...]


def compare_builds(first: str, second: str) -> Comparison:
    """Compare two finished builds.

    Memory does not grow with the number of samples.

    Args:
        first: Folder or URL of a build.
        second: Likewise.

    Raises:
        StorageError: If one has not been sealed, or cannot be read.
        BuildError: If a plan or a shard is damaged.
    """
    names = _names(first, second)
    one, records = _side(names[0], first)
    other, _ = _side(names[1], second)
    shards = [{shard.sha256 for shard in side.summary.index.shards} for side in (one, other)]
    return Comparison(
        first=one,
        second=other,
        settings=tuple(_settings(one.plan, other.plan)),
        common=_common(one, other),
        equal_shards=len(shards[0] & shards[1]),
        distributions=compare_distributions(one.summary, other.summary),
        teeth=compare_teeth(one.summary, other.summary),
        labels=compare_labels(one.balance, other.balance),
        pictures=tuple(_pictures(records, other)),
    )


def _names(first: str, second: str) -> tuple[str, str]:
    """Short names of the builds; with the folder above where these are equal."""
    places = [storage.without_secrets(place).rstrip("/") for place in (first, second)]
    short = [storage.name_of(place) or place for place in places]
    if short[0] == short[1]:
        short = ["/".join(place.split("/")[-2:]) for place in places]
    return short[0], short[1]


def _side(name: str, out: str) -> tuple[Side, list[ChosenRecord]]:
    plan, balance = sealed_plan(out), BalanceCounter()
    summary = read_summary(out, plan)
    records = choose_records(out, summary.index, balance.add)
    return Side(name, out, plan, summary, balance.balance()), records


def _settings(first: Plan, second: Plan) -> list[str]:
    one, other = (
        {**plan.spec.deciding(), "bundle_digest": plan.bundle_digest, "environment": plan.environment}
        for plan in (first, second)
    )
    return spec_difference(one, other)


def _common(first: Side, second: Side) -> int:
    with closing(DistinctValues()) as keys:
        for name, side in (("first", first), ("second", second)):
            for batch in stream_samples(side.out, ("key",)):
                keys.add(batch.written["key"], pa.array([name] * batch.written.num_rows, pa.string()))
        return keys.divided


def _pictures(records: Sequence[ChosenRecord], other: Side) -> list[PicturePair]:
    """The first variants of records of the first build that the second build has, too."""
    wanted = {record.samples[0].key: record.samples[0].members for record in records}
    found = _members_of(other, _places(other, list(wanted)))
    return [PicturePair(key, members, found[key]) for key, members in wanted.items() if key in found][:MAX_PAIRS]


def _places(side: Side, keys: Sequence[str]) -> dict[str, set[str]]:
    """Keys by the shard that holds them."""
    places: dict[str, set[str]] = {}
    for batch in stream_samples(side.out, ("key", "shard")):
        rows = batch.written.filter(pc.is_in(batch.written["key"], pa.array(keys, pa.string())))
        for key, shard in zip(rows["key"].to_pylist(), rows["shard"].to_pylist(), strict=True):
            places.setdefault(shard, set()).add(key)
    return places


def _members_of(side: Side, places: Mapping[str, set[str]]) -> dict[str, Members]:
    found: dict[str, Members] = {}
    for shard in [shard for shard in side.summary.index.shards if shard.name in places][:_MAX_SHARDS]:
        samples = tar_samples(read_shard(side.out, shard))
        found |= {key: members for key, members in samples if key in places[shard.name]}
    return found
