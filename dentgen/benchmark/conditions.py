"""How fast conditions are rendered and prepared, per core's own time, so that cores multiply it.

Rendering is what ``dentgen phantom`` does per record. Preparation is what stands between a condition shard and the
engine: read, decode, check, fit, blend. Refuses to know models.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
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

#: What one fast GPU makes of them, pictures a second; preparation must keep up.
PICTURES_PER_SECOND: Final = 60
_SEED: Final = 7004
_USED: Final[tuple[ConditionName, ...]] = ("segmentation", "lighting")


def benchmark_conditions(sizes: tuple[int, ...], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Records a second and core at every size, several rounds, and the cores that keep up with a GPU.

    Args:
        sizes: Edges of the maps, pixels.
        rounds: Of every measurement; medians are reported with the lowest and the highest.
        say: Told what is measured.
    """
    figures: dict[str, Any] = {"experiments": []}
    for size in sizes:
        say(f"rendering at {size} px")
        rendered = [_rate(_rendered(size, number)) for number in range(rounds)]
        say(f"preparation at {size} px")
        with TemporaryDirectory() as folder:
            write_phantoms(folder, PhantomSet(20, _SEED, size, 20), workers=1)
            prepared = [_rate(_prepared(Path(folder), size)) for _ in range(rounds)]
        figures["experiments"].append(_experiment(size, rendered, prepared))
    return figures


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
    """Records a second of this process's own processor time: other programs do not count, its threads do."""
    began = time.process_time()
    count = sum(1 for _ in records)
    return count / (time.process_time() - began)


def _rendered(size: int, number: int) -> Iterator[object]:
    for phantom in render_patient(_SEED, number, size, VIEWS):
        yield phantom_members(phantom)


def _prepared(folder: Path, size: int) -> Iterator[object]:
    for shard in list_shards(str(folder)):
        for raw in read_records(shard):
            record = fit_record(decode_record(raw, _USED, with_photo=False), size, "pad")
            yield control_image(record, _USED, 0.3)
