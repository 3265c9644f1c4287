"""Kills during other commands than generate: repair, gc, report, relight and train; each must come to its right end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dentgen import storage
from dentgen.seeding import numpy_generator
from dentgen.shards import layout
from tests.faults.drivers import Rig, nothing
from tests.faults.kills import dies_around, dies_at
from tests.training.runs import weights_of

#: Notes a kill: of which command, and where.
Kill = Callable[[str], None]
#: About as many changes as a command makes; a kill that is drawn too late lets it finish.
CHANGES = {"repair": 30, "gc": 5, "report": 4, "relight": 8, "train": 30}

Damage = Callable[[str], object]


def _remove(*names: str) -> Damage:
    return lambda out: [storage.remove(storage.join(out, name)) for name in names]


def _flip(name: str) -> Damage:
    def flip(out: str) -> None:
        content = bytearray(storage.read_bytes(storage.join(out, name)))
        content[len(content) // 2] ^= 1
        storage.overwrite(storage.join(out, name), bytes(content))

    return flip


#: What is done to a finished build before it is repaired.
DAMAGES: tuple[Damage, ...] = (
    _flip(layout.shard("000001")),
    _remove(layout.shard("000000"), layout.ledger("000003")),
    _flip(layout.ledger("000002")),
    _remove(layout.INDEX, layout.SAMPLES),
    _flip(layout.plan_head()),
    _remove(layout.shard("000004"), layout.versioned(0, layout.INDEX)),
)


def disturbed_commands(rig: Rig, seed: int, number: int, count: Kill) -> None:
    """Damage a finished build, repair it, plant leftovers, collect them and report, all under kills.

    Args:
        rig: The build.
        seed: Seed of the storm.
        number: Number of the build.
        count: Called for every kill.
    """
    draw = numpy_generator("storm-commands", seed, number)
    DAMAGES[number % len(DAMAGES)](rig.out)
    _until_done(rig, draw, count, "repair", rig.out, "--no-ray", "--source", rig.spec.source.path)
    storage.put_if_absent(storage.join(rig.out, layout.orphan("000001", "0" * 64)), b"left")
    _until_done(rig, draw, count, "gc", rig.out, "--remove")
    _until_done(rig, draw, count, "report", rig.out)


def disturbed_relight(rig: Rig, source: Path, whole: Path, seed: int, count: Kill) -> None:
    """Relight a source under kills; the shards must be those of an undisturbed run."""
    out = rig.folder / "relit"
    _until_done(
        rig, numpy_generator("storm-relight", seed), count, "relight", str(source), str(out), "--lightings", "2"
    )
    assert _digests(out) == _digests(whole), "relit shards differ"


def disturbed_training(rig: Rig, spec: Path, run: Path, whole: Path, seed: int, count: Kill) -> None:
    """Train under kills; the weights must be those of an undisturbed run."""
    _until_done(rig, numpy_generator("storm-train", seed), count, "train", str(spec), most=4)
    trained, expected = weights_of(run), weights_of(whole)
    assert trained.keys() == expected.keys()
    assert all(torch.equal(trained[name], expected[name]) for name in expected), "weights differ"


def _until_done(rig: Rig, draw: np.random.Generator, count: Kill, *words: str, most: int = 3) -> None:
    """Run a command until it ends by itself, killed at most a few times before."""
    for kill in range(most + 1):
        point = int(draw.integers(1, CHANGES[words[0]]))
        fault = dies_around(point) if draw.integers(2) or storage.is_remote(rig.out) else dies_at(point)
        ended = rig.command(*words, fault=fault if kill < most else nothing)
        assert ended.code in {0, -9}, f"{words}: {ended.text[-3000:]}"
        if ended.code == 0:
            return
        count(f"{words[0]} at change {point}")


def _digests(folder: Path) -> dict[str, str]:
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names if name.endswith(".tar"))
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
