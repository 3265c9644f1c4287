"""Choose the records that a report shows: spread over shards, views and patients, and deterministic.

At most ``MAX_SHARDS`` shards are read, however large the build.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from dentgen.documents.index import DatasetIndex, ShardEntry
from dentgen.shards.reader import Members, read_shard, tar_samples

MAX_RECORDS, MAX_SHARDS, MAX_VARIANTS, MAX_LOOKED = 24, 8, 8, 64


@dataclass(frozen=True, slots=True)
class ChosenSample:
    """A sample with its members by extension; ``name`` identifies it among the variants of its record."""

    key: str
    name: str
    prompt: str
    members: Members


@dataclass(frozen=True, slots=True)
class ChosenRecord:
    """A condition record with at least one of the samples generated from it; ``attributes`` include its split."""

    key: str
    view: str
    group: str
    samples: tuple[ChosenSample, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)


def choose_records(
    out: str, index: DatasetIndex, look: Callable[[str, Members], None] | None = None
) -> list[ChosenRecord]:
    """Choose records to show, in the order of the shards.

    Args:
        out: The build.
        index: Its index.
        look: Called with shard and members of up to ``MAX_LOOKED`` samples of every shard that is read.

    Returns:
        At most ``MAX_RECORDS`` records.

    Raises:
        StorageError: If a shard is missing.
        BuildError: If a shard is damaged.
    """
    seen: Counter[str] = Counter()
    chosen: list[ChosenRecord] = []
    shards = _spread(index.shards)
    for number, shard in enumerate(shards, 1):
        records = _records(_looked_at(read_shard(out, shard), partial(look, shard.name) if look else None))
        chosen += _varied(records, MAX_RECORDS * number // len(shards) - len(chosen), seen)
    return chosen


def _spread(shards: Sequence[ShardEntry]) -> list[ShardEntry]:
    """At most ``MAX_SHARDS``, in even steps from the first to the last."""
    if len(shards) <= MAX_SHARDS:
        return list(shards)
    return [shards[n * (len(shards) - 1) // (MAX_SHARDS - 1)] for n in range(MAX_SHARDS)]


def _looked_at(data: bytes, look: Callable[[Members], None] | None) -> Iterator[tuple[str, Members]]:
    for number, (key, members) in enumerate(tar_samples(data)):
        if look is not None and number < MAX_LOOKED:
            look(members)
        yield key, members


def _records(members_by_key: Iterable[tuple[str, Members]]) -> list[ChosenRecord]:
    """Records of a shard, in order. Older builds wrote fewer metadata fields."""
    found: dict[str, tuple[str, Mapping[str, str], list[ChosenSample]]] = {}
    for key, members in members_by_key:
        metadata = json.loads(members["json"])
        source_key = str(metadata.get("source_key", key))
        attributes = {**metadata.get("attributes", {}), "split": metadata.get("split", "")}
        _, _, samples = found.setdefault(source_key, (str(metadata.get("group", "")), attributes, []))
        if len(samples) < MAX_VARIANTS:
            name = f"variant {metadata.get('variant', len(samples))}"
            samples.append(ChosenSample(key, name, str(metadata.get("prompt", "")), members))
    return [
        ChosenRecord(key, str(attributes.get("view", "")), group, tuple(samples), attributes)
        for key, (group, attributes, samples) in found.items()
    ]


def _varied(records: Sequence[ChosenRecord], wanted: int, seen: Counter[str]) -> list[ChosenRecord]:
    """Up to ``wanted`` records, preferring views, then patients, that ``seen`` counts least; updates ``seen``."""
    left = dict(enumerate(records))
    taken: list[int] = []
    while left and len(taken) < wanted:
        best = min(left, key=lambda n: (seen[f"view {left[n].view}"], seen[f"group {left[n].group}"], n))
        record = left.pop(best)
        seen.update((f"view {record.view}", f"group {record.group}"))
        taken.append(best)
    return [records[n] for n in sorted(taken)]
