"""Processes that die over a unit: who is to blame is found, the others are made, nothing goes on for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from dentgen.documents import SampleStatus
from dentgen.errors import BuildError
from dentgen.pipeline.actors.crash_policy import UnitGate, quarantine_after_crashes
from dentgen.pipeline.run import build
from dentgen.shards.index import read_index, read_ledgers
from dentgen.shards.plan_file import read_plan
from tests.conftest import problems, shard_bytes, small_spec, write_tar
from tests.poison import one_unit, package_that_kills, poisoned

Records = dict[str, dict[str, bytes]]


def test_a_suspect_has_the_actor_for_itself() -> None:
    turns, inside, most = UnitGate(), [0], [0]
    lock = threading.Lock()

    def work(*, alone: bool) -> None:
        with turns.turn(alone=alone):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                assert not alone or inside[0] == 1
            time.sleep(0.02)
            with lock:
                assert not alone or inside[0] == 1
                inside[0] -= 1

    failed: list[BaseException] = []
    threading.excepthook, before = lambda args: failed.append(args.exc_value or KeyError()), threading.excepthook
    threads = [threading.Thread(target=work, kwargs={"alone": n % 5 == 0}) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    threading.excepthook = before
    assert not failed
    assert most[0] > 1, "the others share it"


def test_nothing_is_suspected_before_the_second_death_nor_tried_after_the_fourth(
    tmp_path: Path, demo_members: Records
) -> None:
    key = min(demo_members)
    write_tar(tmp_path / "s" / "a.tar", {key: demo_members[key]})
    spec, unit, shard = one_unit(tmp_path / "s")
    gone = unit.model_copy(update={"shard_bytes": 5})
    assert quarantine_after_crashes(spec, gone, shard, 1) == {}, "nobody looked"
    with pytest.raises(BuildError, match="one by one"):
        quarantine_after_crashes(spec, gone, shard, 2)
    with pytest.raises(BuildError, match="unit 000000: 4 processes died over it"):
        quarantine_after_crashes(spec, unit, shard, 4)


def generate(copy: Path, spec: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dentgen", "generate", str(spec)], cwd=copy, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(copy), "RAY_DEDUP_LOGS": "0"}, timeout=500, check=False,
    )  # fmt: skip


def rejected(out: Path) -> list[SampleStatus]:
    ledgers = read_ledgers(str(out), read_plan(str(out)))
    return [sample for record in ledgers for sample in record.samples if sample.status == "rejected"]


@pytest.mark.ray
@pytest.mark.slow
def test_a_record_that_kills_its_process_is_rejected_and_its_neighbours_are_written(
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
    for number in range(2):
        out = tmp_path / f"out{number}"
        spec = small_spec(tmp_path / "poison", out, quality={"max_rejected": 0.5})
        path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
        began = time.monotonic()
        run = generate(copy, path)
        print(f"{time.monotonic() - began:.0f} s")  # noqa: T201 - shown by pytest -s, and where the test fails
        assert run.returncode == 0, run.stderr[-3000:]
        assert "8 samples written, 2 rejected, of 10 planned" in run.stdout
        assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
        assert [status.source_key for status in rejected(out)] == [keys[1]] * 2
        (reason,) = {status.reason for status in rejected(out)}
        assert reason == (
            f"a.tar: {keys[1]}: found data that crashed the process reading it (signal 9), expected a readable record"
        )
        index = read_index(str(out))
        assert (index.planned, index.written, index.rejected) == (10, 8, 2)
        assert problems(out) == []
    ledger = {(tmp_path / f"out{n}" / "samples.parquet").read_bytes() for n in range(2)}
    assert len(ledger) == 1, "a second build says the same"


@pytest.mark.ray
@pytest.mark.slow
def test_a_unit_that_kills_though_its_records_do_not_fails_alone(tmp_path: Path, demo_members: Records) -> None:
    """The engine's share of the work kills; the other units are committed, and the build ends and says why."""
    keys = sorted(demo_members)[:5]
    write_tar(tmp_path / "s" / "a.tar", {key: demo_members[key] for key in keys})
    build(small_spec(tmp_path / "s", tmp_path / "whole"), use_ray=False)
    copy = package_that_kills(tmp_path / "copy")
    place = copy / "dentgen" / "generate.py"
    text, line = place.read_text(), "    requests, unusable = sample_requests(generation, unit, records)\n"
    assert text.count(line) == 1
    died = tmp_path / "died"
    fault = f"    if unit.id == 1:\n        open({str(died)!r}, 'a').write('x')\n        os.kill(os.getpid(), 9)\n"
    place.write_text(text.replace(line, line + fault))
    out, path = tmp_path / "out", tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(small_spec(tmp_path / "s", out).model_dump(mode="json")))
    run = generate(copy, path)
    assert run.returncode == 1, run.stderr[-3000:]
    assert "error: 1 of 3 units failed" in run.stderr
    assert "unit 000001: 4 processes died over it" in run.stderr
    assert died.read_text() == "xxxx"
    whole = shard_bytes(tmp_path / "whole")
    assert shard_bytes(out) == {name: whole[name] for name in ("000000.tar", "000002.tar")}
    assert not (out / "lease.json").exists()
