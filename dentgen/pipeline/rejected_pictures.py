"""Pictures that the gate of a finished build rejected, made again: shards hold none of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.quarantine import find_crashing_records
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import EMPTY_QUARANTINE
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.samples import RejectedSample
from dentgen.generation.threads import torch_threads
from dentgen.generation.unit import gate_rejects
from dentgen.pipeline.repair_units import require_environment, unpinned
from dentgen.shards.ledger_table import read_records
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.rejections import reason_class


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
        for number, (unit, record) in enumerate(units, start=1):
            if unit.shard not in shards:
                raise BuildError(file=location.source, found=f"no condition shard {unit.shard}", expected="it there")
            shard = shards[unit.shard]
            # a record that crashed a process of the build would crash this one
            crashed = any(reason_class(sample.reason) == "crashed_reader" for sample in record.samples)
            quarantine = find_crashing_records(plan.spec, unit, shard) if crashed else EMPTY_QUARANTINE
            made = gate_rejects(plan, generator, unpinned(unit), shard, engine.run, quarantine)
            found |= _as_recorded(record, keys, made)
            progress(number, len(units))
    return found


def _units_of(out: str, plan: Plan, keys: Collection[str]) -> list[tuple[Unit, LedgerRecord]]:
    """Units with some of the keys, and their commit records."""
    records = zip(plan.units, read_records(out, plan), strict=True)
    return [(unit, record) for unit, record in records if any(sample.key in keys for sample in record.samples)]


def _as_recorded(
    record: LedgerRecord, keys: Collection[str], made: Iterable[RejectedSample]
) -> dict[str, NDArray[np.uint8]]:  # fmt: skip
    """Pictures of a unit's samples that were asked for, whose fingerprints must be those of its commit record."""
    found = {one.request.key: one for one in made}
    pictures = {}
    for sample in record.samples:
        if sample.key not in keys or sample.gate is None:
            continue
        one = found.get(sample.key)
        shown = "" if one is None or one.gate is None else one.gate.fingerprint
        if one is None or one.picture is None or shown != sample.gate.fingerprint:
            raise BuildError(
                key=sample.key, found=f"a picture with fingerprint {shown}" if shown else "a picture that passes",
                expected=f"fingerprint {sample.gate.fingerprint}, as in the ledger",
            )  # fmt: skip
        pictures[sample.key] = one.picture
    return pictures
