"""A small build whose gate half of the pictures fail at first, for tests of builds and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from dentgen.pipeline.run import build
from dentgen.shards.layout import SAMPLES
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar
from tests.generation.gated import OFF

Members = dict[str, dict[str, bytes]]
RECORDS: Final = 4


def gated_source(folder: Path, members: Members) -> Path:
    """Four records in one shard."""
    write_tar(folder / "a.tar", dict(sorted(members.items())[:RECORDS]))
    return folder


def gated_spec(source: Path, out: Path, gate: dict[str, Any]) -> BuildSpec:
    """Twelve pictures in four units."""
    return small_spec(
        source, out, quality={"gate": gate, "max_rejected": 1.0}, sampling={"steps": 2, "variants": 3, "seed": 1},
        engine={"slots": 6}, pipeline={"samples_per_shard": 3},
    )  # fmt: skip


def median_luminance(source: Path, out: Path) -> float:
    """A luminance that half of the pictures reach, rounded as they are; measured by a build without limits."""
    build(gated_spec(source, out, {"limits": OFF}), use_ray=False)
    return round(float(np.median(pq.read_table(out / SAMPLES)["gate_luminance"].to_numpy())), 4)


def gate_of(median: float, **settings: Any) -> dict[str, Any]:
    """A gate with that limit alone, which makes failing pictures once more."""
    return {"limits": {**OFF, "luminance": {"least": median}}, "retry": 1, **settings}
