"""The one judge of every disturbed build: nothing lost, nothing twice, no other byte, and the driver told the truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.labels import LABEL_VALUES
from dentgen.shards import layout
from dentgen.shards.gc import remove_files, stray_files
from dentgen.shards.index import read_index
from dentgen.shards.parquet import table_of
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from dentgen.shards.verify import verify_build
from tests.faults.drivers import Ended, Rig


@dataclass(frozen=True)
class Verdict:
    """What a build that passed had cost.

    Attributes:
        lost, duplicated, differing: Samples; all 0, or the build would not have passed.
        redone: Units made more than once.
        interrupted: Units that were begun and not committed when something was broken off.
        strays: Files that ``gc`` listed, and nothing else was left when they were removed.
    """

    lost: int
    duplicated: int
    differing: int
    redone: int
    interrupted: int
    strays: int


def judge(rig: Rig, *, hidden: int = 0) -> Verdict:
    """Hold a finished build against the undisturbed one.

    Args:
        rig: The build.
        hidden: Units that the storage kept from a driver though they were committed, so that it made them again.

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
    assert _names(out) == _names(whole), "what is too much, gc lists; it removes nothing that is needed"
    return Verdict(lost, duplicated, differing, _redone(rig, hidden), rig.interrupted.total(), len(strays))


def tells_the_truth(ended: Ended) -> None:
    """Code 0 and the sum, or a line that says what is wrong; a signal leaves no last words."""
    if ended.code == 0:
        assert ended.error == "", ended.text[-3000:]
    elif ended.code > 0:
        assert ended.error, f"no single line says what is wrong: {ended.text[-3000:]}"
        told = ended.text.rpartition("\nerror: ")[2] if "\nerror: " in ended.text else ended.text
        assert "Traceback (most recent call last)" not in told, ended.text[-3000:]
        assert "dentgen/cli/app.py" not in ended.text, ended.text[-3000:]
        assert "samples written" not in ended.text


def _redone(rig: Rig, hidden: int) -> int:
    """A unit is made again once for every time that it was broken off, and never because another was."""
    again = {name: count - 1 for name, count in rig.attempts().items() if count > 1}
    excess = sum(max(0, count - rig.interrupted[name]) for name, count in again.items())
    assert excess <= hidden, f"made again {again}, broken off {dict(rig.interrupted)}"
    return sum(again.values())


def _keys(out: str, whole: str) -> tuple[int, int]:
    """Samples that the shards lack, and that they, or the table, have more than once."""
    keys = [key for key, _ in read_samples(out)]
    wanted = [key for key, _ in read_samples(whole)]
    planned = pq.read_table(f"{whole}/{layout.SAMPLES}").column("key").to_pylist()
    table = table_of(_bytes(out, layout.SAMPLES), ("key",)).column("key").to_pylist()
    lost = len(set(wanted) - set(keys)) + len(set(planned) - set(table))
    return lost, len(keys) - len(set(keys)) + len(table) - len(set(table))


def _differing(out: str, whole: str) -> int:
    """Samples in shards whose bytes are not those of the undisturbed build."""
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
