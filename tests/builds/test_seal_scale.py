"""Sealing, verifying and describing ten million samples: the driver's memory stays below two gigabytes.

A ledger of that size would be 22 GB, so two things are measured: memory at as many units, of one sample each, and how
it grows with the samples of a unit.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SAMPLES, PER_UNIT = 10_000_000, 64
UNITS = SAMPLES // PER_UNIT
STAGES = ("seal", "verify", "describe", "report")

#: In a process of its own, whose memory is that of a driver: write a ledger whose samples all have a group and a prompt
#: of their own, and whose shards are one and the same file; or do one stage.
SCRIPT = """
import os, re, sys
from pathlib import Path
from dentgen.conditions.labels import LABEL_VALUES
from dentgen.documents.ledger import LedgerRecord, UnitTiming
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit
from dentgen.pipeline import run  # what a driver has imported
from dentgen.report.card.write import write_description
from dentgen.report.html.page import write_report
from dentgen.shards import layout, verify
from dentgen.shards.index import mark_success, seal
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import digest_of
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan, write_plan
from dentgen.shards.tar import json_bytes, tar_bytes
from dentgen.shards.unit_table import UnitTable
from tests.report.fake_builds import fake_plan, members, written

def kilobytes(name):  # getrusage counts the parent's too
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def prepare(out, units, per_unit):
    made = (Unit(id=n, shard=f"{n // 1000:06d}.tar", start=n % 1000, stop=n % 1000 + 1, records=1, shard_bytes=1)
            for n in range(units))
    one = fake_plan(sampling={"variants": per_unit})
    plan = Plan(0, one.spec, one.spec_digest, one.bundle_digest, one.environment, UnitTable.of(made))
    write_plan(str(out), plan)
    (first, *_) = written(0, variants=1)
    shard = tar_bytes([(first.key, members(first, plan=plan))])
    for folder in (layout.LEDGER, layout.SHARDS):
        (out / folder).mkdir()
    (out / "shard").write_bytes(shard)
    for unit in range(units):
        statuses = [
            SampleStatus(
                key=f"patient-{unit:09d}-v{v:03d}", source_key=f"patient-{unit:09d}", variant=v, status="written",
                group=f"group-{unit:09d}-{v}", split="train", prompt=f"a photo of teeth, {unit} {v}, frontal view",
                attributes={"view": "frontal"}, teeth=(11, 21, 36), light_level=v,
            )
            for v in range(per_unit)
        ]
        timing = UnitTiming(started=1.8e9 + unit, seconds=1.0, committed=1.8e9 + unit + 1, worker=f"host:{unit % 8}")
        record = LedgerRecord(
            unit=unit, spec_digest=plan.spec_digest, bundle_digest=plan.bundle_digest, shard=f"{unit:06d}.tar",
            bytes=len(shard), sha256=digest_of(shard), samples=tuple(statuses), timing=timing,
        )
        (out / layout.ledger(f"{unit:06d}")).write_bytes(json_bytes(record.model_dump(mode="json")))
        if unit % 60_000 == 0:  # a file of ext4 has at most 65,000 names
            source = out / f"shard-{unit}"
            source.write_bytes(shard)
        os.link(source, out / layout.SHARDS / f"{unit:06d}.tar")

out, stage = Path(sys.argv[1]), sys.argv[2]
if stage == "prepare":
    prepare(out, int(sys.argv[3]), int(sys.argv[4]))
    sys.exit()
imported = kilobytes("VmRSS")
plan = read_plan(str(out))
if stage == "seal":
    seal(str(out), plan)
    mark_success(str(out))
elif stage == "verify":
    verify._shard_problems = lambda *arguments: iter(())  # shards are read one at a time, and these are no real ones
    assert [str(problem) for problem in verify.verify_build(str(out), plan, LABEL_VALUES)] == []
elif stage == "describe":
    write_description(str(out), plan, read_index(str(out)))
else:
    write_report(str(out), plan)
print(1024 * imported, 1024 * kilobytes("VmHWM"))
"""


def run(out: Path, *arguments: object) -> list[int]:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out), *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [int(number) for number in ran.stdout.split()]


def peaks(out: Path, units: int, per_unit: int) -> dict[str, int]:
    """Largest memory of every stage, bytes."""
    out.mkdir()
    run(out, "prepare", units, per_unit)
    found = {}
    for stage in STAGES:
        imported, found[stage] = run(out, stage)
        print(f"{units} units of {per_unit}: {stage} {found[stage] / 1e6:.0f} MB, imports {imported / 1e6:.0f} MB")  # noqa: T201
    return found


@pytest.mark.long
def test_a_driver_seals_verifies_and_describes_ten_million_samples_in_two_gigabytes(tmp_path: Path) -> None:
    # from 200,000 samples on, batches of rows and tallies of prompts are as large as they get
    few, many = peaks(tmp_path / "few", 4000, PER_UNIT), peaks(tmp_path / "many", 12_000, PER_UNIT)
    units = peaks(tmp_path / "units", UNITS, 1)
    for stage in STAGES:
        per_sample = max(0, many[stage] - few[stage]) / (8000 * PER_UNIT)
        estimate = units[stage] + per_sample * (SAMPLES - UNITS)
        print(f"{stage}: {per_sample:.0f} bytes a sample, {estimate / 1e6:.0f} MB for {SAMPLES} samples")  # noqa: T201
        assert units[stage] < 2e9
