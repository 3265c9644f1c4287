"""The rows of a build's Dataset: one block per unit, with the unit as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from dentgen.documents.units import Unit
from dentgen.shards.unit_table import unit_of

#: What making a row reserves. ``ray.data.range`` reserves a whole CPU per task: on a machine with one to spare, a build
#: of 10,000 units committed nothing for more than five minutes, until the last row was made.
_CPUS: Final = 0.25
_SCHEMA: Final = pa.schema([("unit", pa.string())])


def unit_rows(units: Sequence[Unit]) -> ray.data.Dataset:
    """Units as rows, a block each, made one at a time while units are generated."""
    return ray.data.read_datasource(_Units(units), num_cpus=_CPUS, concurrency=1, override_num_blocks=len(units))


def unit_of_row(text: str) -> Unit:
    """The unit of a row's column ``unit``."""
    return unit_of(json.loads(text))


class _Units(Datasource):
    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = units

    def estimate_inmemory_data_size(self) -> int:
        return 256 * len(self._units)

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None) -> Any:
        del parallelism, data_context  # one block per unit, whatever parallelism Ray would choose
        about = BlockMetadata(num_rows=1, size_bytes=256, input_files=None, exec_stats=None)
        return [
            ReadTask(partial(_block, unit), about, schema=_SCHEMA, per_task_row_limit=per_task_row_limit)
            for unit in self._units
        ]


def _block(unit: Unit) -> list[pa.Table]:
    return [pa.table({"unit": [json.dumps(asdict(unit))]}, schema=_SCHEMA)]
