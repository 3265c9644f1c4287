"""``dentgen pairs``: its summary adds up, and other limits filter what was drawn."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app


@pytest.mark.slow
def test_panels_are_drawn_filtered_and_counted(small_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--count", "2", "--lights", "2", "--layout", "row", "--set", "conditions.size=64"]
    options += ["--set", "sampling.steps=1", "--set", "engine.slots=2"]
    run = CliRunner().invoke(app, ["pairs", str(small_source), str(out), *options])
    assert run.exit_code == 0, run.output
    found = re.search(r"layout row: (\d+) panels planned = (\d+) accepted \+ (\d+) rejected", run.stdout)
    assert found is not None
    planned, accepted, rejected = map(int, found.groups())
    assert planned == 4 == accepted + rejected
    assert sum(map(int, re.findall(r"rejected for \w+: (\d+)", run.stdout))) == rejected
    drawn = (out / "panels" / "a.tar").read_bytes()
    strict = CliRunner().invoke(app, ["pairs", str(small_source), str(out), *options, "--least-miou", "1"])
    assert strict.exit_code == 0, strict.output
    assert "0 accepted + 4 rejected" in strict.stdout
    assert (out / "panels" / "a.tar").read_bytes() == drawn
    assert pq.read_table(out / "pairs.parquet").num_rows == 0
