"""A check sheet: samples of a build, drawn by a seed, for people to look at who do not know what the gate said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from dentgen.curation.samples import written_samples
from dentgen.seeding import derive_seed
from dentgen.shards.index import index_sha256

#: What the gate said of a picture; "none" without a gate.
GateSaid = Literal["passed", "failed", "none"]
#: Pictures of a sheet, unless somebody says otherwise: an hour's work at 18 s a picture.
COUNT: Final = 200


@dataclass(frozen=True, slots=True)
class SheetEntry:
    """A picture to look at.

    Attributes:
        key: Key of its sample.
        shard: Name of its shard.
        gate: What the gate said of it, which whoever looks at it must not know.
    """

    key: str
    shard: str
    gate: GateSaid


@dataclass(frozen=True, slots=True)
class CheckSheet:
    """What is looked at; the same for one index, count and seed.

    Attributes:
        index_sha256: sha256 of the version's index.
        count: Pictures that were asked for.
        seed: Seed of the draw.
        entries: The pictures, in the order of the sheet.
        written: Written samples of the build by what the gate said of them.
    """

    index_sha256: str
    count: int
    seed: int
    entries: tuple[SheetEntry, ...]
    written: dict[GateSaid, int]


def draw_sheet(out: str, count: int = COUNT, seed: int = 0) -> CheckSheet:
    """Draw the pictures of a sheet: half of them from those that failed the gate, as far as the build kept any.

    A gate with ``on_failure: reject`` keeps no picture that failed. What a key draws depends on it and the seed alone.

    Args:
        out: A finished build.
        count: Pictures; all of a build that has fewer.
        seed: Seed of the draw.

    Raises:
        BuildError: If the build is not finished.
        StorageError: If its table of samples cannot be read.
    """
    strata: dict[GateSaid, list[SheetEntry]] = {"passed": [], "failed": [], "none": []}
    for entry in _entries(out):
        strata[entry.gate].append(entry)

    def place(entry: SheetEntry) -> int:
        return derive_seed(seed, "check sheet", entry.key)

    failed = sorted(strata["failed"], key=place)
    others = sorted([*strata["passed"], *strata["none"]], key=place)
    wanted = min(len(failed), max(count // 2, count - len(others)))
    chosen = sorted([*failed[:wanted], *others[: count - wanted]], key=place)
    numbers = {gate: len(entries) for gate, entries in strata.items()}
    return CheckSheet(index_sha256(out), count, seed, tuple(chosen), numbers)


def _entries(out: str) -> Iterator[SheetEntry]:
    table = written_samples(out, ["gate_failed"])
    columns = (table[name].to_pylist() for name in ("key", "shard", "gate_failed"))
    for key, shard, failed in zip(*columns, strict=True):
        yield SheetEntry(key, shard, "none" if failed is None else "failed" if failed else "passed")
