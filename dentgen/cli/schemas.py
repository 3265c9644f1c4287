"""JSON Schemas of the documents that dentgen reads and writes, exported from their Python types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from dentgen.conditions.labels import DRAWN_CLASSES, FDI_NUMBERS, SEG_CLASSES
from dentgen.conditions.lesion_map import LESION_COLOURS, LESIONS
from dentgen.documents.conditions import ConditionMetadata
from dentgen.documents.index import DatasetIndex, SealRecord, TickRecord
from dentgen.documents.lease import LeaseRecord
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleMetadata
from dentgen.shards.plan_file import PlanHead
from dentgen.spec.build import BuildSpec
from dentgen.spec.train import TRAIN_SPEC

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final[dict[str, type[BaseModel]]] = {
    "build-spec": BuildSpec,
    "condition-record": ConditionMetadata,
    "sample": SampleMetadata,
    "ledger-record": LedgerRecord,
    "plan": PlanHead,
    "index": DatasetIndex,
    "lease": LeaseRecord,
    "seal": SealRecord,
    "tick": TickRecord,
}


def schema_documents() -> dict[str, dict[str, Any]]:
    """File name to content of every schema and of the label maps."""
    documents = {
        f"{name}.schema.json": {"$schema": _DIALECT, **kind.model_json_schema()} for name, kind in _TYPES.items()
    }
    documents["train-spec.schema.json"] = {"$schema": _DIALECT, **TRAIN_SPEC.json_schema()}
    documents["labels.json"] = {
        "seg": {str(value): name for value, name in SEG_CLASSES.items()},
        "fdi": sorted(FDI_NUMBERS),
        "palette": {SEG_CLASSES[value]: colour for value, colour in DRAWN_CLASSES.items()},
        "lesion": {str(value): name for value, name in LESIONS.items()},
        "lesion_palette": {LESIONS[value]: colour for value, colour in LESION_COLOURS.items()},
    }
    return documents


def export_schemas(folder: Path) -> list[Path]:
    """Write every schema; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, document in schema_documents().items():
        path = folder / name
        path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
        written.append(path)
    return written
