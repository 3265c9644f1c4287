"""The matrix: every fault that can be produced here, one judge. Builds of one process; Ray and S3 have files beside."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen.shards.ledger import committed_units
from tests.faults.conftest import Tell
from tests.faults.drivers import Fault, Rig
from tests.faults.kills import after_put, before_put, die, dies_at
from tests.faults.oracle import judge

pytestmark = pytest.mark.faults

KILLED = -signal.SIGKILL

#: Where a driver is killed, and units that are committed then.
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
    """Every tenth in turn; all of them are slow."""
    _kill_at_changes(rig, tell, 10)


@pytest.mark.slow
def test_a_driver_killed_before_every_change_of_the_disk(rig: Rig, tell: Tell) -> None:
    _kill_at_changes(rig, tell, 1)


def _kill_at_changes(rig: Rig, tell: Tell, stride: int) -> None:
    counted = rig.folder / "changes"
    fresh = _series(rig)
    assert fresh().generate(dies_at(0, counted)).code == 0
    changes = int(counted.read_text())
    assert changes > 60
    again = broken_off = strays = 0
    points = range(1, changes + 1, stride)
    for number in points:
        one = fresh()
        assert one.generate(dies_at(number)).code == KILLED
        assert one.generate().code == 0
        verdict = judge(one)
        again, broken_off, strays = again + verdict.redone, broken_off + verdict.interrupted, strays + verdict.strays
    tell(
        f"SIGKILL of the driver before {len(points)} of the {changes} changes of the disk",
        "a second run finishes, each time", f"{again} of {broken_off} broken off, {strays} strays",
    )  # fmt: skip


def _series(rig: Rig) -> Callable[[], Rig]:
    """The same build again and again, each in a folder of its own; units come from the undisturbed one."""
    numbers = iter(range(10_000))

    def fresh() -> Rig:
        folder = rig.folder / str(next(numbers))
        folder.mkdir()
        output = rig.spec.output.model_copy(update={"path": str(folder / "out")})
        return Rig(rig.spec.model_copy(update={"output": output}), folder, rig.whole, replayed=True)

    return fresh


def test_a_driver_told_to_stop(rig: Rig, tell: Tell) -> None:
    """SIGTERM, what `ray job stop` and Kubernetes send first."""
    ended = rig.generate(after_put("shards/000002.tar", lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert ended.code != 0
    assert rig.generate().code == 0
    tell("SIGTERM of the driver", "a second run finishes", judge(rig))


def test_the_judge_sees_what_is_wrong(rig: Rig) -> None:
    """An oracle that never says no proves nothing."""
    assert rig.generate().code == 0
    judge(rig)
    shard = Path(rig.out) / "shards" / "000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"x")
    with pytest.raises(AssertionError):
        judge(rig)
    shard.write_bytes(whole)
    rig.attempts_file.write_text(rig.attempts_file.read_text() + "000003\n")
    with pytest.raises(AssertionError, match="made again"):
        judge(rig)
