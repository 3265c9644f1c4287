"""One tick of a dataset of a thousand segments and a million units is planned in half a minute, in flat memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

#: Condition shards of a segment, units of a shard, records of a unit.
SHARDS, UNITS, RECORDS = 10, 100, 16

#: In a process of its own, whose memory is that of a driver: write the plan segments, source indexes and seals of a
#: dataset that has grown, and a source whose files are as large as they say and hold nothing; or plan the next tick.
SCRIPT = """
import io, re, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dentgen.conditions.readers.raw import ShardIndex
from dentgen.documents.index import SealRecord
from dentgen.pipeline import grow, source_changes
from dentgen.pipeline.plan import plan_without_units, standing_plan
from dentgen.pipeline.source_index import _SCHEMA, PackedIndexes
from dentgen.shards import layout
from dentgen.shards.pending import pending_units
from dentgen.shards.plan_file import plan_head
from dentgen.shards.tar import json_bytes
from dentgen.shards.packed_units import SCHEMA
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

out, source, stage = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
segments, shards, units, records = map(int, sys.argv[4:])
spec = BuildSpec.model_validate({"source": {"path": str(source)}, "output": {"path": str(out)}})
RECORD_BYTES = 20480

def kilobytes(name):  # getrusage counts the parent's too
    return int(re.search(name + r":\\\\s+(\\\\d+) kB", Path("/proc/self/status").read_text())[1])

def name(segment, shard):
    return f"day-{segment:04d}-{shard:02d}.tar"

def table(segment):
    rows = shards * units
    first, within = segment * rows, np.tile(np.arange(units), shards)
    names = [name(segment, n // units) for n in range(rows)]
    columns = {
        "id": np.arange(first, first + rows), "shard": names, "start": within * records, "stop": (within + 1) * records,
        "records": np.full(rows, records), "shard_bytes": np.full(rows, units * records * RECORD_BYTES),
        "duplicates": [[]] * rows, "repeats": [[]] * rows, "first_byte": within * records * RECORD_BYTES,
        "end_byte": (within + 1) * records * RECORD_BYTES, "problem": [""] * rows, "problem_key": [""] * rows,
        "shard_tag": ["1.0"] * rows, "shard_content": ["sha256:" + "c" * 64] * rows,
    }
    rows = pa.table({f.name: pa.array(columns[f.name], f.type) for f in SCHEMA}, schema=SCHEMA)
    return UnitTable.of_tables([rows], first)

def source_table(segment):
    keys = [[b"patient-%06d-%06d" % (segment * shards + s, n) for n in range(units * records)] for s in range(shards)]
    offsets = list(range(0, (units * records + 1) * RECORD_BYTES, RECORD_BYTES))
    columns = {
        "name": [name(segment, s) for s in range(shards)], "size": [units * records * RECORD_BYTES] * shards,
        "tag": ["1.0"] * shards, "keys": keys, "splits": [None] * shards, "attributes": [None] * shards,
        "offsets": [offsets] * shards, "problem": [""] * shards, "problem_key": [""] * shards,
        "content": ["sha256:" + "c" * 64] * shards,
    }
    return pa.table({f.name: pa.array(columns[f.name], f.type) for f in _SCHEMA}, schema=_SCHEMA)

def write(place, content):
    (out / place).parent.mkdir(parents=True, exist_ok=True)
    (out / place).write_bytes(content)

def prepare():
    import os
    one = plan_without_units(spec)
    source.mkdir()
    for segment in range(segments + 1):
        for shard in range(shards):
            with (source / name(segment, shard)).open("wb") as file:
                file.truncate(units * records * RECORD_BYTES)
            os.utime(source / name(segment, shard), (1, 1))
    for segment in range(segments):
        rows = table(segment)
        base = "0" * 64 if segment else ""
        plan = replace(one, segment=segment, units=rows, firsts=(segment * len(rows),), base_sha256=base)
        content = rows.to_parquet()
        write(layout.plan_units(segment), content)
        write(layout.plan_head(segment), plan_head(plan, content))
        buffer = io.BytesIO()
        pq.write_table(source_table(segment), buffer, compression="zstd", write_page_checksum=True)
        write(layout.source_index(segment), buffer.getvalue())
        seal = SealRecord(version=segment, segment=segment, units=0, planned=0, written=0, rejected=0, shards=0,
                          bytes=0, plan_sha256="", index_sha256="", ledger_sha256="")
        write(layout.versioned(segment, layout.SEAL), json_bytes(seal.model_dump(mode="json")))

def index_new(new, *_, **__):  # the new shards hold nothing; each is said to have a key that is there already
    packed = PackedIndexes()
    offsets = tuple(range(0, (units * records + 1) * RECORD_BYTES, RECORD_BYTES))
    for number, _ in enumerate(new):
        keys = [f"new-{number}-{n}" for n in range(1, units * records)]
        packed.pack([ShardIndex((f"patient-{number:06d}-000007", *keys), None, offsets)])
    return packed

if stage == "prepare":
    prepare()
    sys.exit()
imported, began = kilobytes("VmRSS"), time.process_time()
marks = {}
def mark(what):
    marks[what] = time.process_time() - began - sum(marks.values())
place = str(out)
plan = standing_plan(place, spec)
mark("plan and environment")
pending = pending_units(place, plan)
mark("pending")
changes = source_changes.source_changes(place, spec, plan)
source_changes.require_acceptable(place, plan, changes, pending, "refuse")
mark("source")
idle = time.process_time() - began
grow.index_source = index_new
grown = grow.grow_plan(place, spec, plan, changes, "refuse")
mark("growth")
duplicates = sum(len(unit.duplicates) for unit in grown.newest_units)
print({what: round(seconds, 1) for what, seconds in marks.items()}, file=sys.stderr)
print(len(plan.units), len(pending), len(changes.new), grown.segment, grown.total_units, duplicates,
      idle, time.process_time() - began, 1024 * imported, 1024 * kilobytes("VmHWM"))
"""


def run(folder: Path, stage: str, segments: int) -> tuple[list[float], str]:
    numbers = (segments, SHARDS, UNITS, RECORDS)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("\\\\", "\\"), str(folder / "out"), str(folder / "in"), stage,
         *map(str, numbers)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [float(number) for number in ran.stdout.split()], ran.stderr.splitlines()[-1] if ran.stderr else ""


@pytest.mark.long
@pytest.mark.parametrize("segments", [100, 1000])
def test_a_tick_of_a_million_units_is_planned_in_half_a_minute(segments: int, tmp_path: Path) -> None:
    run(tmp_path, "prepare", segments)
    (units, pending, new, segment, total, duplicates, idle, seconds, imported, peak), parts = run(
        tmp_path, "plan", segments
    )
    print(  # noqa: T201
        f"{segments} segments, {units:.0f} units: nothing new {idle:.1f} s, a new segment {seconds:.1f} s of the "
        f"processor ({parts}); imports {imported / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB"
    )
    assert (units, pending, new) == (segments * SHARDS * UNITS, 0, SHARDS)
    assert (segment, total, duplicates) == (segments, (segments + 1) * SHARDS * UNITS, SHARDS)
    assert seconds < 30
    assert peak - imported < 300e6 + 60 * units, "packed units, and nothing that grows with keys or samples"
