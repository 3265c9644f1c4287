"""Exported schemas describe what is written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from dentgen.cli.schemas import export_schemas, schema_documents
from dentgen.documents.conditions import ConditionMetadata
from dentgen.shards.plan_file import PlanHead
from dentgen.spec.build import BuildSpec


def test_every_document_is_exported_as_a_valid_schema(tmp_path: Path) -> None:
    files = export_schemas(tmp_path / "schemas")
    names = {path.name.removesuffix(".schema.json") for path in files if path.name != "labels.json"}
    assert names == {
        "build-spec",
        "train-spec",
        "condition-record",
        "sample",
        "ledger-record",
        "plan",
        "index",
        "lease",
        "seal",
        "tick",
    }
    for path in files:
        if path.name != "labels.json":
            jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_schemas_accept_and_refuse_like_the_types() -> None:
    head = PlanHead(
        segment=0, spec=BuildSpec(), spec_digest="s", bundle_digest="b", environment={}, num_units=0, units_sha256=""
    ).model_dump(mode="json")
    validator = jsonschema.Draft202012Validator(schema_documents()["plan.schema.json"])
    assert validator.is_valid(head)
    assert not validator.is_valid({**head, "num_units": -1})
    metadata = jsonschema.Draft202012Validator(schema_documents()["condition-record.schema.json"])
    assert metadata.is_valid(ConditionMetadata(view="frontal", caries="2").model_dump(mode="json"))
    assert metadata.is_valid({"caries": 2, "braces": True})


def test_labels_are_listed_with_their_palette() -> None:
    labels = schema_documents()["labels.json"]
    assert labels["seg"]["2"] == "tooth"
    assert {11, 48, 85} <= set(labels["fdi"])
    assert set(labels["palette"]) <= set(labels["seg"].values())
    assert len({tuple(colour) for colour in labels["palette"].values()}) == len(labels["palette"])
