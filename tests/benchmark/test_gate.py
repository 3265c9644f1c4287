"""The benchmark of the gate: both builds write the same pictures, one of them judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.benchmark.gate import benchmark_gate
from dentgen.shards.dataset import open_dataset
from tests.conftest import small_spec, write_tar


@pytest.mark.ray
@pytest.mark.slow
def test_both_builds_write_the_same_pictures(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    write_tar(tmp_path / "conditions" / "a.tar", dict(sorted(demo_members.items())[:4]))
    limits = {"miou": {"least": 1.0}}  # everything fails, and is kept
    spec = small_spec(
        tmp_path / "conditions", tmp_path / "out", quality={"gate": {"limits": limits}},
        pipeline={"samples_per_shard": 2}, sampling={"variants": 4},
    )  # fmt: skip
    lines, steps = list[str](), list[tuple[int, int]]()
    figures = benchmark_gate(
        spec, str(tmp_path / "work"), 1, log=lines.append, progress=lambda *step: steps.append(step)
    )
    assert figures["ratios"]["seconds_gate_over_plain"] > 0
    assert all(0 < figures["ratios"][name] <= 1 for name in ("busy_plain", "busy_gate"))
    assert (len(lines), steps, figures["rounds"]) == (1, [(0, 1), (1, 1)], 1)
    plain, judged = (list(open_dataset(str(tmp_path / "work" / f"{name}-0"))) for name in ("plain", "gate"))
    assert len(plain) == len(judged) == 64
    assert all((one["image"] == other["image"]).all() for one, other in zip(plain, judged, strict=True))
