"""An export that is interrupted at its second shard, for tests of what the next one does."""

from __future__ import annotations

from typing import Any

import pytest

from dentgen.export import run


def interrupt_second_shard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Interrupt the second reading of a shard; returns the list that all shards' names are added to."""
    real: Any = vars(run)["read_unit"]
    calls: list[str] = []

    def interrupted(place: str, unit: Any) -> Any:
        calls.append(unit.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(place, unit)

    monkeypatch.setattr(run, "read_unit", interrupted)
    return calls
