"""Writing the card and the Croissant metadata: deterministic, with the version's copies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.report.card.write import write_description
from dentgen.shards.index_reader import read_index
from tests.report.fake_builds import fake_build, written


def test_equal_builds_have_equal_documents_and_version_copies(tmp_path: Path) -> None:
    documents = []
    for folder in (tmp_path / "here", tmp_path / "elsewhere"):
        plan = fake_build(folder, [written(0), written(1)])
        for _ in range(2):
            write_description(str(folder), plan, read_index(str(folder)))
        found = [(folder / name).read_bytes() for name in ("README.md", "croissant.json")]
        assert found == [(folder / "versions" / "0" / name).read_bytes() for name in ("README.md", "croissant.json")]
        documents.append(found)
    assert documents[0] == documents[1]


def test_table_of_samples_is_identified_by_digest_and_size(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    write_description(str(tmp_path), plan, read_index(str(tmp_path)))
    table = (tmp_path / "samples.parquet").read_bytes()
    nodes = {node["@id"]: node for node in json.loads((tmp_path / "croissant.json").read_text())["distribution"]}
    assert nodes["samples.parquet"]["sha256"] == hashlib.sha256(table).hexdigest()
    assert nodes["samples.parquet"]["contentSize"] == f"{len(table)} B"


def test_missing_table_of_samples_is_named(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    (tmp_path / "samples.parquet").unlink()
    with pytest.raises(StorageError) as caught:
        write_description(str(tmp_path), plan, read_index(str(tmp_path)))
    assert "samples.parquet" in str(caught.value)
