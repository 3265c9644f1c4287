"""A plan of ten million samples: under a minute, and far below a gigabyte with everything that is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dentgen.conditions.readers.raw import ShardIndex
from dentgen.conditions.readers.source import list_shards
from dentgen.pipeline.source_index import write_source_index
from tests.conftest import ROOT

SHARDS, RECORDS, RECORD_BYTES = 2500, 1000, 20480

#: In a process of its own, whose memory is that of a driver.
SCRIPT = """
import re, sys, time
from pathlib import Path
from dentgen.pipeline.plan import adopt_plan, draft_plan
from dentgen.spec.build import BuildSpec

def kilobytes(name):  # getrusage counts the parent's too
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

spec = BuildSpec.model_validate({"source": {"path": sys.argv[1]}, "output": {"path": sys.argv[2]}})
imported, began = kilobytes("VmRSS"), time.process_time()
plan = adopt_plan(spec.output.path, draft_plan(spec))
print(plan.planned, len(plan.units), time.process_time() - began, 1024 * imported, 1024 * kilobytes("VmHWM"))
"""


def record_index(number: int) -> ShardIndex:
    keys = tuple(f"patient-{number:06d}-{position:04d}" for position in range(RECORDS))
    return ShardIndex(keys, None, tuple(range(0, (RECORDS + 1) * RECORD_BYTES, RECORD_BYTES)))


@pytest.mark.slow
def test_ten_million_samples_are_planned_in_a_minute_far_below_a_gigabyte(tmp_path: Path) -> None:
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
    planned, units, seconds, imported, peak = map(float, run.stdout.split())
    size = (out / "plan" / "000000.units.parquet").stat().st_size
    print(  # noqa: T201
        f"{units:.0f} units in {seconds:.1f} s of the processor, {size / 1e6:.1f} MB on the disk; "
        f"imports {imported / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB"
    )
    assert planned == 4 * SHARDS * RECORDS
    assert seconds < 60
    assert peak - imported < 450e6, "measured: 331 MB, most of it the keys of the source"
    assert peak < 1e9
    assert size < 5e6
