"""Samples are read from builds and condition sets alike; what is damaged is named and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import SpecError, StorageError
from dentgen.export.source import ORIGIN, ExportSample, Rejection, open_source, read_unit
from dentgen.shards.index_reader import index_sha256
from dentgen.shards.reader import read_samples
from dentgen.shards.selection_file import Selection, write_selection
from tests.export.hard_sets import write_hard_set
from tests.report.fake_builds import fake_build, written


def test_a_build_gives_its_committed_bytes(tmp_path: Path) -> None:
    out = str(tmp_path / "build")
    fake_build(Path(out), [written(0), written(1)])
    source = open_source(out)
    samples = [sample for unit in source.units for sample in read_unit(out, unit)]
    expected = dict(read_samples(out))
    assert [sample.key for sample in samples] == list(expected)
    for sample in samples:
        assert isinstance(sample, ExportSample)
        assert sample.picture == expected[sample.key]["png"]
        assert (sample.split, sample.group) == (("validation" if "jaw-000" in sample.key else "train"), "patient-0")
        assert set(np.unique(sample.fdi)) == {0, 11, 21, 36}
        assert sample.lesion is None
        assert sample.origin == {name: json.loads(expected[sample.key]["json"])[name] for name in sample.origin}
        assert set(ORIGIN) - set(sample.origin) == {"bundle_licenses", "use_restrictions"}, "the build has none"


def test_a_damaged_record_is_rejected_with_its_file(tmp_path: Path) -> None:
    maps = write_hard_set(tmp_path, broken=True)
    source = open_source(str(tmp_path))
    found = [sample for unit in source.units for sample in read_unit(str(tmp_path), unit)]
    assert [sample.key for sample in found] == [*maps, "torn"]
    (torn,) = [sample for sample in found if isinstance(sample, Rejection)]
    assert "torn.seg.png" in torn.reason


def test_the_digest_changes_with_the_content(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "one")
    write_hard_set(tmp_path / "two", broken=True)
    assert open_source(str(tmp_path / "one")).digest != open_source(str(tmp_path / "two")).digest


def test_an_empty_place_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        open_source(str(tmp_path))
    assert caught.value.file == str(tmp_path)


def test_a_selection_of_another_source_is_refused(tmp_path: Path) -> None:
    build, file = str(tmp_path / "build"), str(tmp_path / "chosen.parquet")
    fake_build(tmp_path / "build", [written(0)])
    write_selection(file, Selection("d" * 64, ("jaw-000-v000",), ("000000.tar",)))
    with pytest.raises(SpecError) as caught:
        open_source(build, file)
    assert (caught.value.file, caught.value.key, caught.value.found) == (file, "index_sha256", "d" * 64)
    write_hard_set(tmp_path / "set")
    with pytest.raises(SpecError) as caught:
        open_source(str(tmp_path / "set"), file)
    assert (caught.value.key, caught.value.expected) == ("selection", "the build it is of")


def test_units_of_a_selection_have_its_samples_alone(tmp_path: Path) -> None:
    build, file = str(tmp_path / "build"), str(tmp_path / "chosen.parquet")
    fake_build(tmp_path / "build", [written(0), written(1)])
    write_selection(file, Selection(index_sha256(build), ("jaw-001-v000",), ("000001.tar",)))
    source = open_source(build, file)
    assert [unit.name for unit in source.units] == ["000001"]
    found = [sample for unit in source.units for sample in read_unit(build, unit)]
    assert [sample.key for sample in found] == ["jaw-001-v000"]
    assert source.digest != open_source(build).digest
