"""A plan of ten million samples: under a minute, and below a gigabyte with everything that is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.conditions.readers.source import list_shards
from dentgen.pipeline.source_index import write_source_index
from dentgen.pipeline.units import cut_units
from tests.conftest import ROOT, small_spec

SHARDS, RECORDS, RECORD_BYTES = 2500, 1000, 20480

#: In a process of its own, whose memory is that of a driver.
SCRIPT = """
import re, sys, time
from pathlib import Path
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.spec import BuildSpec
spec = BuildSpec.model_validate({"source": {"path": sys.argv[1]}, "output": {"path": sys.argv[2]}})
began = time.monotonic()
plan = adopt_plan(spec.output.path, make_plan(spec))
seconds = time.monotonic() - began
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # getrusage counts the parent's too
print(plan.planned, len(plan.units), seconds, 1024 * int(peak[1]))
"""


def record_index(number: int) -> ShardIndex:
    keys = tuple(f"patient-{number:06d}-{position:04d}" for position in range(RECORDS))
    return ShardIndex(keys, None, tuple(range(0, (RECORDS + 1) * RECORD_BYTES, RECORD_BYTES)))


@pytest.mark.slow
def test_ten_million_samples_are_planned_in_a_minute_and_a_gigabyte(tmp_path: Path) -> None:
    """The source is indexed beforehand; its shards are as large as the index says, but hold nothing."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for number in range(SHARDS):
        with (source / f"{number:06d}.tar").open("wb") as file:
            file.truncate(RECORDS * RECORD_BYTES)
    indexes = [record_index(number) for number in range(SHARDS)]
    write_source_index(str(out / "plan" / "source.parquet"), list_shards(str(source)), indexes)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source), str(out)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    planned, units, seconds, peak = run.stdout.split()
    print(f"{units} units in {float(seconds):.1f} s, {int(peak) / 1e6:.0f} MB")  # noqa: T201
    assert int(planned) == 4 * SHARDS * RECORDS
    assert float(seconds) < 60
    assert int(peak) < 2**30


def test_duplicates_are_found_across_shards_in_any_order(tmp_path: Path) -> None:
    """Only keys whose hashes come twice are looked at; the first one stays, all others are named."""
    indexes = [ShardIndex(("a", "b"), None), ShardIndex(("b", "c", "b"), None), ShardIndex(("d", "a"), None)]
    shards = [ConditionShard(str(number), str(number), "parquet", 1, "") for number in range(3)]
    units = list(cut_units(shards, indexes, small_spec(tmp_path, tmp_path, sampling={"variants": 1})))
    assert [unit.duplicates for unit in units] == [(), (0, 2), (1,)]
    assert [unit.id for unit in units] == [0, 1, 2]
