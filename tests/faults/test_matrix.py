"""The fault matrix for builds in one process: every fault that can be produced here, against one oracle."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from dentgen.models import bundle as bundle_module
from dentgen.models.bundle import find_bundle
from dentgen.pipeline import environment as environment_module
from dentgen.pipeline import run
from dentgen.shards.ledger import committed_units
from tests.conftest import ROOT, write_tar
from tests.faults.conftest import Tell
from tests.faults.drivers import Ended, Fault, Rig, nothing
from tests.faults.kills import (
    after_put,
    before_put,
    clock_goes_back,
    die,
    dies_at,
    fills_the_disk,
    full_disk_from,
    small_disk,
    wait_for,
)
from tests.faults.oracle import judge

pytestmark = pytest.mark.faults

KILLED = -signal.SIGKILL

#: Where a driver is killed, and the number of units that are committed then.
POINTS: dict[str, tuple[Fault, int]] = {
    "before the plan": (before_put("plan/000000.json", die), 0),
    "after the plan": (after_put("plan/000000.json", die), 0),
    "before a shard": (before_put("shards/000002.tar", die), 2),
    "between a shard and its record": (after_put("shards/000002.tar", die), 2),
    "after a record": (after_put("ledger/000002.json", die), 3),
    "after the last record, before the seal": (before_put("versions/0/index.json", die), 6),
    "between the version's index and the table": (after_put("versions/0/index.json", die), 6),
    "between the table and the index": (after_put("samples.parquet", die), 6),
    "between the index and the card": (after_put("index.json", die), 6),
    "before _SUCCESS": (before_put("_SUCCESS", die), 6),
    "after _SUCCESS": (after_put("_SUCCESS", die), 6),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_driver_killed_at_a_point_of_the_commit(point: str, rig: Rig, tell: Tell) -> None:
    fault, committed = POINTS[point]
    assert rig.generate(fault).code == KILLED
    assert len(committed_units(rig.out)) == committed
    assert rig.generate().code == 0
    tell(f"SIGKILL of the driver {point}", "a second run finishes", judge(rig))


def test_a_driver_killed_before_any_change_of_the_disk(rig: Rig, tell: Tell) -> None:
    """Every tenth change; all of them take minutes."""
    _kill_at_changes(rig, tell, 10)


@pytest.mark.long
def test_a_driver_killed_before_every_change_of_the_disk(rig: Rig, tell: Tell) -> None:
    _kill_at_changes(rig, tell, 1)


def _kill_at_changes(rig: Rig, tell: Tell, stride: int) -> None:
    counted = rig.folder / "changes"
    fresh = _series(rig)
    assert fresh().generate(dies_at(0, counted)).code == 0
    changes = int(counted.read_text())
    assert changes > 60
    again = interrupted = strays = 0
    points = range(1, changes + 1, stride)
    for number in points:
        one = fresh()
        assert one.generate(dies_at(number)).code == KILLED
        assert one.generate().code == 0
        verdict = judge(one)
        again, interrupted, strays = again + verdict.redone, interrupted + verdict.interrupted, strays + verdict.strays
    tell(
        f"SIGKILL of the driver before {len(points)} of the {changes} changes of the disk",
        "a second run finishes, each time", f"{again} of {interrupted} interrupted, {strays} strays",
    )  # fmt: skip


def _series(rig: Rig) -> Callable[[], Rig]:
    """The same build any number of times, in its own folder each; units are taken from the undisturbed one."""
    numbers = iter(range(10_000))

    def fresh() -> Rig:
        folder = rig.folder / str(next(numbers))
        folder.mkdir()
        output = rig.spec.output.model_copy(update={"path": str(folder / "out")})
        return Rig(rig.spec.model_copy(update={"output": output}), folder, rig.whole, replayed=True)

    return fresh


def test_a_driver_told_to_stop(rig: Rig, tell: Tell) -> None:
    """SIGTERM, which `ray job stop` and Kubernetes send first."""
    ended = rig.generate(after_put("shards/000002.tar", lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert ended.code != 0
    assert rig.generate().code == 0
    tell("SIGTERM of the driver", "a second run finishes", judge(rig))


def test_the_oracle_rejects_a_damaged_and_a_repeated_unit(rig: Rig) -> None:
    """An oracle that accepts everything proves nothing."""
    assert rig.generate().code == 0
    judge(rig)
    shard = Path(rig.out) / "shards" / "000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"x")
    with pytest.raises(AssertionError):
        judge(rig)
    shard.write_bytes(whole)
    rig.attempts_file.write_text(rig.attempts_file.read_text() + "000003\n")
    with pytest.raises(AssertionError, match="000003"):
        judge(rig)


def test_a_full_disk(rig: Rig, tell: Tell) -> None:
    """A real one, if this user may mount; otherwise every fsync fails as on a full disk."""
    with small_disk(Path(rig.out)) as mounted:
        fault = fills_the_disk(Path(rig.out)) if mounted else full_disk_from("000002.tar")
        ended = rig.generate(fault)
        assert ended.code == 1
        for fact in ("4 of 6 units", "unit 000002: ", os.strerror(errno.ENOSPC)):
            assert fact in ended.error
        assert committed_units(rig.out) == {"000000", "000001"}
        if mounted:
            (Path(rig.out) / "filler").unlink()
        assert rig.generate().code == 0
        verdict = judge(rig)
    assert verdict.strays == 0, "partial files are not left on a full disk"
    kind = "a tmpfs" if mounted else "fsync fails"
    tell(f"disk full ({kind})", "exit 1, names the units and the file; a second run finishes", verdict)


def test_a_limit_of_file_size(rig: Rig, tell: Tell) -> None:
    """EFBIG in the middle of a write, from the kernel."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    ended = rig.generate(limit)
    assert ended.code == 1
    assert "6 of 6 units" in ended.error
    assert os.strerror(errno.EFBIG) in ended.error
    assert rig.generate().code == 0
    verdict = judge(rig)
    assert verdict.strays == 0
    tell("files may not exceed 20 kB (RLIMIT_FSIZE)", "exit 1, names the units and the file", verdict)


def test_a_clock_that_goes_back(rig: Rig, tell: Tell) -> None:
    """An hour at every reading, in a build that is killed and resumed, while its lease is renewed."""

    def fault() -> None:
        clock_goes_back()
        after_put("shards/000003.tar", die)()

    assert rig.generate(fault, pipeline={**rig.spec.pipeline.model_dump(), "lease_seconds": 1}).code == KILLED
    assert rig.generate(clock_goes_back).code == 0
    tell("a clock that goes back an hour at every reading", "no effect", judge(rig))


def test_two_builds_at_once(rig: Rig, tell: Tell) -> None:
    """The second starts while the first is between two units."""
    seconds: list[Ended] = []
    gate = rig.folder / "gate"
    wait = after_put("ledger/000001.json", lambda: wait_for(gate.exists))
    spec = str(rig.spec_file(pipeline={**rig.spec.pipeline.model_dump(), "lease_seconds": 3}))
    first = rig.start("generate", spec, "--no-ray", fault=wait, name="first")
    wait_for(lambda: len(committed_units(rig.out)) == 2)
    seconds.append(rig.command("generate", spec, "--no-ray"))
    gate.touch()
    assert rig.wait(first).code == 0
    assert seconds[0].code == 1
    assert rig.out in seconds[0].error
    assert f"process {first[0]} on " in seconds[0].error
    tell("two builds at once", "the second exits 1 and names the first, which finishes", judge(rig))


def _no_lease() -> SimpleNamespace:
    return SimpleNamespace(check=lambda: None, stands=lambda: True, run="0" * 32)


def test_two_builds_at_once_whose_lease_fails(rig: Rig, tell: Tell) -> None:
    """Bytes must not depend on the lease: both generate everything that they find pending, at the same time."""

    def unleased() -> None:
        vars(run)["hold_lease"] = lambda out, seconds: nullcontext(_no_lease())

    def meet(mine: str, other: str) -> Fault:
        def fault() -> None:
            unleased()
            (rig.folder / mine).touch()
            before_put("plan/000000.json", lambda: wait_for((rig.folder / other).exists))()

        return fault

    spec = str(rig.spec_file())
    both = [rig.start("generate", spec, "--no-ray", fault=meet(*names), name=f"log-{names[0]}")
            for names in (("x", "y"), ("y", "x"))]  # fmt: skip
    assert [rig.wait(one).code for one in both] == [0, 0]
    twice = sum(count - 1 for count in rig.attempts().values())
    tell("two builds at once, no lease", "both exit 0, each unit committed once", judge(rig, hidden=twice))


def other_weights() -> None:
    """Replace the embedded bundle by a copy in which one bit of the adapter is flipped."""
    folder = tempfile.TemporaryDirectory()
    copy = Path(folder.name) / "miniature"
    shutil.copytree(find_bundle("miniature"), copy)
    weights = copy / "adapters" / "blended" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    vars(bundle_module).update(_MINIATURE_FOLDER=copy, kept=folder)  # gone when this process is


#: Changed sections of the spec, what changes in the driver, and the difference that it must name.
CHANGES: dict[str, tuple[dict[str, dict[str, object]], Fault, str]] = {
    "spec": ({"sampling": {"variants": 2, "seed": 6, "steps": 1}}, nothing, r"sampling\.seed: 5 -> 6"),
    "environment": (
        {},
        lambda: setattr(environment_module, "version", lambda name: "9.9" if name == "torch" else version(name)),
        r"environment\.torch: .* -> '9\.9'",
    ),
    "bundle": ({}, other_weights, r"bundle digest: \w+ -> \w+"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_build_is_refused(what: str, rig: Rig, tell: Tell) -> None:
    sections, change, difference = CHANGES[what]
    assert rig.generate(after_put("ledger/000001.json", die)).code == KILLED
    before = snapshot(rig.out)
    ended = rig.generate(change, **sections)
    assert ended.code == 1
    assert "plan/000000.json" in ended.error
    assert re.search(difference, ended.text), ended.text
    assert snapshot(rig.out) == before
    assert rig.generate().code == 0
    tell(f"another {what} on resume", "refused, the difference is named; undone, it finishes", judge(rig))


@pytest.mark.parametrize("change", ["another content", "a missing shard"])
def test_a_changed_source_is_refused(change: str, rig: Rig, tell: Tell) -> None:
    shutil.copytree(rig.spec.source.path, rig.folder / "source")
    source = rig.spec.source.model_copy(update={"path": str(rig.folder / "source")})
    rig.spec = rig.spec.model_copy(update={"source": source})
    assert rig.generate(after_put("ledger/000001.json", die)).code == KILLED
    shard = rig.folder / "source" / "b.tar"
    whole = shard.read_bytes()
    if change == "a missing shard":
        shard.unlink()
    else:
        shutil.copy(rig.folder / "source" / "a.tar", shard)
    ended = rig.generate()
    assert ended.code == 1
    assert "plan/000000.json" in ended.error
    assert re.search(r"source: the condition shard b.tar (is gone|was replaced)", ended.text), ended.text
    shard.write_bytes(whole)
    assert rig.generate().code == 0
    tell(f"another source on resume ({change})", "refused, the difference is named; undone, it finishes", judge(rig))


def test_files_that_are_damaged_missing_or_foreign(rig: Rig, tell: Tell) -> None:
    assert rig.generate().code == 0
    out = Path(rig.out)
    shard = bytearray((out / "shards/000001.tar").read_bytes())
    shard[900] ^= 1
    (out / "shards/000001.tar").write_bytes(bytes(shard))
    (out / "shards/000002.tar").unlink()
    (out / "ledger/000003.json").write_text("{")
    (out / "ledger/000004.json").unlink()
    (out / "orphans").mkdir()
    (out / "orphans/000001-0123456789abcdef.tar").write_bytes(b"left")
    found = rig.command("verify", rig.out)
    rig.runs.pop()
    assert found.code == 1
    for name in ("shards/000001.tar", "shards/000002.tar", "ledger/000003.json", "ledger/000004.json"):
        assert re.search(rf"^{name}: ", found.text, re.MULTILINE), name
    repaired = rig.command("repair", rig.out, "--no-ray")
    assert repaired.code == 0
    assert "4 problems" in repaired.text
    assert "4 units" in repaired.text
    listed = rig.command("gc", rig.out)
    assert "orphans/000001-0123456789abcdef.tar" in listed.text
    verdict = judge(rig, hidden=4)
    assert verdict.strays == 1
    tell("files damaged, missing, foreign", "verify names them, repair restores, gc lists", verdict)


@pytest.mark.parametrize("how", ["missing or truncated", "of other bytes"])
def test_shards_damaged_before_the_build_is_finished(how: str, rig: Rig, tell: Tell) -> None:
    """The seal lists the shards, the report reads a few of them; only verify reads every byte."""
    out = Path(rig.out)
    assert rig.generate(after_put("ledger/000003.json", die)).code == KILLED
    if how == "missing or truncated":
        (out / "shards/000001.tar").write_bytes(b"damaged")
        (out / "shards/000002.tar").unlink()
        facts = ["shards/000001.tar", "2 of 6", "found 7 bytes"]
    else:
        for name in ("shards/000001.tar", "shards/000002.tar"):
            whole = (out / name).read_bytes()
            (out / name).write_bytes(whole[:900] + b"xxxx" + whole[904:])
        facts = ["shards/000001.tar", "sha256"]
    ended = rig.generate()
    assert ended.code == 1
    assert all(fact in ended.error for fact in (*facts, f"'dentgen repair {out}'")), ended.error
    assert not (out / "_SUCCESS").exists()
    assert rig.command("repair", rig.out, "--no-ray").code == 0
    tell(f"committed shards {how}, then resumed", "exit 1, not sealed; repair finishes", judge(rig, hidden=2))


def test_a_damaged_record_and_a_kill(rig: Rig, tell: Tell, demo_members: dict[str, dict[str, bytes]]) -> None:
    """Rejections are planned, counted and committed like written samples."""
    keys = sorted(demo_members)[:4]
    records = {key: demo_members[key] for key in keys}
    damaged = {**records, keys[2]: {**records[keys[2]], "seg.png": b"no image"}}
    source = rig.spec.source.model_copy(update={"path": str(write_tar(rig.folder / "s" / "a.tar", damaged).parent)})
    quality = rig.spec.quality.model_copy(update={"max_rejected": 0.5})
    rig.spec = rig.spec.model_copy(update={"source": source, "quality": quality})
    rig.whole = rig.folder / "whole"
    output = rig.spec.output.model_copy(update={"path": str(rig.whole)})
    index = run.build(rig.spec.model_copy(update={"output": output}), use_ray=False).index
    assert (index.planned, index.written, index.rejected) == (8, 6, 2)
    assert rig.generate(before_put("ledger/000002.json", die)).code == KILLED
    assert rig.generate().code == 0
    tell("a record that cannot be read, and a kill", "rejected with a reason, planned = written + rejected", judge(rig))


def snapshot(out: str) -> dict[str, bytes]:
    """Content of every file but the lease."""
    files = (path for path in Path(out).rglob("*") if path.is_file() and path.name != "lease.json")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


@pytest.mark.long
def test_a_storm_of_two_kills() -> None:
    """The command itself, with few kills."""
    storm = subprocess.run(
        [sys.executable, "-m", "tests.faults.storm", "--kills", "2", "--no-ray"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert storm.returncode == 0, storm.stdout + storm.stderr
    assert "2 kills in 1 builds: 0 lost, 0 duplicated, 0 differing" in storm.stdout
