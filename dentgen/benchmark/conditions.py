"""Benchmark of rendering and preparing condition records, per second of one core's time, so that rates add over cores.

Rendering is what ``dentgen phantom`` does per record. Preparation is everything between a condition shard and the
engine: read, decode, check, fit, blend.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import control_image, fit_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.render import render_patient
from dentgen.phantom.shards import PhantomSet, phantom_members, write_phantoms
from dentgen.records import ConditionName

#: Images per second that one fast GPU generates; preparation must keep up.
PICTURES_PER_SECOND: Final = 60
_SEED: Final = 7004
_RECORDS: Final = 20
_USED: Final[tuple[ConditionName, ...]] = ("segmentation", "lighting")


def benchmark_conditions(sizes: Sequence[int], rounds: int, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Measure rendering and preparation at several sizes.

    Args:
        sizes: Edges of the maps, pixels.
        rounds: Repetitions of each measurement.
        progress: Called with finished and planned measurements.

    Returns:
        ``experiments``, one per size: records per core second (median, lowest and highest round), and ``ratios``, among
        them the number of cores that keep one GPU busy.
    """
    experiments: list[dict[str, Any]] = []
    planned = 2 * rounds * len(sizes)
    done = count(1)
    progress(0, planned)

    def measure(records: Iterator[object]) -> float:
        rate = _rate(records)
        progress(next(done), planned)
        return rate

    for size in sizes:
        rendered = [measure(_render(size, number)) for number in range(rounds)]
        with TemporaryDirectory() as folder:
            write_phantoms(folder, PhantomSet(_RECORDS, _SEED, size, _RECORDS), workers=1)
            prepared = [measure(_prepare(Path(folder), size)) for _ in range(rounds)]
        experiments.append(_experiment(size, rendered, prepared))
    return {"experiments": experiments}


def _experiment(size: int, rendered: list[float], prepared: list[float]) -> dict[str, Any]:
    preparation = statistics.median(prepared)
    return {
        "size": size,
        "rendered_per_core_second": _spread(rendered),
        "prepared_per_core_second": _spread(prepared),
        "ratios": {
            f"cores_that_prepare_for_{PICTURES_PER_SECOND}_pictures_a_second": round(
                PICTURES_PER_SECOND / preparation, 2
            ),
            "with_4_variants_a_record": round(PICTURES_PER_SECOND / 4 / preparation, 2),
            "render_over_prepare": round(preparation / statistics.median(rendered), 1),
        },
    }


def _spread(rates: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(rates), 2), "lowest": round(min(rates), 2), "highest": round(max(rates), 2),
    }  # fmt: skip


def _rate(records: Iterator[object]) -> float:
    """Records per second of process time, which includes this process's threads and excludes other processes."""
    began = time.process_time()
    number = sum(1 for _ in records)
    return number / (time.process_time() - began)


def _render(size: int, number: int) -> Iterator[object]:
    for phantom in render_patient(_SEED, number, size, VIEWS):
        yield phantom_members(phantom)


def _prepare(folder: Path, size: int) -> Iterator[object]:
    for shard in list_shards(str(folder)):
        for raw in read_records(shard):
            record = fit_record(decode_record(raw, _USED, with_photo=False), (size, size), "pad")
            yield control_image(record, _USED, 0.3)
