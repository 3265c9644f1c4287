"""The small build that is disturbed: six units of two samples, 64 pixels, one step."""

from __future__ import annotations

from pathlib import Path

from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec


def matrix_spec(source: Path, out: Path | str) -> BuildSpec:
    """One record in two variants a unit, one step of 64 pixels."""
    spec = small_spec(
        source, Path("out"), conditions={"size": 64}, sampling={"variants": 2, "seed": 5, "steps": 1},
        engine={"slots": 2}, pipeline={"samples_per_shard": 2, "stall_seconds": 15},
    )  # fmt: skip
    return spec.model_copy(update={"output": spec.output.model_copy(update={"path": str(out)})})
