"""Comparisons of builds: what they share, what differs, and pictures of the same samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.report.comparison import compare as module
from dentgen.report.comparison.compare import compare_builds
from tests.report.fake_builds import fake_build, rejected, written


def test_a_build_equals_its_copy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fake_build(tmp_path / name, [written(0), [*written(1), *rejected(2, "x")]])
    found = compare_builds(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (found.first.name, found.second.name) == ("a", "b")
    assert (found.settings, found.common, found.equal_shards) == ((), 4, 2)
    assert {shared.distance for shared in (*found.distributions, *found.labels)} == {0.0}
    assert [pair.key for pair in found.pictures] == ["jaw-000-v000", "jaw-001-v000"]
    assert all(pair.is_equal for pair in found.pictures)


def test_settings_and_samples_that_differ(tmp_path: Path) -> None:
    fake_build(tmp_path / "a", [written(0), written(1)])
    fake_build(tmp_path / "b", [written(1), written(3)], sampling={"steps": 9})
    found = compare_builds(str(tmp_path / "a"), str(tmp_path / "b"))
    assert "sampling.steps: 4 -> 9" in found.settings
    assert (found.common, found.equal_shards) == (2, 0)
    (pair,) = found.pictures
    assert pair.key == "jaw-001-v000"
    assert pair.first["png"] == pair.second["png"]
    assert not pair.is_equal, "their metadata name different specs"


def test_few_pictures_and_shards_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        fake_build(tmp_path / name, [written(number) for number in range(6)])
    monkeypatch.setattr(module, "_MAX_SHARDS", 3)
    assert len(compare_builds(str(tmp_path / "a"), str(tmp_path / "b")).pictures) == 3
    monkeypatch.setattr(module, "MAX_PAIRS", 2)
    assert len(compare_builds(str(tmp_path / "a"), str(tmp_path / "b")).pictures) == 2


def test_builds_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("monday", "friday"):
        fake_build(tmp_path / name / "out", [written(0)])
    found = compare_builds(str(tmp_path / "monday" / "out"), str(tmp_path / "friday" / "out"))
    assert (found.first.name, found.second.name) == ("monday/out", "friday/out")


def test_a_folder_that_is_no_build_is_an_error(tmp_path: Path) -> None:
    fake_build(tmp_path / "a", [written(0)])
    (tmp_path / "b" / "plan").mkdir(parents=True)
    for name in ("000000.json", "000000.units.parquet"):
        (tmp_path / "b" / "plan" / name).write_bytes((tmp_path / "a" / "plan" / name).read_bytes())
    with pytest.raises(StorageError) as caught:
        compare_builds(str(tmp_path / "a"), str(tmp_path / "b"))
    assert caught.value.file.endswith("b/index.json")
