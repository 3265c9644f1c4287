"""The instant backend: a valid unit of one text sample, and no heavy import."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.benchmark.instant_backend import InstantBackend, commit_nothing
from dentgen.documents.units import Unit
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import digest_of
from dentgen.shards.plan import BuildLocation
from tests.conftest import small_spec, write_tar
from tests.report.fake_builds import fake_plan
from tests.test_layout import imported


def test_an_instant_unit_is_one_text_sample(tmp_path: Path) -> None:
    write_tar(tmp_path / "conditions" / "a.tar", {"r0": {"json": b"{}"}, "r1": {"json": b"{}"}})
    spec = small_spec(tmp_path / "conditions", tmp_path / "out", sampling={"variants": 1})
    plan = make_plan(spec)
    unit, backend = plan.units[0], InstantBackend(plan, BuildLocation.of(spec))
    result = backend.make(unit, crashes=0)
    assert result.record.sha256 == digest_of(result.shard)
    assert result.record.bytes == len(result.shard)
    assert (result.record.unit, result.record.written) == (unit.id, 1)
    assert backend.describe(Beat("here")) == Beat("here")


def test_nothing_is_committed(tmp_path: Path) -> None:
    unit = Unit(id=8, shard="a.tar", start=0, stop=1, records=1, shard_bytes=1)
    result = InstantBackend(fake_plan(), BuildLocation("/in", str(tmp_path))).make(unit, crashes=0)
    assert commit_nothing(result, str(tmp_path), None, "text") == UnitOutcome(8, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_actor_with_it_is_light() -> None:
    """Hundreds of them fit on one machine; commit tasks import no more, for what they run is in the same module."""
    actors = ("pipeline.actors.pool_actor", "pipeline.actors.unit_maker", "benchmark.shared_process")
    assert imported("benchmark.instant_backend", *actors) == {"ray"}
    assert commit_nothing.__module__ == InstantBackend.__module__
