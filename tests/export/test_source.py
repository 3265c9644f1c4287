"""Samples are read from builds and condition sets alike; what is damaged is named and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import StorageError
from dentgen.export.source import ORIGIN, ExportSample, Rejection, open_source, read_unit
from dentgen.shards.reader import read_samples
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
