"""Near-duplicates by perceptual hash: exactly the pairs that differ in few of 256 bits, by multi-index hashing.

The bits are dealt into 16 chunks of 16. Two prints that differ in at most 15 bits agree in one chunk at least, so only
prints with an equal chunk are compared (Norouzi et al. 2012). Pictures of one subject agree in many bits, which would
fill few buckets; therefore every chunk gets as many bits that hardly ever change as any other.

Memory beside the prints (32 bytes each): 32 bytes a print for the chunks, about 40 for the order of one chunk, a block
of 2^18 candidates, and 24 bytes a pair that is found, which are many only if most pictures are copies. Time depends on
how unevenly chunks are filled: a bucket of m prints gives m^2 / 2 candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.curation.fingerprints import WORDS, Fingerprints, build_fingerprints
from dentgen.errors import SpecError

#: Most bits for which the search is exact.
MOST_BITS: Final = 15
#: Copies that were encoded again, or have slight noise, differ in no more bits: 3 %, the gate's limit of ``distinct``.
#: Variants of one record may differ in 12.
COPY_BITS: Final = 7
_CHUNKS: Final = 16
_CHUNK_BITS: Final = 16
#: Candidates that are compared at a time.
_BLOCK: Final = 2**18
#: Prints by which the bits are dealt.
_SURVEYED: Final = 2**14

_Words = NDArray[np.uint64]
_Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NearPairs:
    """Pairs of prints that hardly differ, sorted by the first, then by the second.

    Attributes:
        first: (m,) int64 position of the first print.
        second: (m,) int64 position of the second; within one set, greater than the first.
        bits: (m,) int64 bits in which they differ.
    """

    first: _Indexes
    second: _Indexes
    bits: _Indexes

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.first)


def near_duplicates(out: str, other: str | None = None, most: int = COPY_BITS) -> list[tuple[str, str, int]]:
    """Near-duplicates within a build, or of one build in another.

    Samples that are counterfactuals of one another are none.

    Args:
        out: A finished build.
        other: Another one; None looks within the first.
        most: Bits in which two prints may differ, 0..15.

    Returns:
        (key, key, bits) of every pair, in the order of the builds.

    Raises:
        BuildError: If a build is not finished, or a shard is damaged.
        SpecError: If ``most`` is out of range.
        StorageError: If something cannot be read.
    """
    prints = build_fingerprints(out)
    others = prints if other is None else build_fingerprints(other)
    pairs = near_pairs(prints, most) if other is None else near_pairs_between(prints.words, others.words, most)
    found = zip(pairs.first.tolist(), pairs.second.tolist(), pairs.bits.tolist(), strict=True)
    return [(prints.keys[i], others.keys[j], bits) for i, j, bits in found]


def near_pairs(prints: Fingerprints, most: int = COPY_BITS) -> NearPairs:
    """All pairs within a set that are of different families and differ in at most ``most`` bits, 0..15.

    Raises:
        SpecError: If ``most`` is out of range.
    """
    found = [
        (i[apart], j[apart], bits[apart])
        for i, j, bits in _matches(prints.words, None, most)
        if (apart := prints.families[i] != prints.families[j]).any()
    ]
    return _pairs(found)


def near_pairs_between(first: _Words, second: _Words, most: int = MOST_BITS) -> NearPairs:
    """All pairs of a print of one set and a print of another that differ in at most ``most`` bits, 0..15.

    Args:
        first: (n, 4) uint64.
        second: (m, 4) uint64.
        most: Bits.

    Raises:
        SpecError: If ``most`` is out of range.
    """
    return _pairs(list(_matches(first, second, most)))


def without_near(pairs: NearPairs, count: int) -> NDArray[np.bool_]:
    """Which of ``count`` pictures stay, (count,): each unless one before it stays that it is a near-duplicate of.

    Args:
        pairs: Pairs within the set.
        count: Pictures of the set.
    """
    stays = np.ones(count, np.bool_)
    order = np.lexsort((pairs.first, pairs.second))
    for before, later in zip(pairs.first[order].tolist(), pairs.second[order].tolist(), strict=True):
        if stays[before]:
            stays[later] = False
    return stays


def _pairs(found: list[tuple[_Indexes, _Indexes, _Indexes]]) -> NearPairs:
    empty = np.empty(0, np.int64)
    parts = zip(*found, strict=True) if found else [[empty]] * 3
    first, second, bits = (np.concatenate(part) for part in parts)
    order = np.lexsort((second, first))
    return NearPairs(first[order], second[order], bits[order])


def _matches(first: _Words, second: _Words | None, most: int) -> Iterator[tuple[_Indexes, _Indexes, _Indexes]]:
    """Positions and bits of near pairs, each pair once; ``second`` None: within the first set."""
    if not 0 <= most < _CHUNKS:
        raise SpecError(key="most", found=most, expected=f"0 to {_CHUNKS - 1} bits")
    other = first if second is None else second
    dealt = _dealt_bits(np.concatenate([_sample(first), _sample(other)]))
    chunks = [(_chunk(first, bits), _chunk(other, bits)) for bits in dealt]
    for number, (values, others) in enumerate(chunks):
        for i, j in _candidates(values, others, within=second is None):
            i, j, bits = _near(first, other, i, j, most)  # noqa: PLW2901 - what is left of the candidates
            new = np.ones(len(i), np.bool_)
            for earlier, of_other in chunks[:number]:  # found there already
                new &= earlier[i] != of_other[j]
            if new.any():
                yield i[new], j[new], bits[new]


def _sample(words: _Words) -> _Words:
    return words[:: max(1, len(words) // _SURVEYED)]


def _dealt_bits(words: _Words) -> NDArray[np.int64]:
    """Numbers of the bits of every chunk, (16, 16): bits that are alike in most prints are dealt to all chunks."""
    bits = np.unpackbits(words.astype(">u8").view(np.uint8).reshape(len(words), 8 * WORDS), axis=1)
    evenness = np.abs(bits.mean(0) - 0.5) if len(words) else np.zeros(WORDS * 64)
    return np.argsort(evenness, kind="stable").reshape(_CHUNK_BITS, _CHUNKS).T


def _chunk(words: _Words, bits: NDArray[np.int64]) -> NDArray[np.uint16]:
    """The value of a chunk in every print, (n,)."""
    value = np.zeros(len(words), np.uint16)
    for bit in bits.tolist():
        found = (words[:, bit // 64] >> np.uint64(63 - bit % 64)) & np.uint64(1)
        value = (value << np.uint16(1)) | found.astype(np.uint16)
    return value


def _candidates(
    values: NDArray[np.uint16], others: NDArray[np.uint16], *, within: bool
) -> Iterator[tuple[_Indexes, _Indexes]]:
    """Positions of prints with an equal chunk, block by block; within one set, the smaller position first."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    askers = order if within else np.arange(len(values))
    asked = values[askers]
    stop = np.searchsorted(ordered, asked, "right")
    start = np.arange(1, len(askers) + 1) if within else np.searchsorted(ordered, asked, "left")
    counts = stop - start
    ends = np.cumsum(counts)
    for begin in range(0, int(ends[-1]) if len(ends) else 0, _BLOCK):
        positions = np.arange(begin, min(begin + _BLOCK, int(ends[-1])))
        asker = np.searchsorted(ends, positions, "right")
        yield askers[asker], order[start[asker] + positions - (ends[asker] - counts[asker])]


def _near(
    first: _Words, second: _Words, i: _Indexes, j: _Indexes, most: int
) -> tuple[_Indexes, _Indexes, _Indexes]:  # fmt: skip
    """Those of the candidates that differ in at most ``most`` bits; most are told by their first word."""
    bits = np.zeros(len(i), np.int64)
    for word in range(WORDS):
        bits = bits + np.bitwise_count(first[i, word] ^ second[j, word])
        near = bits <= most
        i, j, bits = i[near], j[near], bits[near]
    return i, j, bits
