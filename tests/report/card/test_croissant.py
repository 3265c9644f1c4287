"""Croissant metadata: mlcroissant finds no error in it, and reads through it what the build wrote."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dentgen.models.restricted_use import RESTRICTED_USE
from dentgen.report.card.write import write_description
from dentgen.shards.index_reader import read_index
from tests.report.card.croissant_reader import opened
from tests.report.fake_builds import fake_build, rejected, with_spec, written

pytestmark = pytest.mark.usefixtures("croissant_cache")


def document(out: Path) -> dict[str, Any]:
    found = json.loads((out / "croissant.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_validator_accepts_it(two_split_build: Path) -> None:
    context = opened(two_split_build).metadata.ctx
    assert not context.issues.errors
    missing = {warning.split('Property "')[1].split('"')[0].rsplit("/")[-1] for warning in context.issues.warnings}
    assert missing == {"citeAs", "datePublished"}, "known on publication only"
    assert context.is_v1_1()


@pytest.mark.integration
def test_files_are_those_of_the_build(two_split_build: Path) -> None:
    out = two_split_build
    objects = {node["@id"]: node for node in document(out)["distribution"] if node["@type"] == "cr:FileObject"}
    shards = {f"shards/{shard.name}" for shard in read_index(str(out)).shards}
    assert objects.keys() == shards | {"samples.parquet"}
    for name, node in objects.items():
        content = (out / name).read_bytes()
        assert node["contentUrl"] == name
        assert node["contentSize"] == f"{len(content)} B"
        assert node["sha256"] == hashlib.sha256(content).hexdigest()


def test_provenance_is_that_of_the_plan(two_split_build: Path) -> None:
    found, index = document(two_split_build), read_index(str(two_split_build))
    assert found["license"] == "https://spdx.org/licenses/CC0-1.0.html"
    assert found["rai:hasSyntheticData"] is True
    assert found["version"] == f"1.{index.version}.0"
    assert index.spec_digest in found["prov:wasGeneratedBy"]["prov:label"]
    derived = [entity["prov:label"] for entity in found["prov:wasDerivedFrom"]]
    bundle = f"model bundle miniature, sha256 {index.bundle_digest}, license apache-2.0"
    assert derived == ["5 condition records in 2 shards", bundle]
    shard = next(node for node in found["distribution"] if node["@id"] == "shards/000002.tar")
    assert shard["prov:wasDerivedFrom"]["prov:label"] == "condition shard a.tar, records 2 to 2"


def test_several_licenses_are_all_named(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [[*written(0), *written(1, source_license="mine"), *written(2, source_license="")]])
    write_description(str(tmp_path), plan, read_index(str(tmp_path)))
    assert document(tmp_path)["license"] == ["https://spdx.org/licenses/CC0-1.0.html", "mine", "unknown"]


def test_restrictions_of_the_bundle_are_named(tmp_path: Path) -> None:
    plan = replace(fake_build(tmp_path, [written(0)]), bundle_licenses=("creativeml-openrail-m", "mit"))
    write_description(str(tmp_path), plan, read_index(str(tmp_path)))
    found, url = document(tmp_path), RESTRICTED_USE["creativeml-openrail-m"]
    assert found["license"] == [url, "https://spdx.org/licenses/CC0-1.0.html"]
    assert found["usageInfo"] == [url]
    assert found["prov:wasDerivedFrom"][1]["prov:label"].endswith("license creativeml-openrail-m + mit")
    assert not opened(tmp_path).metadata.ctx.issues.errors


def test_composites_are_declared(tmp_path: Path) -> None:
    plan = with_spec(fake_build(tmp_path, [written(0)]), sampling={"start_from": "photo"})
    write_description(str(tmp_path), plan, read_index(str(tmp_path)))
    assert plan.spec.sampling.source_type in document(tmp_path)["keywords"]
    assert plan.spec.sampling.source_type.endswith("/compositeWithTrainedAlgorithmicMedia")


def test_table_of_samples_is_read_row_by_row(two_split_build: Path) -> None:
    table = pq.read_table(two_split_build / "samples.parquet").to_pylist()
    records = list(opened(two_split_build).records("samples"))
    assert len(records) == len(table) == 10
    for record, row in zip(records, table, strict=True):
        assert record.keys() == {f"samples/{name}" for name in row}
        for name, value in row.items():
            found = record[f"samples/{name}"]
            assert (found.decode() if isinstance(found, bytes) else found) == value, name


def test_build_without_samples_is_described_too(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [rejected(n, "no map") for n in range(5)])
    write_description(str(tmp_path), plan, read_index(str(tmp_path)))
    assert not opened(tmp_path).metadata.ctx.issues.errors
    records = list(opened(tmp_path).records("samples"))
    assert [record["samples/status"] for record in records] == [b"rejected"] * 10
    assert [node["@id"] for node in document(tmp_path)["distribution"]] == ["samples.parquet"]
