"""The pipeline's overhead: builds whose units take no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.benchmark.overhead import benchmark_overhead
from dentgen.errors import SpecError
from dentgen.pipeline.actors.workers import Workers
from dentgen.pipeline.make_units import make_units
from dentgen.pipeline.plan import adopt_plan, draft_plan
from dentgen.shards.index import seal
from dentgen.shards.index_reader import read_index
from dentgen.shards.lease import hold_lease
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan import BuildLocation
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT, small_spec, write_tar

UNITS = 150


def ignore(*_: object) -> None:
    """Neither log nor progress."""


@pytest.mark.parametrize("counts", [[100], [1, 50]])
def test_fewer_than_two_builds_of_two_units_are_rejected(tmp_path: Path, counts: list[int]) -> None:
    spec = read_spec(ROOT / "jobs" / "specs" / "demo.yaml")
    with pytest.raises(SpecError) as caught:
        benchmark_overhead(spec, str(tmp_path), counts, 1, log=ignore, progress=ignore)
    assert caught.value.key == "--units"
    assert caught.value.found == ", ".join(map(str, counts))


@pytest.mark.ray
@pytest.mark.slow
def test_units_are_committed_while_others_are_generated(tmp_path: Path, ray_local: None) -> None:
    """Whatever else Ray schedules, commits must get their share; a kill loses what is not committed."""
    write_tar(tmp_path / "conditions" / "a.tar", {f"r{number}": {"json": b"{}"} for number in range(UNITS)})
    out = str(tmp_path / "out")
    spec = small_spec(
        tmp_path / "conditions", tmp_path / "out", sampling={"variants": 1}, pipeline={"samples_per_shard": 1}
    )
    plan = adopt_plan(out, draft_plan(spec))
    workers = Workers(settings=spec.pipeline, backend=InstantBackend)
    with hold_lease(out, spec.pipeline.lease_seconds) as lease:
        make_units(plan, plan.units, BuildLocation.of(spec), workers, lease)
    index = seal(out, plan)
    assert (index.planned, index.written, len(index.shards)) == (UNITS, UNITS, UNITS)
    records = read_ledgers(out, (unit.name for unit in plan.units))
    timings = [record.timing for record in records if record.timing is not None]
    assert min(timing.committed for timing in timings) < max(timing.started for timing in timings)


@pytest.mark.ray
@pytest.mark.slow
def test_builds_of_every_size_are_measured(tmp_path: Path) -> None:
    spec, done = read_spec(ROOT / "jobs" / "specs" / "demo.yaml"), []
    figures = benchmark_overhead(
        spec, str(tmp_path / "work"), [20, 60], 1, log=ignore, progress=lambda *counts: done.append(counts)
    )
    assert done == [(0, 80), (20, 80), (80, 80)]
    assert set(figures["ratios"]) == {"60_over_20"}
    assert set(figures["seconds_per_unit"]["60"]) == {"plan", "make", "seal"}
    for count in (20, 60):
        out = tmp_path / "work" / f"{count}-0" / "out"
        assert read_index(str(out)).written == count
        assert len(list((out / "shards").glob("*.tar"))) == count
