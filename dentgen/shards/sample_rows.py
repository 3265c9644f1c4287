"""Rows of the table of samples, ``samples.parquet``: one a planned sample, written from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen.documents.ledger import LedgerRecord
from dentgen.records import ATTRIBUTES, FIGURES, GateResult
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes

#: Samples in memory while the table is written, and rows of its row groups.
_ROW_GROUP: Final = 16_384

#: One row a planned sample. Constants of the build are in every row too, so that the table can be filtered alone.
SAMPLE_SCHEMA: Final = pa.schema(
    [
        ("key", pa.string()),
        ("source_key", pa.string()),
        ("group", pa.string()),
        ("split", pa.string()),
        ("variant", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("shard", pa.string()),
        ("seed", pa.int64()),
        ("prompt", pa.string()),
        ("negative_prompt", pa.string()),
        ("scheduler", pa.string()),
        ("steps", pa.int32()),
        ("guidance_scale", pa.float64()),
        ("adapters", pa.string()),
        ("loras", pa.string()),
        ("bundle", pa.string()),
        ("bundle_digest", pa.string()),
        ("spec_digest", pa.string()),
        ("software", pa.string()),
        ("source_license", pa.string()),
        *((name, pa.string()) for name in ATTRIBUTES),
        ("teeth", pa.list_(pa.uint8())),
        ("findings", pa.list_(pa.string())),
        ("findings_found", pa.list_(pa.string())),
        ("findings_missed", pa.list_(pa.string())),
        ("reference", pa.string()),
        ("changed", pa.string()),
        ("light_level", pa.int32()),
        *((f"gate_{name}", pa.float64()) for name in FIGURES),
        ("gate_failed", pa.list_(pa.string())),
        ("fingerprint", pa.string()),
        ("retries", pa.int32()),
        ("synthetic", pa.bool_()),
    ]
)

#: Columns that tables of an earlier dentgen lack; readers take them as null.
ADDED_LATER: Final = frozenset({*(f"gate_{name}" for name in FIGURES), "gate_failed", "fingerprint", "retries"})


def write_samples(file: Path, plan: Plan, records: Iterable[LedgerRecord]) -> None:
    """Write the table; memory does not grow with the number of samples."""
    with pq.ParquetWriter(file, SAMPLE_SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for row in sample_rows(plan, records):
            rows.append(row)
            if len(rows) == _ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))


def sample_rows(plan: Plan, records: Iterable[LedgerRecord]) -> Iterator[dict[str, Any]]:
    """Rows of the table of samples."""
    constants = _constants(plan)
    for record in records:
        for sample in record.samples:
            yield {
                **constants,
                **sample.model_dump(exclude={"warnings", "attributes", "findings", "gate"}),
                **_gate_columns(sample.gate),
                "findings": [finding.kind for finding in sample.findings],
                "findings_found": [finding.kind for finding in sample.findings if finding.found is True],
                "findings_missed": [finding.kind for finding in sample.findings if finding.found is False],
                **{name: sample.attributes.get(name, "") for name in ATTRIBUTES},
                "shard": record.shard if sample.status == "written" else "",
            }


def _gate_columns(gate: GateResult | None) -> dict[str, Any]:
    """What the quality gate measured; null without a gate, or where nothing could be compared."""
    if gate is None:
        return {}
    figures = {f"gate_{name}": value for name, value in gate.figures.items()}
    return {**figures, "gate_failed": list(gate.failed), "fingerprint": gate.fingerprint}


def _constants(plan: Plan) -> dict[str, Any]:
    sampling, model = plan.spec.sampling, plan.spec.model
    return {
        "seed": sampling.seed,
        "negative_prompt": sampling.negative_prompt,
        "scheduler": sampling.scheduler_name,
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "adapters": json_bytes({**model.adapters, **model.controlnets}).decode().strip(),
        "loras": json_bytes(model.loras).decode().strip(),
        "bundle": plan.bundle_name,
        "bundle_digest": plan.bundle_digest,
        "spec_digest": plan.spec_digest,
        "software": json_bytes(plan.environment).decode().strip(),
        "synthetic": plan.synthetic,
    }
