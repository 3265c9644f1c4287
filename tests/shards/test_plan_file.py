"""A plan that was damaged says so when it is read, not when a command uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import plan_bytes, read_plan
from dentgen.shards.tar import json_bytes
from dentgen.spec.build import BuildSpec

SPEC = BuildSpec()
UNITS = tuple(Unit(id=n, shard="a.tar", start=n, stop=n + 1, records=1, shard_bytes=9) for n in range(2))
PLAN = Plan(
    segment=0, spec=SPEC.model_dump(mode="json"), spec_digest="s", bundle_digest="b", environment={}, units=UNITS
)

DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a spec that is none": lambda plan: plan["spec"]["sampling"].update(steps=-1),
    "no variants": lambda plan: plan["spec"].pop("sampling"),
    "units out of order": lambda plan: plan["units"].reverse(),
    "a unit that ends before it starts": lambda plan: plan["units"][1].update(start=7),
    "a name that no terminal shows": lambda plan: plan.update({"\x1b[31m": 1}),
    "many things": lambda plan: plan["units"].extend([{}] * 50),
}


def write(out: Path, plan: dict[str, Any]) -> str:
    (out / "plan").mkdir()
    (out / "plan" / "000000.json").write_bytes(json_bytes(plan))
    return str(out)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_plan(write(tmp_path, PLAN.model_dump(mode="json"))) == PLAN


def test_what_an_older_spec_lacks_has_its_default(tmp_path: Path) -> None:
    plan = PLAN.model_dump(mode="json")
    del plan["spec"]["output"]["image_format"]
    assert read_plan(write(tmp_path, plan)) == PLAN


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(case: str, tmp_path: Path) -> None:
    plan = json.loads(json.dumps(PLAN.model_dump(mode="json")))
    DAMAGE[case](plan)
    with pytest.raises(BuildError, match=r"plan/000000\.json: found no readable plan") as caught:
        read_plan(write(tmp_path, plan))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_plan_is_written_unit_by_unit_as_any_document(count: int) -> None:
    units = tuple(unit.model_copy(update={"duplicates": (1, 2), "problem": 'a\nb "ä"'}) for unit in UNITS[:count])
    plan = PLAN.model_copy(update={"units": units})
    assert plan_bytes(plan) == json_bytes(plan.model_dump(mode="json"))
