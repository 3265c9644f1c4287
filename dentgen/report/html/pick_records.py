"""Which records a report shows: spread over shards, views and patients, and the same ones every time.

Reads a few shards whatever the size of the build. Refuses to know how pictures are decoded and shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dentgen.documents import DatasetIndex, ShardEntry
from dentgen.shards.reader import Members, read_shard, tar_samples

MOST_RECORDS, MOST_SHARDS, MOST_VARIANTS = 24, 8, 8


@dataclass(frozen=True, slots=True)
class ChosenSample:
    """A sample with its members by extension; ``name`` tells it from other variants of its record."""

    key: str
    name: str
    prompt: str
    members: Members


@dataclass(frozen=True, slots=True)
class ChosenRecord:
    """A condition record with some of the samples made from it, at least one."""

    key: str
    view: str
    group: str
    samples: tuple[ChosenSample, ...]


def choose_records(out: str, index: DatasetIndex) -> list[ChosenRecord]:
    """Records to show, in the order of the shards.

    Args:
        out: The build.
        index: Its index.

    Raises:
        StorageError: If a shard is gone.
        BuildError: If a shard is damaged.
    """
    seen: Counter[str] = Counter()
    chosen: list[ChosenRecord] = []
    shards = _spread(index.shards)
    for number, shard in enumerate(shards, 1):
        records = _records(read_shard(out, shard))
        chosen += _varied(records, MOST_RECORDS * number // len(shards) - len(chosen), seen)
    return chosen


def _spread(shards: Sequence[ShardEntry]) -> list[ShardEntry]:
    """At most ``MOST_SHARDS``, from the first to the last in even steps."""
    if len(shards) <= MOST_SHARDS:
        return list(shards)
    return [shards[n * (len(shards) - 1) // (MOST_SHARDS - 1)] for n in range(MOST_SHARDS)]


def _records(data: bytes) -> list[ChosenRecord]:
    """Records of a shard, in order. Fields may be missing: an older build said less."""
    found: dict[str, tuple[str, str, list[ChosenSample]]] = {}
    for key, members in tar_samples(data):
        metadata = json.loads(members["json"])
        source_key = str(metadata.get("source_key", key))
        view = str(metadata.get("attributes", {}).get("view", ""))
        _, _, samples = found.setdefault(source_key, (view, str(metadata.get("group", "")), []))
        if len(samples) < MOST_VARIANTS:
            name = f"variant {metadata.get('variant', len(samples))}"
            samples.append(ChosenSample(key, name, str(metadata.get("prompt", "")), members))
    return [ChosenRecord(key, view, group, tuple(samples)) for key, (view, group, samples) in found.items()]


def _varied(records: Sequence[ChosenRecord], wanted: int, seen: Counter[str]) -> list[ChosenRecord]:
    """Up to so many records, each time one whose view and then whose patient was seen least; ``seen`` goes on."""
    left = dict(enumerate(records))
    taken: list[int] = []
    while left and len(taken) < wanted:
        best = min(left, key=lambda n: (seen[f"view {left[n].view}"], seen[f"group {left[n].group}"], n))
        record = left.pop(best)
        seen.update((f"view {record.view}", f"group {record.group}"))
        taken.append(best)
    return [records[n] for n in sorted(taken)]
