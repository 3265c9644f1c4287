"""The rows of a build's Dataset: one block a unit, which holds its place among the pending ones.

Refuses to know what a unit is.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

#: What making a number reserves. ``ray.data.range`` reserves a whole CPU a task: on a machine with one to spare,
#: nothing was committed before the last number was made, in a build of 10,000 units for more than five minutes.
_CPUS: Final = 0.25
_SCHEMA: Final = pa.schema([("id", pa.int64())])


def unit_rows(count: int) -> ray.data.Dataset:
    """The numbers from 0 as rows ``id``, a block each, made one at a time while units are."""
    return ray.data.read_datasource(_Places(count), num_cpus=_CPUS, concurrency=1, override_num_blocks=count)


class _Places(Datasource):
    def __init__(self, count: int) -> None:
        self._count = count

    def estimate_inmemory_data_size(self) -> int:
        return 8 * self._count

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None) -> Any:
        del parallelism, data_context  # one block a unit, whatever Ray thinks of it
        about = BlockMetadata(num_rows=1, size_bytes=8, input_files=None, exec_stats=None)
        return [
            ReadTask(partial(_block, place), about, schema=_SCHEMA, per_task_row_limit=per_task_row_limit)
            for place in range(self._count)
        ]


def _block(place: int) -> list[pa.Table]:
    return [pa.table({"id": [place]}, schema=_SCHEMA)]
