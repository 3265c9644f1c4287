"""A check sheet: samples of a build, drawn by a seed, for people to look at who do not know what the gate said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.errors import BuildError
from dentgen.seeding import derive_seed
from dentgen.shards import layout
from dentgen.shards.index_reader import finished_index, index_sha256, read_index
from dentgen.shards.sample_table import column_names, stream_samples
from dentgen.shards.seals import version_numbers

#: What the gate said of a picture; "none" without a gate.
GateSaid = Literal["passed", "failed", "none"]
#: Pictures of a sheet, unless somebody says otherwise: an hour's work at 18 s a picture.
COUNT: Final = 200
#: Browsers hold whole numbers up to this one exactly.
MAX_SEED: Final = 2**53 - 1


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
        written: Written samples of the version by what the gate said of them.
    """

    index_sha256: str
    count: int
    seed: int
    entries: tuple[SheetEntry, ...]
    written: dict[GateSaid, int]


def draw_sheet(out: str, count: int = COUNT, seed: int = 0, index: str = "") -> CheckSheet:
    """Draw the pictures of a sheet: half of them from those that failed the gate, as far as the build kept any.

    A gate with ``on_failure: reject`` keeps no picture that failed. What a key draws depends on it and the seed alone.
    Memory does not grow with the dataset.

    Args:
        out: A finished build.
        count: Pictures; all of a build that has fewer.
        seed: Seed of the draw, up to ``MAX_SEED``.
        index: sha256 of the index of the version that is drawn from; "" for the latest.

    Raises:
        BuildError: If the build is not finished, has no version with this index, or no written sample.
        StorageError: If its table of samples cannot be read.
    """
    digest, listed = _version(out, index)
    drawn = {True: _Drawn(count, seed), False: _Drawn(count, seed)}
    written: dict[GateSaid, int] = {"passed": 0, "failed": 0, "none": 0}
    for entry in _entries(out, frozenset(shard.name for shard in listed.shards)):
        written[entry.gate] += 1
        drawn[entry.gate == "failed"].add(entry)
    failed, others = drawn[True].entries(), drawn[False].entries()
    if not (failed or others):
        raise BuildError(file=storage.without_secrets(out), found="no written sample", expected="pictures to look at")
    wanted = min(len(failed), max(count // 2, count - len(others)))
    chosen = sorted([*failed[:wanted], *others[: count - wanted]], key=lambda entry: _place(seed, entry))
    return CheckSheet(digest, count, seed, tuple(chosen), written)


@dataclass(slots=True)
class _Drawn:
    """The first ``count`` entries by their draws, of any number that come."""

    count: int
    seed: int
    kept: list[SheetEntry] = field(default_factory=list)

    def add(self, entry: SheetEntry) -> None:
        self.kept.append(entry)
        if len(self.kept) >= 4 * self.count:
            self.kept = self.entries()

    def entries(self) -> list[SheetEntry]:
        return sorted(self.kept, key=lambda entry: _place(self.seed, entry))[: self.count]


def _place(seed: int, entry: SheetEntry) -> int:
    return derive_seed(seed, "check sheet", entry.key)


def _version(out: str, wanted: str) -> tuple[str, DatasetIndex]:
    """sha256 and index of the latest version, or of the one whose index has this sha256."""
    latest = finished_index(out)
    digest = index_sha256(out)
    if wanted in ("", digest):
        return digest, latest
    for number in version_numbers(out):
        name = layout.versioned(number, layout.INDEX)
        if storage.exists(storage.join(out, name)) and index_sha256(out, name) == wanted:
            return wanted, read_index(out, name)
    raise BuildError(
        file=storage.without_secrets(out), key="index_sha256", found=f"no version with the index {wanted}",
        expected=f"{digest}, the latest version {latest.version}, or an earlier one",
    )  # fmt: skip


def _entries(out: str, shards: frozenset[str]) -> Iterator[SheetEntry]:
    """Written samples in these shards; a table of an earlier dentgen knows of no gate."""
    has_gate = "gate_failed" in column_names(out)
    for batch in stream_samples(out, ["key", "shard", *(["gate_failed"] if has_gate else [])]):
        keys, names = batch.written["key"].to_pylist(), batch.written["shard"].to_pylist()
        said = batch.written["gate_failed"].to_pylist() if has_gate else [None] * len(keys)
        for key, shard, failed in zip(keys, names, said, strict=True):
            if shard in shards:
                yield SheetEntry(key, shard, "none" if failed is None else "failed" if failed else "passed")
