"""Label schemes against tables written by hand and published arithmetic; round trips of every pair of schemes."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dentgen.conditions.label_schemes import Jaw, LabelScheme, OnMissing, convert
from dentgen.conditions.labels import FDI_NUMBERS, IGNORE, mirror_fdi
from dentgen.errors import ConditionError, SpecError

SCHEMES: tuple[LabelScheme, ...] = get_args(LabelScheme)
JAWS: tuple[Jaw, ...] = get_args(Jaw)
PERMANENT = [number for number in sorted(FDI_NUMBERS) if number < 50]

#: Values by FDI number, at the ends and in the middle of every order.
BY_HAND: dict[tuple[LabelScheme, Jaw | None], dict[int, int]] = {
    ("per_jaw", "upper"): {18: 1, 17: 2, 11: 8, 21: 9, 28: 16, 0: 0},
    ("per_jaw", "lower"): {48: 1, 47: 2, 41: 8, 31: 9, 38: 16, 0: 0},
    ("per_jaw_halves", "upper"): {11: 1, 18: 8, 21: 9, 28: 16, 0: 0},
    ("per_jaw_halves", "lower"): {31: 1, 38: 8, 41: 9, 48: 16, 0: 0},
    ("classes33", None): {18: 1, 11: 8, 21: 9, 28: 16, 38: 17, 31: 24, 41: 25, 48: 32, 0: 0},
    ("fdi", None): {11: 11, 85: 85, 0: 0},
}


def expressible(scheme: LabelScheme, jaw: Jaw) -> set[int]:
    """FDI numbers with a value in a scheme, written independently of the code under test."""
    match scheme:
        case "fdi" | "quadrant_position":
            return set(FDI_NUMBERS)
        case "classes33":
            return set(PERMANENT)
        case _:
            return {number for number in PERMANENT if number // 10 in ((1, 2) if jaw == "upper" else (3, 4))}


def random_map(numbers: set[int], seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 12)), int(rng.integers(1, 12)))
    return rng.choice(np.array([0, *sorted(numbers)], np.uint8), shape)


def row(*values: int) -> NDArray[np.uint8]:
    return np.array([values], np.uint8)


@pytest.mark.parametrize(("scheme", "jaw"), BY_HAND)
def test_values_match_the_table(scheme: LabelScheme, jaw: Jaw | None) -> None:
    table = BY_HAND[scheme, jaw]
    assert convert(row(*table), "fdi", scheme, jaw).labels.tolist() == [list(table.values())]
    assert convert(row(*table.values()), scheme, "fdi", jaw).labels.tolist() == [list(table)]


@pytest.mark.parametrize("jaw", JAWS)
def test_halves_match_the_baselines_of_teeth3ds(jaw: Jaw) -> None:
    """Their arithmetic: subtract 20 in the lower jaw, take the last digit, add 8 in the second half."""
    numbers = np.array(sorted(expressible("per_jaw", jaw)))
    shifted = numbers - (20 if jaw == "lower" else 0)
    expected = np.where(shifted // 10 == 1, shifted % 10, shifted % 10 + 8)
    assert convert(numbers.astype(np.uint8)[None], "fdi", "per_jaw_halves", jaw).labels.tolist() == [expected.tolist()]


def test_quadrant_and_position_are_the_digits() -> None:
    digits = convert(row(0, 11, 48, 55, 85), "fdi", "quadrant_position").labels
    assert digits.tolist() == [[[0, 1, 4, 5, 8]], [[0, 1, 8, 5, 5]]]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
@pytest.mark.parametrize("jaw", JAWS)
@pytest.mark.parametrize(("source", "target"), list(product(SCHEMES, SCHEMES)))
def test_round_trips_change_nothing(source: LabelScheme, target: LabelScheme, jaw: Jaw, seed: int) -> None:
    fdi = random_map(expressible(source, jaw) & expressible(target, jaw), seed)
    first = convert(fdi, "fdi", source, jaw).labels
    untouched = first.copy()
    second = convert(first, source, target, jaw).labels
    assert (first == untouched).all()
    assert (convert(second, target, source, jaw).labels == first).all()
    assert (convert(second, target, "fdi", jaw).labels == fdi).all(), "the same teeth by every route"
    for labels, scheme in ((first, source), (second, target)):
        assert labels.dtype == np.uint8
        assert labels.shape == ((2, *fdi.shape) if scheme == "quadrant_position" else fdi.shape)
        assert ((labels == 0) == (fdi == 0)).all()


@pytest.mark.parametrize(("scheme", "jaw"), list(product(SCHEMES[1:4], JAWS)))
def test_teeth_that_a_scheme_cannot_express_are_refused_or_ignored(scheme: LabelScheme, jaw: Jaw) -> None:
    fdi = row(55, 55, 85, 31 if jaw == "lower" else 11, 0)
    with pytest.raises(ConditionError) as caught:
        convert(fdi, "fdi", scheme, jaw)
    assert "55 (2 pixels), 85 (1 pixels)" in caught.value.found
    assert scheme in caught.value.expected
    marked = convert(fdi, "fdi", scheme, jaw, on_missing="ignore")
    assert marked.labels[0, :3].tolist() == [IGNORE] * 3
    assert marked.ignored == {55: 2, 85: 1}
    assert convert(fdi[:, 3:], "fdi", scheme, jaw).ignored == {}
    back = convert(marked.labels, scheme, "quadrant_position", jaw, on_missing="ignore")
    assert back.labels[:, 0, :3].tolist() == [[IGNORE] * 3] * 2
    assert back.ignored == {IGNORE: 3}
    with pytest.raises(ConditionError) as caught:
        convert(marked.labels, scheme, "fdi", jaw)
    assert "255 (3 pixels)" in caught.value.found
    again = convert(back.labels, "quadrant_position", "fdi", on_missing="ignore").labels
    assert again.tolist() == [[IGNORE, IGNORE, IGNORE, fdi[0, 3], 0]]


def test_tooth_of_the_other_jaw_is_refused() -> None:
    with pytest.raises(ConditionError) as caught:
        convert(row(11, 48), "fdi", "per_jaw", "upper")
    assert "48 (1 pixels)" in caught.value.found
    assert "upper" in caught.value.expected


@pytest.mark.parametrize(
    ("labels", "scheme", "found"),
    [
        (row(11, 19, 19, 0), "fdi", "values 19 (2 pixels)"),
        (row(17), "per_jaw", "values 17 (1 pixels)"),
        (row(33), "classes33", "values 33 (1 pixels)"),
        (np.array([[[1, 1]], [[11, 11]]], np.uint8), "quadrant_position", "quadrant 1 with position 11 (2 pixels)"),
        (np.array([[[25]], [[5]]], np.uint8), "quadrant_position", "quadrant 25 with position 5"),
        (np.array([[[0]], [[5]]], np.uint8), "quadrant_position", "quadrant 0 with position 5"),
        (np.array([[[6]], [[6]]], np.uint8), "quadrant_position", "quadrant 6 with position 6"),
        (row(11), "quadrant_position", "(1, 1)"),
        (np.array([[11]], np.int64), "fdi", "int64"),
    ],
)  # fmt: skip
def test_values_outside_the_source_scheme_are_refused(
    labels: NDArray[np.uint8], scheme: LabelScheme, found: str
) -> None:
    for on_missing in get_args(OnMissing):
        with pytest.raises(ConditionError) as caught:
            convert(labels, scheme, "fdi", "lower", on_missing)
        assert caught.value.file == f"{scheme} labels"
        assert found in caught.value.found


@pytest.mark.parametrize(("source", "target"), [("fdi", "per_jaw"), ("per_jaw_halves", "fdi")])
def test_schemes_of_one_jaw_require_the_jaw(source: LabelScheme, target: LabelScheme) -> None:
    with pytest.raises(SpecError) as caught:
        convert(row(0), source, target)
    assert caught.value.key == "jaw"
    assert all(jaw in caught.value.expected for jaw in JAWS)


@pytest.mark.parametrize("jaw", JAWS)
def test_mirroring_reverses_the_order_along_the_arch(jaw: Jaw) -> None:
    arch = np.arange(17, dtype=np.uint8)[None]
    mirrored = convert(mirror_fdi(convert(arch, "per_jaw", "fdi", jaw).labels), "fdi", "per_jaw", jaw).labels
    assert mirrored.tolist() == [[*range(1, 17), 0]], "tooth p becomes 17 - p"
