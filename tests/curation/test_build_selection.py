"""Selections of a build: candidates by gate and prints, coverage by features, and errors that name what is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.curation.build_selection import SelectionSettings, select_samples
from dentgen.curation.features import Scale, picture_features
from dentgen.curation.pictures import read_pictures
from dentgen.curation.selection import k_centre
from dentgen.errors import BuildError, SpecError
from dentgen.models.judges import load_judges
from dentgen.shards.index_reader import index_sha256
from tests.curation.planted_builds import PRINTS, gated, small_judges, smooth
from tests.report.fake_builds import fake_build, rejected, written


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six shards of two samples, two shards of every view; the first sample of the fifth is a copy that failed."""
    folder = tmp_path_factory.mktemp("build")
    units = [gated(n, PRINTS[n], PRINTS[6 if n else 7]) for n in range(6)]
    units[4][0] = gated(4, PRINTS[0], PRINTS[1], failed=("miou",))[0]
    fake_build(folder, [*units, rejected(0, "torn")], draw=smooth)
    return str(folder)


def chosen(out: str, count: int, **settings: Any) -> list[str]:
    return list(select_samples(out, SelectionSettings(count, **settings)).keys)


def test_coverage_is_k_centre_of_standardised_features(out: str, judges: str) -> None:
    selection = select_samples(out, SelectionSettings(5, judges=judges))
    features = picture_features(read_pictures(out), load_judges(judges))
    order = np.argsort(features.keys)
    values, keys = features.values[order], [features.keys[i] for i in order]
    whole = Scale.of(features).standardised(type(features)(tuple(keys), values))
    assert list(selection.keys) == [keys[i] for i in k_centre(whole.values, 5, keys)]
    assert selection.shards == tuple(f"{int(key[4:7]):06d}.tar" for key in selection.keys)
    assert selection.index_sha256 == index_sha256(out)
    assert selection.how == {"by": "coverage", "balance": "", "without_duplicates": False, "passed": False}


def test_a_smaller_selection_is_a_prefix(out: str, judges: str) -> None:
    for settings in ({"judges": judges}, {"by": "random", "seed": 4}, {"by": "random", "balance": "view"}):
        assert chosen(out, 4, **settings) == chosen(out, 12, **settings)[:4]


def test_seeds_name_random_selections(out: str) -> None:
    first, second = (chosen(out, 6, by="random", seed=seed) for seed in range(2))
    assert first != second
    assert len({*first}) == 6


def test_every_view_has_its_share(out: str, judges: str) -> None:
    for settings in ({"by": "random"}, {"by": "coverage", "judges": judges}):
        keys = chosen(out, 6, balance="view", **settings)
        assert Counter(int(key[4:7]) % 3 for key in keys) == {0: 2, 1: 2, 2: 2}


def test_only_samples_that_passed(out: str) -> None:
    keys = chosen(out, 11, by="random", passed=True)
    assert "jaw-004-v000" not in keys
    with pytest.raises(SpecError) as caught:
        chosen(out, 12, by="random", passed=True)
    assert (caught.value.file, caught.value.key, caught.value.found) == (out, "count", 12)
    assert caught.value.expected == "at most 11, the samples to choose from"


def test_of_near_duplicates_the_first_key_stays(out: str) -> None:
    """Five samples have the print of jaw-001's second sample, and two that of jaw-000's first."""
    keys = chosen(out, 7, by="random", without_duplicates=True)
    first = [f"jaw-00{n}-v000" for n in (0, 1, 2, 3, 5)]
    assert sorted(keys) == sorted([*first, "jaw-000-v001", "jaw-001-v001"])
    with pytest.raises(SpecError) as caught:
        chosen(out, 8, by="random", without_duplicates=True)
    assert (caught.value.key, caught.value.found) == ("count", 8)


def test_a_copy_of_what_failed_stays(tmp_path: Path) -> None:
    failed, passed = gated(0, PRINTS[0], PRINTS[1], failed=("miou",)), gated(1, PRINTS[0], PRINTS[2])
    fake_build(tmp_path, [failed, passed])
    keys = chosen(str(tmp_path), 2, by="random", passed=True, without_duplicates=True)
    assert sorted(keys) == ["jaw-001-v000", "jaw-001-v001"]


def test_a_build_without_a_gate_has_none_that_passed(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    with pytest.raises(SpecError) as caught:
        chosen(str(tmp_path), 1, passed=True)
    assert (caught.value.key, caught.value.expected) == ("passed", "a build with quality.gate")


@pytest.mark.parametrize(("name", "value"), [("balance", "teeth"), ("by", "chance")])
def test_unknown_settings_are_named(out: str, name: str, value: str) -> None:
    with pytest.raises(SpecError) as caught:
        chosen(out, 1, **{name: value})
    assert (caught.value.key, caught.value.found) == (name, value)


def test_an_unfinished_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        chosen(str(tmp_path), 1)
    assert caught.value.file == str(tmp_path)
