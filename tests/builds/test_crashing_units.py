"""Builds whose actors crash over a unit: the crashing record is rejected, or the unit fails; the others are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dentgen.documents.samples import SampleStatus
from dentgen.pipeline.run import build
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan_file import read_plan
from tests.conftest import problems, shard_bytes, small_spec, write_tar
from tests.poison import package_that_kills, poisoned

Records = dict[str, dict[str, bytes]]


def generate(copy: Path, spec: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dentgen", "generate", str(spec)], cwd=copy, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(copy), "RAY_DEDUP_LOGS": "0"}, timeout=500, check=False,
    )  # fmt: skip


def rejected(out: Path) -> list[SampleStatus]:
    ledgers = read_ledgers(str(out), (unit.name for unit in read_plan(str(out)).units))
    return [sample for record in ledgers for sample in record.samples if sample.status == "rejected"]


def attempts(out: Path) -> list[int]:
    ledgers = read_ledgers(str(out), (unit.name for unit in read_plan(str(out)).units))
    return [record.timing.attempt for record in ledgers if record.timing is not None]


@pytest.mark.ray
@pytest.mark.slow
def test_a_record_that_crashes_its_process_is_rejected_and_its_neighbours_are_written(
    tmp_path: Path, demo_members: Records
) -> None:
    """Its unit's bytes are those of a build in which the same record was rejected for a damaged image."""
    keys = sorted(demo_members)[:5]
    bad = {"poison": poisoned(demo_members[keys[1]]), "damage": {**demo_members[keys[1]], "seg.png": b"no image"}}
    for name, members in bad.items():
        records = {key: members if key == keys[1] else demo_members[key] for key in keys}
        write_tar(tmp_path / name / "a.tar", records)
    build(small_spec(tmp_path / "damage", tmp_path / "whole"), use_ray=False)
    copy, path = package_that_kills(tmp_path / "copy"), tmp_path / "spec.yaml"
    ways: list[tuple[object, str]] = [(1, "unit"), (1, "continuous"), ({"min": 1, "max": 1}, "unit")]
    for number, (actors, fill) in enumerate(ways):
        out = tmp_path / f"out{number}"
        spec = small_spec(
            tmp_path / "poison", out, quality={"max_rejected": 0.5}, engine={"slots": 4, "fill": fill},
            pipeline={"actors": actors},
        )  # fmt: skip
        path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
        run = generate(copy, path)
        assert run.returncode == 0, run.stderr[-3000:]
        assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
        assert [status.source_key for status in rejected(out)] == [keys[1]] * 2
        (reason,) = {status.reason for status in rejected(out)}
        assert reason.startswith(f"a.tar: {keys[1]}: ")
        assert "signal 9" in reason
        index = read_index(str(out))
        assert (index.planned, index.written, index.rejected) == (10, 8, 2)
        assert problems(out) == []
        assert max(attempts(out)) == 3, "two processes died over the poisoned unit"
        assert "units needed more than one attempt" in run.stdout
    ledger = {(tmp_path / f"out{n}" / "samples.parquet").read_bytes() for n in range(3)}
    assert len(ledger) == 1, "a second build has the same table"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, {"min": 1, "max": 1}], ids=["Ray Data", "pool"])
def test_a_unit_that_crashes_without_a_crashing_record_fails_alone(
    actors: object, tmp_path: Path, demo_members: Records
) -> None:
    """Generating it crashes, reading it does not; the other units are committed, and the build ends with the reason."""
    keys = sorted(demo_members)[:5]
    write_tar(tmp_path / "s" / "a.tar", {key: demo_members[key] for key in keys})
    build(small_spec(tmp_path / "s", tmp_path / "whole"), use_ray=False)
    copy = package_that_kills(tmp_path / "copy")
    place = copy / "dentgen" / "generation" / "unit.py"
    text, line = place.read_text(), "    requests, unusable, sampled = _sampled(generator, unit, records, sampler)\n"
    assert text.count(line) == 1
    died = tmp_path / "died"
    fault = f"    if unit.id == 1:\n        open({str(died)!r}, 'a').write('x')\n        os.kill(os.getpid(), 9)\n"
    place.write_text(text.replace(line, line + fault))
    out, path = tmp_path / "out", tmp_path / "spec.yaml"
    spec = small_spec(tmp_path / "s", out, pipeline={"actors": actors})
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    run = generate(copy, path)
    assert run.returncode == 1, run.stderr[-3000:]
    assert re.search(r"error: .*1 of 3 units failed.*unit 000001: .*4 processes", run.stderr)
    assert died.read_text() == "xxxx"
    whole = shard_bytes(tmp_path / "whole")
    assert shard_bytes(out) == {name: whole[name] for name in ("000000.tar", "000002.tar")}
    assert not (out / "lease.json").exists()
