"""The actor's lasting engine: what dies once is built anew, and what it makes then are the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.conditions.readers.source import list_shards
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.generation.generator import load_generator, start_engine
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.actors.restarting_engine import RestartingEngine
from dentgen.pipeline.plan import make_plan
from tests.conftest import small_spec


def test_an_engine_that_dies_once_gives_the_same_bytes(
    small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(small_spec(small_source, tmp_path / "out", conditions={"size": 64}, sampling={"steps": 2}))
    generator, (shard, _) = load_generator(plan), list_shards(str(small_source))
    whole = generate_unit(generator, plan.units[0], shard, start_engine(generator).run)
    tick = DiffusionEngine.tick
    died: list[DiffusionEngine] = []

    def dies_once(self: DiffusionEngine) -> object:
        if not died:
            died.append(self)
            raise MemoryError("planted")
        return tick(self)

    lasting = RestartingEngine(generator)
    monkeypatch.setattr(DiffusionEngine, "tick", dies_once)
    again = generate_unit(generator, plan.units[0], shard, lasting.run)
    assert died
    assert not lasting.dead
    assert again.shard == whole.shard
