"""Combinations of attributes add up to a plain loop's counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dentgen.report.html import facets as module
from dentgen.report.html.counts import read_summary
from dentgen.report.html.facets import Facets
from tests.report.fake_builds import VIEWS, fake_build, rejected, written

SHADES = ("light", "dark", "", "light", "light")


def facets_of(out: Path) -> Facets:
    samples = [
        written(number, attributes={"view": VIEWS[number % 3], "shade": shade}) for number, shade in enumerate(SHADES)
    ]
    plan = fake_build(out, [*samples, rejected(9, "x")])
    return read_summary(str(out), plan).facets


def test_rows_equal_a_plain_loop(tmp_path: Path) -> None:
    found = facets_of(tmp_path)
    assert found.names == ("view", "shade", "split")
    expected = Counter[tuple[str, ...]]()
    for number, shade in enumerate(SHADES):
        expected[VIEWS[number % 3], shade or "not named", "train" if number % 4 else "validation"] += 2
    rows = {tuple(found.values[n][row[n]] for n in range(3)): row[-1] for row in found.rows}
    assert rows == expected
    assert found.covered == 10


def test_values_are_ranked_and_crossed(tmp_path: Path) -> None:
    found = facets_of(tmp_path)
    assert found.values[1] == ("light", "not named", "dark")
    assert [found.samples_of(1, value) for value in range(3)] == [6, 2, 2]
    table = found.crossed(0, 1)
    assert [sum(row) for row in table] == [found.samples_of(0, value) for value in range(3)]
    assert table[found.values[0].index("left")] == [2, 0, 2]


def test_positions_of_a_record(tmp_path: Path) -> None:
    found = facets_of(tmp_path)
    assert found.positions({"view": found.values[0][2], "shade": "", "split": "unheard of"}) == [2, 1, None]


def test_rare_combinations_are_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COMBINATIONS", 1)
    found = facets_of(tmp_path)
    assert len(found.rows) == 1
    assert found.covered == found.rows[0][-1] == 2


def test_an_attribute_of_one_value_or_of_very_many_is_no_facet(tmp_path: Path) -> None:
    samples = [written(n, attributes={"view": "left", "shade": f"s{n}"}, split="train") for n in range(13)]
    plan = fake_build(tmp_path, samples)
    assert read_summary(str(tmp_path), plan).facets == Facets()


def test_attributes_that_have_too_many_combinations_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_COUNTED", 6)
    found = facets_of(tmp_path)
    assert found.names == ("view", "split"), "3 views times 3 shades are more than 6, times 2 splits are not"
    assert found.covered == 10
