"""``dentgen plan``: what it counts, and what it says of time and money."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.running import Finished
from tests.conftest import small_spec


@pytest.mark.integration
def test_a_plan_names_hours_and_money_of_the_build_and_of_a_million(
    small_source: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(small_source, tmp_path / "out").model_dump(mode="json")))
    run = here("plan", str(spec), "--price", "2")
    assert run.returncode == 0, run.stderr
    assert "2 condition shards, 5 records\n3 units, 10 samples\n" in run.stdout
    found = re.search(r"a million samples: (\S+) CPU hours, (\S+) at 2 an hour", run.stdout)
    assert found is not None
    hours, money = (float(text.replace(",", "")) for text in found.groups())
    assert hours > 0
    assert abs(money - 2 * hours) <= 0.01 * hours
    assert re.search(r"^this build: \S+ CPU hours, \S+ at 2 an hour$", run.stdout, re.MULTILINE)
    assert not (tmp_path / "out").exists(), "a plan writes nothing"
    without = here("plan", str(spec), "--no-measure")
    assert "hours" not in without.stdout
