"""Laws of selections: distinct, a prefix of the next one, never worse spread than chance, and balanced."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dentgen.curation import selection as module
from dentgen.curation.selection import at_random, k_centre

KEYS = [f"k{n:03d}" for n in range(120)]
#: 80 of a, 30 of b, 10 of c.
GROUPS = ["a"] * 80 + ["b"] * 30 + ["c"] * 10


def clusters(seed: int) -> np.ndarray:
    """120 points in six tight clusters of very different sizes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 5)) * 10
    members = np.repeat(np.arange(6), [80, 20, 10, 5, 3, 2])
    return (centres[members] + rng.normal(size=(120, 5))).astype(np.float32)


def covering_radius(values: np.ndarray, chosen: np.ndarray) -> float:
    """Largest distance of a sample from the nearest chosen one, in float64."""
    apart = values.astype(np.float64)[:, None] - values.astype(np.float64)[None, chosen]
    return float(np.linalg.norm(apart, axis=-1).min(1).max())


def slow_k_centre(values: np.ndarray, count: int) -> list[int]:
    """The definition, in double loops over sorted keys."""
    start = min(range(len(values)), key=lambda i: (float(np.linalg.norm(values[i] - values.mean(0))), i))
    chosen = [start]
    while len(chosen) < count:
        rest = [i for i in range(len(values)) if i not in chosen]
        chosen.append(max(rest, key=lambda i: (min(float(np.linalg.norm(values[i] - values[j])) for j in chosen), -i)))
    return chosen


def test_k_centre_is_the_definition_of_greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 35)
    assert k_centre(clusters(1), 25, KEYS).tolist() == slow_k_centre(clusters(1), 25)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_a_selection_is_distinct_and_a_prefix_of_the_next(groups: list[str] | None) -> None:
    values = clusters(2)
    for whole in (k_centre(values, 120, KEYS, groups), at_random(120, KEYS, 7, groups)):
        assert sorted(whole.tolist()) == list(range(120))
    for count in (1, 2, 17, 119):
        np.testing.assert_array_equal(
            k_centre(values, count, KEYS, groups), k_centre(values, count + 1, KEYS, groups)[:count]
        )
        np.testing.assert_array_equal(at_random(count, KEYS, 7, groups), at_random(count + 1, KEYS, 7, groups)[:count])


def test_the_order_of_samples_does_not_matter() -> None:
    values, order = clusters(3), np.random.default_rng(0).permutation(120)
    keys = [KEYS[i] for i in order]
    for groups in (None, GROUPS):
        mixed = None if groups is None else [groups[i] for i in order]
        assert [keys[i] for i in k_centre(values[order], 40, keys, mixed)] == [
            KEYS[i] for i in k_centre(values, 40, KEYS, groups)
        ]
        assert [keys[i] for i in at_random(40, keys, 1, mixed)] == [KEYS[i] for i in at_random(40, KEYS, 1, groups)]


def test_equals_are_decided_by_key() -> None:
    same = np.zeros((4, 3), np.float32)
    assert k_centre(same, 4, ["d", "b", "a", "c"]).tolist() == [2, 1, 3, 0]


@pytest.mark.parametrize("count", [6, 12, 30])
@pytest.mark.parametrize("cloud", [4, 5])
def test_coverage_is_never_worse_than_chance(count: int, cloud: int) -> None:
    values = clusters(cloud)
    radius = covering_radius(values, k_centre(values, count, KEYS))
    others = [covering_radius(values, at_random(count, KEYS, seed)) for seed in range(20)]
    assert radius <= min(others)
    assert radius < 0.7 * float(np.median(others))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(30, {"a": 10, "b": 10, "c": 10}), (50, {"a": 20, "b": 20, "c": 10}), (100, {"a": 60, "b": 30, "c": 10})],
)
def test_shares_are_equal_as_far_as_they_reach(count: int, expected: dict[str, int]) -> None:
    for chosen in (k_centre(clusters(6), count, KEYS, GROUPS), at_random(count, KEYS, 3, GROUPS)):
        assert Counter(GROUPS[i] for i in chosen) == expected


def test_places_that_are_left_differ_by_one_at_most() -> None:
    for chosen in (k_centre(clusters(6), 8, KEYS, GROUPS), at_random(8, KEYS, 3, GROUPS)):
        assert sorted(Counter(GROUPS[i] for i in chosen).values()) == [2, 3, 3]


def test_a_draw_depends_on_seed_and_key_alone() -> None:
    drawn = [KEYS[i] for i in at_random(120, KEYS, 5)]
    assert drawn != [KEYS[i] for i in at_random(120, KEYS, 6)]
    fewer = KEYS[::2]
    assert [fewer[i] for i in at_random(60, fewer, 5)] == [key for key in drawn if key in fewer]


def test_nothing_can_be_chosen_of_nothing() -> None:
    assert k_centre(np.empty((0, 0), np.float32), 0, []).tolist() == at_random(0, [], 1, []).tolist() == []
