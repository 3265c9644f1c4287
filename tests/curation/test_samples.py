"""The table of written samples: those of the index alone, and null where an earlier dentgen knew no column."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.curation.samples import texts, written_samples
from dentgen.errors import BuildError
from dentgen.shards.index import publish_index
from dentgen.shards.index_reader import read_index
from dentgen.shards.layout import SAMPLES
from tests.report.fake_builds import fake_build, rejected, written


def test_written_samples_come_in_the_order_of_the_build(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(1), rejected(0, "torn"), written(0)])
    table = written_samples(str(tmp_path), ["view"])
    assert table.column_names == ["key", "shard", "view"]
    assert texts(table, "key") == ["jaw-001-v000", "jaw-001-v001", "jaw-000-v000", "jaw-000-v001"]
    assert texts(table, "shard") == ["000000.tar"] * 2 + ["000002.tar"] * 2
    assert texts(table, "view") == ["left", "left", "frontal", "frontal"]


def test_columns_that_the_table_lacks_are_empty(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    file = tmp_path / SAMPLES
    pq.write_table(pq.read_table(file).drop_columns(["fingerprint"]), file)
    table = written_samples(str(tmp_path), ["fingerprint", "view"])
    assert texts(table, "fingerprint") == ["", ""]
    assert texts(table, "view") == ["frontal", "frontal"]


def test_samples_of_shards_that_the_index_does_not_name_are_left_out(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0), written(1)])
    index = read_index(str(tmp_path))
    publish_index(str(tmp_path), index.model_copy(update={"shards": index.shards[:1]}))
    assert texts(written_samples(str(tmp_path), []), "key") == ["jaw-000-v000", "jaw-000-v001"]


def test_a_build_of_rejected_samples_has_none(tmp_path: Path) -> None:
    fake_build(tmp_path, [rejected(0, "torn")])
    assert len(written_samples(str(tmp_path), ["view", "no_such_column"])) == 0


def test_an_unfinished_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        written_samples(str(tmp_path), [])
    assert (caught.value.file, caught.value.expected) == (str(tmp_path), "a finished build")
