"""What a build's pipeline does when the making of units takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.benchmark.overhead import InstantWorkshop
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.pipeline.run import make_units
from dentgen.shards.index import read_ledgers, seal
from dentgen.shards.lease import hold_lease
from tests.conftest import small_spec, write_tar

UNITS = 150


@pytest.mark.ray
def test_units_are_committed_while_others_are_made(tmp_path: Path, ray_local: None) -> None:
    """Whatever else Ray does for units to come, it must leave a commit what it needs; a kill loses the rest."""
    write_tar(tmp_path / "conditions" / "a.tar", {f"r{number}": {"json": b"{}"} for number in range(UNITS)})
    out = str(tmp_path / "out")
    spec = small_spec(
        tmp_path / "conditions", tmp_path / "out", sampling={"variants": 1}, pipeline={"samples_per_shard": 1}
    )
    plan = adopt_plan(out, make_plan(spec))
    with hold_lease(out, spec.pipeline.lease_seconds) as lease:
        make_units(plan, plan.units, spec, lease, use_ray=True, backend=InstantWorkshop)
    index = seal(out, plan)
    assert (index.planned, index.written, len(index.shards)) == (UNITS, UNITS, UNITS)
    timings = [record.timing for record in read_ledgers(out, plan) if record.timing is not None]
    assert min(timing.committed for timing in timings) < max(timing.started for timing in timings)
