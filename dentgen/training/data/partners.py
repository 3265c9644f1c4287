"""Records of which another one shows the same mouth under another light, as a table of pairs says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dentgen.curation.pairs.tables import read_pairs
from dentgen.errors import ConditionError
from dentgen.records import ConditionRecord
from dentgen.spec.train_recipes import TwoFrameSpec
from dentgen.training.data.order import Chunk, Place, place_of
from dentgen.training.data.records import Records


class PartneredRecords:
    """The records that are references of a pair, in the order of the others; positions count these alone.

    Attributes:
        sizes: Records per shard.
        keys: Their keys.
    """

    def __init__(self, records: Records, pairs: Sequence[tuple[str, str]], place: str) -> None:
        """Look up every pair.

        Args:
            records: All records of the split.
            pairs: Keys of reference and target. Pairs whose records are of another split are left out.
            place: Where the pairs are from, for messages.

        Raises:
            ConditionError: If no pair is left, or only one of its records is there.
        """
        known = {key for keys in records.keys for key in keys}
        targets: dict[str, list[str]] = {}
        for reference, target in pairs:
            if (reference in known) != (target in known):
                lost = target if reference in known else reference
                raise ConditionError(place, f"{lost} of the pair {reference}, {target} is no record", "both records")
            if reference in known:
                targets.setdefault(reference, []).append(target)
        if not targets:
            raise ConditionError(place, f"no pair of the {len(known)} records", "at least one")
        self._records = records
        self._positions = [[i for i, key in enumerate(keys) if key in targets] for keys in records.keys]
        self.sizes = [len(positions) for positions in self._positions]
        self.keys = [
            [keys[i] for i in positions] for keys, positions in zip(records.keys, self._positions, strict=True)
        ]
        self._where = {key: (shard, i) for shard, keys in enumerate(self.keys) for i, key in enumerate(keys)}
        self._targets = targets

    def record(self, place: Place) -> ConditionRecord:
        """The record at a place, fitted to the image size, not mirrored."""
        position = self._positions[place.chunk.shard][place.position]
        return self._records.record(replace(place, chunk=self._chunk(place.chunk), position=position))

    def prefetch(self, chunks: Iterable[Chunk]) -> None:
        """Start to read chunks that will be needed next."""
        self._records.prefetch([self._chunk(chunk) for chunk in chunks])

    def partner(self, place: Place, draw: float) -> Place:
        """Place of one of the targets of a reference, mirrored as the reference is.

        Args:
            place: The reference.
            draw: Which one, 0..1.
        """
        targets = self._targets[self.keys[place.chunk.shard][place.position]]
        shard, position = self._where[targets[int(draw * len(targets))]]
        return place_of(self.sizes, shard, position, mirrored=place.mirrored, split=place.split)

    def _chunk(self, chunk: Chunk) -> Chunk:
        """The records that a chunk of these comes from."""
        positions = self._positions[chunk.shard]
        return Chunk(chunk.shard, positions[chunk.start], positions[chunk.stop - 1] + 1)


def open_partnered(spec: TwoFrameSpec, records: Records) -> PartneredRecords:
    """The records of a split that are in the spec's table of pairs.

    Raises:
        ConditionError: If the table does not fit the records.
        StorageError: If it cannot be read.
    """
    return PartneredRecords(records, read_pairs(spec.pairs), spec.pairs)
