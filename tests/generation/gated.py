"""A unit with a gate, made in one process, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from dentgen.conditions.readers.source import list_shards
from dentgen.diffusion.canvas import Canvas, Sampled
from dentgen.documents.ledger import LedgerRecord
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.plan import make_plan
from dentgen.records import FIGURES
from dentgen.shards.reader import tar_samples
from tests.conftest import small_spec

#: Limits that nothing fails.
OFF: Final[dict[str, Any]] = dict.fromkeys(FIGURES)


def made(
    source: Path, out: Path, gate: dict[str, Any] | None, **sections: Any
) -> tuple[dict[str, dict[str, bytes]], LedgerRecord, list[list[str]]]:
    """Samples by key, commit record, and the keys of every call of the sampler."""
    plan = make_plan(small_spec(source, out, quality={"gate": gate}, **sections))
    generator = load_planned_generator(plan)
    engine, calls = start_engine(generator), list[list[str]]()

    def sampler(canvases: Iterable[Canvas]) -> Mapping[str, Sampled]:
        chunk = list(canvases)
        calls.append([canvas.key for canvas in chunk])
        return engine.run(chunk)

    result = generate_unit(plan, generator, plan.units[0], list_shards(str(source))[0], sampler)
    return dict(tar_samples(result.shard)) if result.shard else {}, result.record, calls
