"""Croissant: mlcroissant finds no error in it, and reads through it exactly what the build wrote."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
from mlcroissant._src.operation_graph.operations import extract
from PIL import Image

from dentgen.report.card.croissant_records import COLUMN_MEANINGS
from dentgen.shards.index import SAMPLE_SCHEMA, read_index
from dentgen.shards.reader import read_samples
from tests.small_builds import described_build, two_split_source, two_split_spec


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    folder = tmp_path_factory.mktemp("croissant")
    return described_build(two_split_spec(two_split_source(folder, demo_members), folder / "out"))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """mlcroissant keeps archives by URL, and relative ones are the same in every build."""
    monkeypatch.setattr(extract, "EXTRACT_PATH", extract.EXTRACT_PATH.__class__(tmp_path / "extracted"))


def opened(out: Path) -> Any:
    return mlcroissant.Dataset(str(out / "croissant.json"))


def document(out: Path) -> dict[str, Any]:
    found = json.loads((out / "croissant.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_validator_accepts_it(out: Path) -> None:
    issues = opened(out).metadata.ctx.issues
    assert not issues.errors
    missing = {warning.split('Property "')[1].split('"')[0].rsplit("/")[-1] for warning in issues.warnings}
    assert missing == {"citeAs", "datePublished"}, "for whoever publishes it"
    assert opened(out).metadata.ctx.is_v1_1()


def test_files_are_those_of_the_build(out: Path) -> None:
    objects = {node["@id"]: node for node in document(out)["distribution"] if node["@type"] == "cr:FileObject"}
    shards = {f"shards/{shard.name}" for shard in read_index(str(out)).shards}
    assert objects.keys() == shards | {"samples.parquet"}
    for name, node in objects.items():
        content = (out / name).read_bytes()
        assert node["contentUrl"] == name
        assert node["contentSize"] == f"{len(content)} B"
        assert node["sha256"] == hashlib.sha256(content).hexdigest()


def test_it_says_what_it_was_made_from(out: Path) -> None:
    found, index = document(out), read_index(str(out))
    assert found["license"] == "https://spdx.org/licenses/CC0-1.0.html"
    assert found["rai:hasSyntheticData"] is True
    assert any("diagnosis" in text for text in found["rai:dataUseCases"])
    assert index.spec_digest in found["prov:wasGeneratedBy"]["prov:label"]
    derived = [entity["prov:label"] for entity in found["prov:wasDerivedFrom"]]
    assert derived == ["5 condition records in 2 shards", f"model bundle miniature, sha256 {index.bundle_digest}"]
    shard = next(node for node in found["distribution"] if node["@id"] == "shards/000002.tar")
    assert shard["prov:wasDerivedFrom"]["prov:label"] == "condition shard a.tar, records 2 to 2"


def test_the_table_of_samples_is_read_row_by_row(out: Path) -> None:
    table = pq.read_table(out / "samples.parquet").to_pylist()
    records = list(opened(out).records("samples"))
    assert len(records) == len(table) == 10
    for record, row in zip(records, table, strict=True):
        assert record.keys() == {f"samples/{name}" for name in row}
        for name, value in row.items():
            found = record[f"samples/{name}"]
            assert (found.decode() if isinstance(found, bytes) else found) == value, name


def test_every_column_is_described(out: Path) -> None:
    assert COLUMN_MEANINGS.keys() == set(SAMPLE_SCHEMA.names)
    (samples,) = [node for node in document(out)["recordSet"] if node["@id"] == "samples"]
    assert all(field["description"] and field["dataType"] for field in samples["field"])


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_pictures_are_joined_with_their_maps(
    out: Path, tmp_path: Path, demo_members: dict[str, dict[str, bytes]], image_format: str
) -> None:
    if image_format != "png":
        spec = two_split_spec(two_split_source(tmp_path, demo_members), tmp_path / "out")
        out = described_build(
            spec.model_copy(update={"output": spec.output.model_copy(update={"image_format": "webp"})})
        )
    joined = "image-seg-fdi-light"
    expected = dict(read_samples(str(out)))
    found = list(opened(out).records(joined))
    assert sorted(record[f"{joined}/key"].decode() for record in found) == sorted(expected)
    extensions = {"image": image_format, "seg": "seg.png", "fdi": "fdi.png", "light": "light.png"}
    for record in found:
        members = expected[record[f"{joined}/key"].decode()]
        for name, extension in extensions.items():
            written = np.asarray(Image.open(io.BytesIO(members[extension])))
            assert np.array_equal(np.asarray(record[f"{joined}/{name}"]), written), name


def test_a_build_without_samples_is_described_too(demo_members: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    source = two_split_source(tmp_path, {key: {**value, "seg.png": b""} for key, value in demo_members.items()})
    out = described_build(two_split_spec(source, tmp_path / "out"))
    assert not opened(out).metadata.ctx.issues.errors
    records = list(opened(out).records("samples"))
    assert [record["samples/status"] for record in records] == [b"rejected"] * 10
    assert [node["@id"] for node in document(out)["distribution"]] == ["samples.parquet"]
