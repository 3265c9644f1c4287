"""The oracle for every disturbed build: nothing lost or duplicated, no byte differs, and drivers told the truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.labels import LABEL_VALUES
from dentgen.shards import layout
from dentgen.shards.gc import remove_files, stray_files
from dentgen.shards.index_reader import read_index
from dentgen.shards.parquet import table_of
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from dentgen.shards.verify import verify_build
from tests.faults.drivers import Ended, Rig

#: Exit codes after SIGINT and SIGTERM.
_INTERRUPTED, _TERMINATED = 130, 143


@dataclass(frozen=True)
class Verdict:
    """Cost of a build that passed.

    Attributes:
        lost, duplicated, differing: Numbers of samples; all 0 in a build that passed.
        redone: Units generated more than once.
        interrupted: Units that were started and not committed when a process ended.
        strays: Files that ``gc`` listed; removing them left nothing else behind.
    """

    lost: int
    duplicated: int
    differing: int
    redone: int
    interrupted: int
    strays: int


def judge(rig: Rig, *, hidden: int = 0) -> Verdict:
    """Compare a finished build with the undisturbed one.

    Args:
        rig: The build.
        hidden: Committed units that the storage hid from a driver, which generated them again.

    Raises:
        AssertionError: If anything differs.
    """
    assert rig.runs[-1].code == 0, rig.runs[-1].text[-3000:]
    for ended in rig.runs:
        tells_the_truth(ended)
    out, whole = rig.out, str(rig.whole)
    plan = read_plan(out)
    assert [str(problem) for problem in verify_build(out, plan, LABEL_VALUES)] == []
    lost, duplicated = _keys(out, whole)
    differing = _differing(out, whole)
    assert (lost, duplicated, differing) == (0, 0, 0)
    index = read_index(out)
    assert index.planned == plan.planned == index.written + index.rejected
    assert storage.exists(storage.join(out, layout.SUCCESS))
    for name in (layout.INDEX, layout.versioned(0, layout.INDEX), layout.SAMPLES):
        assert _bytes(out, name) == _bytes(whole, name), f"{name} differs"
    strays = stray_files(out, plan)
    remove_files(strays)
    assert _names(out) == _names(whole), "gc lists every leftover and nothing that is needed"
    return Verdict(lost, duplicated, differing, _redone(rig, hidden), rig.interrupted.total(), len(strays))


def tells_the_truth(ended: Ended) -> None:
    """Exit code 0 and a summary, or one error line; a killed driver may say nothing."""
    if ended.code == 0:
        assert ended.error == "", ended.text[-3000:]
    elif ended.code in {_INTERRUPTED, _TERMINATED}:
        assert "interrupted; finished work stays" in ended.text, ended.text[-3000:]
        assert "Traceback" not in ended.text, ended.text[-3000:]
    elif ended.code > 0:
        assert ended.error, f"no single error line: {ended.text[-3000:]}"
        shown = ended.text.rpartition("\nerror: ")[2] if "\nerror: " in ended.text else ended.text
        assert "Traceback (most recent call last)" not in shown, ended.text[-3000:]
        assert "dentgen/cli/app.py" not in ended.text, ended.text[-3000:]
        assert "samples written" not in ended.text


def _redone(rig: Rig, hidden: int) -> int:
    """A unit is repeated at most once for every time that it was interrupted, never because another one was."""
    again = {name: count - 1 for name, count in rig.attempts().items() if count > 1}
    excess = sum(max(0, count - rig.interrupted[name]) for name, count in again.items())
    assert excess <= hidden, f"repeated {again}, interrupted {dict(rig.interrupted)}"
    return sum(again.values())


def _keys(out: str, whole: str) -> tuple[int, int]:
    """Samples that shards or table lack, and samples that they have more than once."""
    keys = [key for key, _ in read_samples(out)]
    wanted = [key for key, _ in read_samples(whole)]
    planned = pq.read_table(f"{whole}/{layout.SAMPLES}").column("key").to_pylist()
    table = table_of(_bytes(out, layout.SAMPLES), ("key",)).column("key").to_pylist()
    lost = len(set(wanted) - set(keys)) + len(set(planned) - set(table))
    return lost, len(keys) - len(set(keys)) + len(table) - len(set(table))


def _differing(out: str, whole: str) -> int:
    """Samples in shards whose bytes differ from those of the undisturbed build."""
    samples = {shard.name: shard.samples for shard in read_index(whole).shards}
    assert [shard.name for shard in read_index(out).shards] == list(samples)
    return sum(
        count
        for name, count in samples.items()
        if hashlib.sha256(_bytes(out, f"{layout.SHARDS}/{name}")).digest()
        != hashlib.sha256(_bytes(whole, f"{layout.SHARDS}/{name}")).digest()
    )


def _bytes(out: str, name: str) -> bytes:
    return storage.read_bytes(storage.join(out, name))


def _names(out: str) -> list[str]:
    return sorted(storage.relative_name(out, file.url) for file in storage.list_files(out))
