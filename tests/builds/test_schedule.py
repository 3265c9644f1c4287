"""A schedule against an object store: six ticks that overlap, are killed, resumed and replayed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from dentgen import storage
from dentgen.errors import BuildError
from dentgen.pipeline.run import BuildOutcome, build
from dentgen.pipeline.verify import verify
from dentgen.shards.dataset import open_dataset
from dentgen.shards.gc import stray_files
from dentgen.shards.plan_file import read_plan
from dentgen.shards.seals import list_versions
from dentgen.spec.build import BuildSpec
from tests.conftest import ROOT
from tests.pipeline.growing import Members, add_shard, growing_spec, without_a_model

pytestmark = pytest.mark.slow

#: One tick in a process of its own, which kills itself once its first unit is committed.
KILLED = """
import os, signal, sys
import pytest
from dentgen.pipeline.run import build
from tests.pipeline.growing import growing_spec, without_a_model

without_a_model(pytest.MonkeyPatch())
spec = growing_spec(sys.argv[1], sys.argv[2])
build(spec, use_ray=False, tick=sys.argv[3], progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


class Schedule:
    """A source and a dataset in an object store."""

    def __init__(self, root: str, folder: Path, members: Members) -> None:
        self.source, self.out = storage.join(root, "schedule/in"), storage.join(root, "schedule/out")
        self.folder, self.members, self.given = folder, members, 0
        self.before: dict[str, bytes] = {}
        self.keys: dict[int, set[str]] = {}

    @property
    def spec(self) -> BuildSpec:
        return growing_spec(self.source, self.out)

    def arrive(self, name: str, count: int = 2) -> None:
        """A new condition shard."""
        shard = add_shard(self.folder / "new", name, self.members, self.given, count)
        storage.put_if_absent(storage.join(self.source, shard.name), shard.read_bytes())
        self.given += count

    def tick(self, key: str) -> BuildOutcome:
        outcome = build(self.spec, use_ray=False, tick=key)
        self.look()
        return outcome

    def names(self) -> list[str]:
        return [storage.relative_name(self.out, file.url) for file in storage.list_files(self.out)]

    def look(self) -> None:
        """Files of versions are as they were, and every version reads as it did."""
        folders = ("shards/", "ledger/", "versions/")
        now = {name: self.read(name) for name in self.names() if name.startswith(folders)}
        assert self.before.items() <= now.items()
        self.before = now
        for seal in list_versions(self.out):
            keys = {sample["key"] for sample in open_dataset(self.out, version=seal.version)}
            assert len(keys) == seal.written
            assert self.keys.setdefault(seal.version, keys) == keys

    def read(self, name: str) -> bytes:
        return storage.read_bytes(storage.join(self.out, name))

    def as_datasets_reads(self, card: str) -> set[str]:
        """Keys that Hugging Face datasets finds in everything that is there now, with this card."""
        copy = self.folder / f"copy-{len(list(self.folder.iterdir()))}"
        for name in self.names():
            if name.startswith("shards/"):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                (copy / name).write_bytes(self.read(name))
        (copy / "README.md").write_bytes(self.read(card))
        found = datasets.load_dataset(str(copy), cache_dir=str(copy / "cache"))
        return {key for split in found.values() for key in split["__key__"]}


def test_ticks_overlap_are_killed_and_replayed_and_versions_stay(
    s3_root: str, tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_model(monkeypatch)
    schedule = Schedule(s3_root, tmp_path, demo_members)
    schedule.arrive("b")
    assert schedule.tick("1").index.version == 0
    schedule.arrive("a", 3)
    refused: list[BuildError] = []
    read: list[set[str]] = []

    def overlap(*_: int) -> None:  # tick 3 fires while tick 2 is between two units
        if not refused:
            with pytest.raises(BuildError) as caught:
                build(schedule.spec, use_ray=False, tick="3")
            refused.append(caught.value)
            read.append(schedule.as_datasets_reads("README.md"))

    spec = schedule.spec.model_copy(
        update={"pipeline": schedule.spec.pipeline.model_copy(update={"lease_seconds": 2.0})}
    )
    assert build(spec, use_ray=False, tick="2", progress=overlap).index.version == 1
    schedule.look()
    assert f"process {os.getpid()}" in refused[0].found
    assert read == [schedule.keys[0]], "what is being added is not read"
    assert schedule.tick("3").already
    schedule.arrive("d")
    schedule.arrive("c")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, schedule.source, schedule.out, "4"]
    killed = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    schedule.look()
    assert schedule.as_datasets_reads("README.md") == schedule.keys[1]
    assert list(verify(schedule.out)) == []
    resumed = schedule.tick("4")
    assert (resumed.index.version, resumed.made) == (2, 1)
    schedule.arrive("e", 1)
    replayed = schedule.tick("2")
    assert (replayed.replayed, replayed.index.version) == (True, 1)
    assert schedule.tick("5").index.version == 3
    schedule.arrive("f", 1)
    assert schedule.tick("6").index.version == 4
    assert [seal.tick for seal in list_versions(schedule.out)] == ["1", "2", "4", "5", "6"]
    assert list(verify(schedule.out)) == []
    assert stray_files(schedule.out, read_plan(schedule.out)) == []
    for version, keys in schedule.keys.items():
        assert schedule.as_datasets_reads(f"versions/{version}/README.md") == keys
    local = growing_spec(tmp_path / "new", tmp_path / "whole")
    assert schedule.keys[4] == {sample["key"] for sample in _built(local)}, "what a build of the whole source has"


def _built(spec: BuildSpec) -> list[dict[str, object]]:
    build(spec, use_ray=False)
    return list(open_dataset(spec.output.path))
