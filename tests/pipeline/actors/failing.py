"""A plan of three units without any map, and a backend that fails at the second and dies at the third."""

from __future__ import annotations

from pathlib import Path

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult, committed_units
from dentgen.shards.plan import Plan
from dentgen.shards.tar import tar_bytes
from tests.conftest import small_spec


class FailingBackend(InstantBackend):
    """Fails at one unit, and is dead from another one on."""

    @property
    def dead(self) -> bool:  # type: ignore[override]
        """As an engine that died twice."""
        return self._dead

    _dead = False

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        if unit.id == 1:
            raise BuildError("planted", key=f"unit {unit.name}")
        if unit.id == 2:
            self._dead = True
            raise MemoryError("planted")
        return super().make(unit, crashes)


def failing_plan(folder: Path) -> Plan:
    """A plan of three units."""
    (folder / "conditions").mkdir()
    (folder / "conditions" / "a.tar").write_bytes(tar_bytes((f"r{number}", {"json": b"{}"}) for number in range(3)))
    sections: dict[str, dict[str, object]] = {"sampling": {"variants": 1}, "pipeline": {"samples_per_shard": 1}}
    return make_plan(small_spec(folder / "conditions", folder / "out", **sections))


def check_outcomes(found: dict[int, UnitOutcome], out: str) -> None:
    """One unit is committed, the errors of the others travelled."""
    assert (found[0].samples, found[0].error, found[0].attempt) == (1, "", 1)
    assert found[0].bytes > 0
    assert "unit 000001" in found[1].error
    assert "Traceback" not in found[1].error
    assert "MemoryError" in found[2].error
    assert found[2].fatal, "the backend is dead"
    assert committed_units(out) == {"000000"}
