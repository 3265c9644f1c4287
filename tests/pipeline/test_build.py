"""Byte identity and exactly-once: however a build is run, broken off and resumed, its shards are the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml
from fsspec.implementations.local import LocalFileSystem

from dentgen.errors import BuildError, DeterminismError, SpecChangedError
from dentgen.pipeline.actors.dataset import unit_dataset
from dentgen.pipeline.actors.heartbeat import Watchdog
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.pipeline.run import build
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec
from tests.conftest import ROOT, problems, shard_bytes, small_spec, write_tar

Members = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    """Twelve records in three shards: with two variants in shards of four, six units."""
    folder = tmp_path_factory.mktemp("conditions")
    keys = sorted(demo_members)[:12]
    for number in range(3):
        write_tar(folder / f"{number}.tar", {key: demo_members[key] for key in keys[4 * number : 4 * number + 4]})
    return folder


@pytest.fixture(scope="module")
def reference(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Shards of a build in one process, without Ray."""
    out = tmp_path_factory.mktemp("reference")
    build(small_spec(source, out), use_ray=False)
    assert problems(out) == []
    return shard_bytes(out)


def test_plan_counts(source: Path, tmp_path: Path) -> None:
    plan = make_plan(small_spec(source, tmp_path))
    assert [(unit.shard, unit.start, unit.stop) for unit in plan.units][:3] == [
        ("0.tar", 0, 2),
        ("0.tar", 2, 4),
        ("1.tar", 0, 2),
    ]
    assert plan.planned == 24


@pytest.mark.ray
@pytest.mark.parametrize("actors", [1, 2])
def test_ray_gives_the_bytes_of_one_process(
    actors: int, source: Path, tmp_path: Path, reference: dict[str, bytes], ray_local: None
) -> None:
    build(small_spec(source, tmp_path, pipeline={"actors": actors}))
    assert shard_bytes(tmp_path) == reference
    assert problems(tmp_path) == []


@pytest.mark.ray
def test_reading_making_and_committing_are_operators_of_their_own(
    source: Path, tmp_path: Path, ray_local: None
) -> None:
    """Fused, the commit would run on the actor's event loop and stall the engine."""
    spec = small_spec(source, tmp_path)
    plan = adopt_plan(str(tmp_path), make_plan(spec))
    with Watchdog(30) as watch:
        stats = unit_dataset(plan, plan.units, spec, watch.pulse).materialize().stats()
    assert "MapBatches(UnitMaker)" in stats
    assert "MapBatches(commit_made)" in stats
    assert "UnitMaker)->MapBatches" not in stats


@pytest.mark.ray
def test_killed_actor(source: Path, tmp_path: Path, reference: dict[str, bytes], ray_local: None) -> None:
    killed: list[int] = []

    def kill() -> None:
        """Kill the actor once it has its models and works on units (its title names __init__ before)."""
        while not killed:
            time.sleep(0.05)
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    title = " ".join(process.cmdline())
                    if "MapWorker(MapBatches(UnitMaker))" in title and "__init__" not in title:
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    build(small_spec(source, tmp_path))
    assert killed, "the actor was never found: the test proved nothing"
    assert shard_bytes(tmp_path) == reference
    assert problems(tmp_path) == []


@pytest.mark.ray
def test_killed_driver_resumes(source: Path, tmp_path: Path, reference: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(source, out).model_dump(mode="json")))
    process = subprocess.Popen(
        [sys.executable, "-m", "dentgen", "generate", str(spec), "--no-ray"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(out.glob("ledger/*.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sorted(path.name for path in out.glob("ledger/*.json"))
    assert 0 < len(done) < 6
    before = {name: (out / "ledger" / name).stat().st_mtime_ns for name in done}
    outcome = build(small_spec(source, out), use_ray=False)
    assert outcome.made == 6 - len(done), "what was committed is not made again"
    assert {name: (out / "ledger" / name).stat().st_mtime_ns for name in done} == before
    assert shard_bytes(out) == reference
    assert problems(out) == []


@pytest.mark.ray
@pytest.mark.slow
def test_killed_ray_driver_resumes(source: Path, tmp_path: Path) -> None:
    """The same with Ray under the driver: its actors and tasks die with it, and nothing they left is in the way."""
    finer: dict[str, object] = {"samples_per_shard": 2}
    build(small_spec(source, tmp_path / "whole", pipeline=finer), use_ray=False)
    out, spec = tmp_path / "out", tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(source, out, pipeline=finer).model_dump(mode="json")))
    process = subprocess.Popen(
        [sys.executable, "-m", "dentgen", "generate", str(spec)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    deadline = time.monotonic() + 180
    family: list[psutil.Process] = []
    while time.monotonic() < deadline and not list(out.glob("ledger/*.json")):
        family = psutil.Process(process.pid).children(recursive=True) or family
    process.send_signal(signal.SIGKILL)
    process.wait()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=30)
    done = len(list(out.glob("ledger/*.json")))
    assert 0 < done < 12
    assert build(small_spec(source, out, pipeline=finer), use_ray=False).made == 12 - done
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
    assert problems(out) == []


def test_another_listing_order(
    source: Path, tmp_path: Path, reference: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = LocalFileSystem.find

    def backwards(self: LocalFileSystem, *args: object, **kwargs: object) -> object:
        listing = found(self, *args, **kwargs)
        return dict(reversed(listing.items())) if isinstance(listing, dict) else listing[::-1]

    monkeypatch.setattr(LocalFileSystem, "find", backwards)
    build(small_spec(source, tmp_path), use_ray=False)
    assert shard_bytes(tmp_path) == reference


def test_moving_a_source_changes_nothing(source: Path, tmp_path: Path, reference: dict[str, bytes]) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in source.glob("*.tar"):
        (moved / path.name).write_bytes(path.read_bytes())
    build(small_spec(moved, tmp_path / "out"), use_ray=False)
    assert shard_bytes(tmp_path / "out") == reference


def test_a_changed_spec_is_refused_with_the_difference(source: Path, tmp_path: Path) -> None:
    adopt_plan(str(tmp_path), make_plan(small_spec(source, tmp_path)))
    changed = small_spec(source, tmp_path, sampling={"variants": 2, "seed": 6}, conditions={"alpha": 0.4})
    with pytest.raises(SpecChangedError) as caught:
        build(changed, use_ray=False)
    assert "sampling.seed: 5 -> 6" in str(caught.value)
    assert "conditions.alpha: 0.3 -> 0.4" in str(caught.value)


def test_what_decides_no_bytes_may_change(source: Path, tmp_path: Path) -> None:
    adopt_plan(str(tmp_path), make_plan(small_spec(source, tmp_path)))
    other = small_spec(source, tmp_path, pipeline={"actors": 7}, quality={"max_rejected": 0.5})
    assert adopt_plan(str(tmp_path), make_plan(other)).spec_digest == other.digest()


def _tampered(plan: Plan) -> Plan:
    return plan.model_copy(update={"spec_digest": "0" * 64})


def test_a_second_attempt_with_other_bytes_is_a_determinism_error(source: Path, tmp_path: Path) -> None:
    from dentgen.conditions.readers.source import list_shards
    from dentgen.generation.generator import load_generator, start_engine
    from dentgen.generation.unit import generate_unit
    from dentgen.shards.ledger import commit

    spec = small_spec(source, tmp_path)
    plan = make_plan(spec)
    shard = list_shards(str(source))[0]
    committed = []
    for attempt in (plan, plan, _tampered(plan)):
        generator = load_generator(attempt)
        result = generate_unit(generator, plan.units[0], shard, start_engine(generator).run)
        if attempt.spec_digest == plan.spec_digest:
            committed.append(commit(str(tmp_path), plan.units[0], result.shard, result.record))
        else:
            with pytest.raises(DeterminismError, match="left alone"):
                commit(str(tmp_path), plan.units[0], result.shard, result.record)
    assert committed == [True, False]


def test_a_source_that_vanished_is_an_error_that_names_the_shard(source: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nothing-there"):
        build(small_spec(tmp_path / "nothing-there", tmp_path / "out"), use_ray=False)


def test_max_rejected_decides_the_exit_code(source: Path, tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    damaged = {**demo_members[key], "seg.png": b"no image"}
    bad = tmp_path / "bad"
    write_tar(bad / "x.tar", {key: damaged, **{k: demo_members[k] for k in sorted(demo_members)[1:3]}})
    outcome = build(small_spec(bad, tmp_path / "out"), use_ray=False)
    assert (outcome.index.planned, outcome.index.written, outcome.index.rejected) == (6, 4, 2)
    spec = tmp_path / "spec.yaml"
    for limit, code in ((0.05, 1), (0.5, 0)):
        spec.write_text(
            yaml.safe_dump(small_spec(bad, tmp_path / "out", quality={"max_rejected": limit}).model_dump(mode="json"))
        )
        run = subprocess.run(
            [sys.executable, "-m", "dentgen", "generate", str(spec), "--no-ray"],
            cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        assert run.returncode == code, run.stderr


def test_errors_of_a_build_are_build_errors() -> None:
    assert issubclass(SpecChangedError, BuildError)
    assert BuildSpec().digest() == BuildSpec().digest()
