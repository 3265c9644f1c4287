"""Near-duplicates equal brute force, whatever the prints look like; counterfactuals are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.curation import near_duplicates as module
from dentgen.curation.fingerprints import Fingerprints
from dentgen.curation.near_duplicates import (
    MOST_BITS,
    near_duplicates,
    near_pairs,
    near_pairs_between,
    without_near,
)
from dentgen.errors import BuildError, SpecError
from tests.curation.planted_builds import PRINTS, gated
from tests.report.fake_builds import fake_build

Words = np.ndarray[Any, Any]


def random_words(count: int, seed: int, *, skewed: bool = False) -> Words:
    """Prints of random bits; skewed ones agree in most of them, as pictures of one subject do."""
    rng = np.random.default_rng(seed)
    chance = np.where(np.arange(256) < 200, 0.02, 0.5) if skewed else 0.5
    return packed(rng.random((count, 256)) < chance)


def packed(bits: Words) -> Words:
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64)


def with_copies(words: Words, copies: int, most: int, seed: int) -> Words:
    """Prints with copies appended, in which 0 to ``most`` bits are flipped."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(words[rng.integers(0, len(words), copies)].astype(">u8").view(np.uint8), axis=1).astype(bool)
    for row in bits:
        row[rng.choice(256, rng.integers(0, most + 1), replace=False)] ^= True
    return np.concatenate([words, packed(bits)])


def brute_force(first: Words, second: Words, most: int) -> set[tuple[int, int, int]]:
    bits = np.bitwise_count(first[:, None] ^ second[None]).sum(-1)
    return {(int(i), int(j), int(bits[i, j])) for i, j in zip(*np.nonzero(bits <= most), strict=True)}


def as_set(pairs: module.NearPairs) -> set[tuple[int, int, int]]:
    found = list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.bits.tolist(), strict=True))
    assert len(set(found)) == len(found), "every pair once"
    assert found == sorted(found)
    return set(found)


def prints_of(words: Words, families: Words | None = None) -> Fingerprints:
    numbers = np.arange(len(words)) if families is None else families
    return Fingerprints(tuple(map(str, range(len(words)))), words, numbers)


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("most", [0, 7, MOST_BITS])
def test_pairs_within_a_set_are_those_of_brute_force(most: int, skewed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 777)
    words = with_copies(random_words(600, 1, skewed=skewed), 300, 22, 2)
    expected = {(i, j, bits) for i, j, bits in brute_force(words, words, most) if i < j}
    assert len(expected) > 10
    assert as_set(near_pairs(prints_of(words), most)) == expected


@pytest.mark.parametrize("skewed", [False, True])
def test_pairs_between_sets_are_those_of_brute_force(skewed: bool) -> None:
    first = random_words(500, 3, skewed=skewed)
    second = np.concatenate([with_copies(first, 300, 22, 4)[500:], random_words(200, 5, skewed=skewed)])
    expected = brute_force(first, second, MOST_BITS)
    assert len(expected) > 100
    assert as_set(near_pairs_between(first, second)) == expected


def test_fifteen_bits_spread_over_fifteen_chunks_are_found() -> None:
    """The worst case: a single chunk agrees."""
    bits = np.zeros((2, 256), bool)
    bits[1, :15] = True  # equal evenness of the others keeps them in order: one in each chunk but the last
    assert as_set(near_pairs(prints_of(packed(bits)), MOST_BITS)) == {(0, 1, 15)}
    bits[1, 15] = True
    assert len(near_pairs(prints_of(packed(bits)), MOST_BITS)) == 0


def test_empty_sets_have_no_pairs() -> None:
    none = random_words(0, 0)
    assert len(near_pairs(prints_of(none))) == len(near_pairs_between(none, random_words(3, 0))) == 0
    assert len(near_pairs_between(random_words(3, 0), none)) == 0


def test_pictures_of_one_family_are_no_duplicates() -> None:
    words = np.repeat(random_words(1, 6), 4, 0)
    pairs = near_pairs(prints_of(words, np.array([0, 0, 1, 1])))
    assert as_set(pairs) == {(0, 2, 0), (0, 3, 0), (1, 2, 0), (1, 3, 0)}
    assert without_near(pairs, 4).tolist() == [True, True, False, False]


def test_of_a_chain_every_other_one_stays() -> None:
    """The second is near the first, the third near the second alone."""
    bits = np.zeros((3, 256), bool)
    bits[1, :10] = True
    bits[2, :20] = True
    pairs = near_pairs(prints_of(packed(bits)), 10)
    assert as_set(pairs) == {(0, 1, 10), (1, 2, 10)}
    assert without_near(pairs, 3).tolist() == [True, False, True]


@pytest.mark.parametrize("most", [-1, 16])
def test_more_bits_than_the_chunks_can_tell_are_refused(most: int) -> None:
    with pytest.raises(SpecError) as caught:
        near_pairs(prints_of(random_words(2, 0)), most)
    assert (caught.value.key, caught.value.found) == ("most", most)


def test_duplicates_within_a_build_leave_out_counterfactuals(tmp_path: Path) -> None:
    copies = [gated(0, PRINTS[0], PRINTS[0]), gated(1, PRINTS[1], PRINTS[0])]
    fake_build(tmp_path / "a", copies)
    assert near_duplicates(str(tmp_path / "a")) == [
        ("jaw-000-v000", "jaw-000-v001", 0),
        ("jaw-000-v000", "jaw-001-v001", 0),
        ("jaw-000-v001", "jaw-001-v001", 0),
    ]
    twins = [gated(0, PRINTS[0], PRINTS[0], reference="jaw-000-v000"), copies[1]]
    fake_build(tmp_path / "b", twins)
    assert near_duplicates(str(tmp_path / "b")) == [
        ("jaw-000-v000", "jaw-001-v001", 0),
        ("jaw-000-v001", "jaw-001-v001", 0),
    ]


def test_duplicates_in_another_build(tmp_path: Path) -> None:
    fake_build(tmp_path / "a", [gated(0, PRINTS[0], PRINTS[1])])
    fake_build(tmp_path / "b", [gated(5, PRINTS[2], PRINTS[1])])
    assert near_duplicates(str(tmp_path / "a"), str(tmp_path / "b")) == [("jaw-000-v001", "jaw-005-v001", 0)]


def test_an_unfinished_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        near_duplicates(str(tmp_path))
    assert caught.value.file == str(tmp_path)
