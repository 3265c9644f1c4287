"""Indexes are compared with what plan and ledger give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dentgen.documents.index import DatasetIndex
from dentgen.shards.index_reader import read_index, sealed_indexes
from dentgen.shards.verify_index import index_problems
from tests.report.fake_builds import fake_build, written


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    """The index of a sealed build of two units."""
    fake_build(tmp_path, [written(0), written(1)])
    return read_index(str(tmp_path))


def test_the_indexes_of_a_build_are_equal(index: DatasetIndex, tmp_path: Path) -> None:
    assert sealed_indexes(str(tmp_path)) == [index, index]
    assert list(index_problems(str(tmp_path), "index.json", index)) == []


def test_indexes_that_cannot_be_read_are_no_witnesses(index: DatasetIndex, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("{")
    assert sealed_indexes(str(tmp_path)) == [index]
    (tmp_path / "versions" / "0" / "index.json").unlink()
    assert sealed_indexes(str(tmp_path)) == []


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a hash": (lambda content: content["shards"][1].update(sha256="0" * 64), "000001.tar"),
    "a shard less": (lambda content: content["shards"].pop(), "000001.tar"),
    "a count": (lambda content: content.update(planned=9), "planned 9"),
    "no index": (lambda content: content.pop("shards"), "shards"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_difference_is_named(case: str, index: DatasetIndex, tmp_path: Path) -> None:
    change, fact = CHANGES[case]
    content = json.loads((tmp_path / "index.json").read_bytes())
    change(content)
    (tmp_path / "index.json").write_text(json.dumps(content))
    (problem,) = index_problems(str(tmp_path), "index.json", index)
    assert (problem.place, problem.derived) == ("index.json", "index.json")
    assert fact in problem.text


def test_a_missing_index_is_named(index: DatasetIndex, tmp_path: Path) -> None:
    (problem,) = index_problems(str(tmp_path), "versions/7/index.json", index)
    assert (problem.place, problem.derived) == ("versions/7/index.json", "versions/7/index.json")
