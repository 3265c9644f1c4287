"""Pictures that the gate of a finished build rejected, made again: shards hold none of them."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.readers.source import list_shards
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.generation.generator import load_planned_generator, start_engine
from dentgen.generation.threads import torch_threads
from dentgen.generation.unit import gate_rejects
from dentgen.pipeline.repair_units import require_environment, unpinned
from dentgen.shards.ledger_table import read_records
from dentgen.shards.plan import BuildLocation, Plan


def remake_rejected(
    out: str, plan: Plan, keys: Collection[str], progress: Callable[[int, int], None] = lambda *_: None
) -> dict[str, NDArray[np.uint8]]:
    """Make the units again that some rejected samples are of; what a sample looks like is a function of the plan.

    Args:
        out: The finished build; its source must still be where its plan says.
        plan: Its plan.
        keys: Keys of samples that its gate rejected.
        progress: Called with units that are made and all that are.

    Returns:
        Pictures (H, W, 3) by key, as the gate saw them.

    Raises:
        BuildError: If a unit's condition shard is gone, or a sample comes out otherwise than its ledger record says.
        SpecChangedError: If this environment or bundle would give other pictures.
    """
    if not keys:
        return {}
    require_environment(plan)
    location, found = BuildLocation.of_plan(plan, out), dict[str, NDArray[np.uint8]]()
    plan = plan.at(location)
    shards = {shard.name: shard for shard in list_shards(location.source, plan.spec.source.format, log=False)}
    with torch_threads(plan.spec.engine.threads):
        generator = load_planned_generator(plan)
        engine, units = start_engine(generator), _units_of(out, plan, keys)
        for number, (unit, prints) in enumerate(units, start=1):
            if unit.shard not in shards:
                raise BuildError(file=location.source, found=f"no condition shard {unit.shard}", expected="it there")
            for sample in gate_rejects(plan, generator, unpinned(unit), shards[unit.shard], engine.run):
                if sample.request.key in prints and sample.picture is not None and sample.gate is not None:
                    _require_same(sample.request.key, sample.gate.fingerprint, prints[sample.request.key])
                    found[sample.request.key] = sample.picture
            progress(number, len(units))
    return found


def _units_of(out: str, plan: Plan, keys: Collection[str]) -> list[tuple[Unit, dict[str, str]]]:
    """Units with some of the keys, and what the ledger says of their fingerprints."""
    units = []
    for unit, record in zip(plan.units, read_records(out, plan), strict=True):
        if own := {s.key: s.gate.fingerprint for s in record.samples if s.key in keys and s.gate is not None}:
            units.append((unit, own))
    return units


def _require_same(key: str, found: str, expected: str) -> None:
    if found != expected:
        raise BuildError(key=key, found=f"a picture with fingerprint {found}", expected=f"{expected}, as in the ledger")
