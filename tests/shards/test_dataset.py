"""A finished build as a PyTorch dataset: every sample once, bit for bit, from any storage, and for others too."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset as wds
from PIL import Image
from torch.utils.data import DataLoader

import dentgen
from dentgen import storage
from dentgen.documents.index import DatasetIndex, ShardEntry
from dentgen.errors import BuildError, SpecError, StorageError
from dentgen.records import TRAINED_ALGORITHMIC_MEDIA
from dentgen.report.card.write import write_description
from dentgen.shards.dataset import decode_sample, open_dataset
from dentgen.shards.index_reader import index_sha256, read_index
from dentgen.shards.ledger import digest_of
from dentgen.shards.plan_file import write_plan
from dentgen.shards.reader import read_samples
from dentgen.shards.selection_file import Selection, write_selection
from dentgen.shards.tar import image_bytes, json_bytes, png_bytes, tar_bytes
from tests.conftest import ROOT
from tests.report.fake_builds import fake_build, rejected, written

#: What each rank runs: its share of the keys, through a spawned worker.
RANK = """
import json, sys, torch.distributed
from torch.utils.data import DataLoader
from dentgen import open_dataset

if __name__ == "__main__":
    out, rank, rendezvous = sys.argv[1:]
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=int(rank), world_size=2)
    loader = DataLoader(open_dataset(out), batch_size=3, num_workers=1, multiprocessing_context="spawn")
    print(json.dumps([key for batch in loader for key in batch["key"]]))
"""

HUB = """
import datasets, hashlib, json, sys

out, cache, *files = sys.argv[1:]
where = {"path": "webdataset", "data_files": {"train": files}} if files else {"path": out}
splits = datasets.load_dataset(**where, cache_dir=cache)
names = ("png", "seg.png", "fdi.png", "light.png")
pixels = lambda image: hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).hexdigest()
samples = [sample for split in splits for sample in splits[split]]
found = {s["__key__"]: [*(pixels(s[name]) for name in names), s["json"]["teeth"]] for s in samples}
print(json.dumps({"splits": {split: len(splits[split]) for split in splits}, "samples": found}))
"""


#: Pixels of a fake build.
SIZE = 16


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of two samples each; the first and the last one belong to ``validation``, the others to ``train``."""
    out = tmp_path_factory.mktemp("build") / "out"
    plan = fake_build(out, [written(number) for number in range(5)])
    write_plan(str(out), plan)
    write_description(str(out), plan, read_index(str(out)))
    return out


def members(out: Path) -> dict[str, dict[str, bytes]]:
    return dict(read_samples(str(out)))


def run_python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, *arguments]
    values = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=values, cwd=ROOT)


def printed(process: subprocess.Popen[str]) -> Any:
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    return json.loads(stdout)


def test_a_loader_just_works(out: Path) -> None:
    samples = dentgen.open_dataset(str(out))
    batches = list(DataLoader(samples, batch_size=4))
    assert samples.num_samples == 10 == sum(len(batch["key"]) for batch in batches)
    assert set(batches[0]) == {"key", "image", "seg", "fdi", "light", "metadata"}
    assert batches[0]["image"].shape == (4, 3, SIZE, SIZE)
    assert batches[0]["seg"].shape == batches[0]["light"].shape == (4, SIZE, SIZE)
    assert {batches[0][name].dtype for name in ("image", "seg", "fdi", "light")} == {torch.uint8}
    keys = [json.loads(text)["key"] for batch in batches for text in batch["metadata"]]
    assert keys == list(members(out)), "in the order of the build"


def test_pixels_are_those_of_the_members(out: Path) -> None:
    stored = members(out)
    for sample in open_dataset(str(out)):
        for name in ("seg", "fdi", "light"):
            expected = np.asarray(Image.open(io.BytesIO(stored[sample["key"]][f"{name}.png"])))
            assert (sample[name].numpy() == expected).all()
        picture = np.asarray(Image.open(io.BytesIO(stored[sample["key"]]["png"])))
        assert (sample["image"].permute(1, 2, 0).numpy() == picture).all()


def test_every_encoding_comes_back_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    normal = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    depth = rng.integers(0, 65536, (4, 6), dtype=np.uint16)
    depth[0, 0] = 65535
    curvature = rng.integers(0, 256, (4, 6), dtype=np.uint8)
    members = {name: png_bytes(array) for name, array in (("normal.png", normal), ("curvature.png", curvature))}
    picture = image_bytes(normal, "webp", TRAINED_ALGORITHMIC_MEDIA)
    sample = {"__key__": "k", "__url__": "u", "json": b"{}", "webp": picture, "depth.png": png_bytes(depth), **members}
    decoded = decode_sample(sample)
    assert set(decoded) == {"key", "metadata", "normal", "depth", "curvature", "image"}
    assert decoded["depth"].dtype == torch.int32
    assert (decoded["depth"].numpy() == depth).all()
    assert (decoded["curvature"].numpy() == curvature).all()
    for name in ("normal", "image"):
        assert decoded[name].is_contiguous()
        assert (decoded[name].permute(1, 2, 0).numpy() == normal).all()


def test_undecoded_samples_are_webdatasets_own(out: Path) -> None:
    for sample in open_dataset(str(out), decode=False):
        assert sample.pop("__url__").startswith(str(out / "shards"))
        assert members(out)[sample.pop("__key__")] == sample


def test_ranks_of_the_environment_and_forked_workers_see_every_sample_once(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    shares: list[list[str]] = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        loader = DataLoader(open_dataset(str(out)), batch_size=3, num_workers=2)
        shares.append([key for batch in loader for key in batch["key"]])
    assert sorted(shares[0] + shares[1]) == sorted(members(out))
    assert [len(share) for share in shares] == [6, 4], "five shards of two samples"


@pytest.mark.slow
def test_ranks_of_a_process_group_and_spawned_workers_see_every_sample_once(out: Path, tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK)
    rendezvous = f"file://{tmp_path}/rendezvous"
    processes = [
        run_python(str(tmp_path / "rank.py"), str(out), rank, rendezvous, GLOO_SOCKET_IFNAME="lo")
        for rank in ("0", "1")
    ]
    shares = [printed(process) for process in processes]
    assert sorted(shares[0] + shares[1]) == sorted(members(out))
    assert [len(share) for share in shares] == [6, 4], "five shards of two samples"


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_more_workers_than_shards_are_no_error(out: Path) -> None:
    loader = DataLoader(open_dataset(str(out), "validation"), batch_size=2, num_workers=3)
    assert sum(len(batch["key"]) for batch in loader) == 4


def test_shards_without_a_split_are_not_read(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_range = storage.read_range

    def noted(url: str, start: int, stop: int) -> bytes:
        read.append(storage.name_of(url))
        return read_range(url, start, stop)

    monkeypatch.setattr(storage, "read_range", noted)
    samples = open_dataset(str(out), "validation")
    keys = [sample["key"] for sample in samples]
    monkeypatch.undo()
    assert keys == [key for key, sample in members(out).items() if json.loads(sample["json"])["split"] == "validation"]
    assert samples.num_samples == len(keys) == 4
    assert read == ["000000.tar", "000004.tar"]
    assert open_dataset(str(out), "train").num_samples == 6


def test_of_a_shard_of_two_splits_one_is_yielded(tmp_path: Path) -> None:
    fake_build(tmp_path, [[*written(0), *written(1)], written(2)])
    keys = {
        split: [sample["key"] for sample in open_dataset(str(tmp_path), split)] for split in ("train", "validation")
    }
    assert keys["validation"] == ["jaw-000-v000", "jaw-000-v001"]
    assert keys["train"] == ["jaw-001-v000", "jaw-001-v001", "jaw-002-v000", "jaw-002-v001"]
    assert len(open_dataset(str(tmp_path), "validation").shards) == 1


def test_wrong_arguments_and_unfinished_builds_are_errors_that_name_them(out: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        open_dataset(str(out), "test")
    assert (caught.value.file, caught.value.key, caught.value.found) == (str(out), "split", "'test'")
    assert caught.value.expected == "one of ['train', 'validation']"
    with pytest.raises(SpecError) as caught:
        open_dataset(str(out), shuffle=-1)
    assert (caught.value.key, caught.value.found) == ("shuffle", -1)
    shutil.copytree(out / "plan", tmp_path / "started" / "plan")
    with pytest.raises(BuildError) as unfinished:
        open_dataset(str(tmp_path / "started"))
    assert unfinished.value.file == str(tmp_path / "started")
    assert "index.json" in unfinished.value.found


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_shard_is_an_error_that_names_it(out: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(out, tmp_path / "out")
    shard = tmp_path / "out" / "shards" / "000003.tar"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    samples = iter(DataLoader(open_dataset(str(tmp_path / "out")), batch_size=None, num_workers=workers))
    with pytest.raises(BuildError) as caught:
        list(samples)
    assert f"{shard}: " in str(caught.value), "an error from a worker carries text alone"
    assert digest_of(bytes(data)) in str(caught.value)
    if workers:
        samples._shutdown_workers()  # type: ignore[attr-defined]  # else whenever the error is collected, for ten seconds
    else:
        assert caught.value.file == str(shard)
    shard.unlink()
    with pytest.raises(StorageError) as missing:
        list(open_dataset(str(tmp_path / "out")))
    assert missing.value.file == str(shard)


def selected(out: Path, file: Path, keys: list[str]) -> str:
    """A selection of these samples, whose records are units of their own."""
    shards = tuple(f"{int(key[4:7]):06d}.tar" for key in keys)
    write_selection(str(file), Selection(index_sha256(str(out)), tuple(keys), shards))
    return str(file)


def test_only_selected_samples_are_read(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["jaw-003-v001", "jaw-000-v000", "jaw-003-v000", "jaw-004-v001"]
    file = selected(out, tmp_path / "chosen.parquet", keys)
    read: list[str] = []
    read_range = storage.read_range

    def noted(url: str, start: int, stop: int) -> bytes:
        read.append(storage.name_of(url))
        return read_range(url, start, stop)

    monkeypatch.setattr(storage, "read_range", noted)
    samples = open_dataset(str(out), selection=file)
    assert [sample["key"] for sample in samples] == sorted(keys)
    assert (samples.num_samples, read) == (4, ["000000.tar", "000003.tar", "000004.tar"])
    of_split = open_dataset(str(out), "validation", selection=file)
    assert [sample["key"] for sample in of_split] == ["jaw-000-v000", "jaw-004-v001"]
    assert (of_split.num_samples, [shard.name for shard in of_split.shards]) == (2, ["000000.tar", "000004.tar"])
    assert {sample["key"] for sample in open_dataset(str(out), selection=file, shuffle=8)} == set(keys)
    loader = DataLoader(open_dataset(str(out), selection=file), batch_size=None, num_workers=2)
    assert sorted(sample["key"] for sample in loader) == sorted(keys)


def test_a_selection_of_another_index_is_refused(out: Path, tmp_path: Path) -> None:
    fake_build(tmp_path / "other", [written(0)])
    file = selected(tmp_path / "other", tmp_path / "chosen.parquet", ["jaw-000-v000"])
    with pytest.raises(SpecError) as caught:
        open_dataset(str(out), selection=file)
    assert (caught.value.file, caught.value.key) == (file, "index_sha256")
    assert caught.value.found == index_sha256(str(tmp_path / "other"))
    assert index_sha256(str(out)) in caught.value.expected
    own = selected(out, tmp_path / "own.parquet", ["jaw-000-v000"])
    assert open_dataset(str(out), version=0, selection=own).num_samples == 1, "the same index as its version"


def test_order_depends_on_seed_and_epoch_alone(out: Path) -> None:
    def order(seed: int, epoch: int, shuffle: int = 4) -> list[str]:
        samples = open_dataset(str(out), shuffle=shuffle, seed=seed, decode=False)
        samples.set_epoch(epoch)
        return [sample["__key__"] for sample in samples]

    orders = [order(0, 0), order(0, 1), order(1, 0)]
    assert order(0, 0) == orders[0]
    assert len({tuple(keys) for keys in [*orders, list(members(out))]}) == 4
    assert all(sorted(keys) == sorted(members(out)) for keys in orders)
    shards = [key.rsplit("-v", 1)[0] for key in orders[0]]
    assert shards != sorted(shards), "shards are shuffled, and samples of several mixed"
    assert any(a != b for a, b in zip(shards[::2], shards[1::2], strict=True))
    assert len({tuple(order(0, epoch, shuffle=1)) for epoch in range(3)}) > 1, "a buffer of one: the order of shards"


def test_workers_that_outlive_an_epoch_see_the_next(out: Path) -> None:
    samples = open_dataset(str(out), shuffle=4)
    loader = DataLoader(samples, batch_size=None, num_workers=1, persistent_workers=True)
    epochs = []
    for epoch in (0, 1, 0):
        samples.set_epoch(epoch)
        epochs.append([sample["key"] for sample in loader])
    assert epochs[0] == epochs[2] != epochs[1]


def test_a_key_in_a_folder_that_webdataset_skips_is_read(out: Path, tmp_path: Path) -> None:
    """webdataset takes __name__/ for its own metadata."""
    (tmp_path / "shards").mkdir()
    data = tar_bytes([("__a__/b-v000", {"json": b"{}"})])
    (tmp_path / "shards" / "000000.tar").write_bytes(data)
    shard = ShardEntry(name="000000.tar", bytes=len(data), sha256=digest_of(data), samples=1)
    index = DatasetIndex(version=0, spec_digest="", bundle_digest="", planned=1, written=1, rejected=0, shards=(shard,))
    (tmp_path / "index.json").write_bytes(json_bytes(index.model_dump(mode="json")))
    assert [sample["key"] for sample in open_dataset(str(tmp_path))] == ["__a__/b-v000"]


def test_an_empty_build_is_an_empty_dataset(tmp_path: Path) -> None:
    fake_build(tmp_path / "out", [rejected(0, "torn")])
    samples = open_dataset(str(tmp_path / "out"), shuffle=8)
    assert (samples.num_samples, list(DataLoader(samples, num_workers=2))) == (0, [])
    with pytest.raises(SpecError) as caught:
        open_dataset(str(tmp_path / "out"), "train")
    assert caught.value.expected == "one of []"


@pytest.mark.integration
def test_a_build_in_an_object_store_is_read(out: Path, s3_root: str) -> None:
    url = storage.join(s3_root, "dataset")
    for path in ["index.json", "samples.parquet", *(f"shards/{shard.name}" for shard in (out / "shards").iterdir())]:
        storage.put_if_absent(storage.join(url, path), (out / path).read_bytes())
    for workers in (0, 2):
        loader = DataLoader(open_dataset(url, "train"), batch_size=None, num_workers=workers)
        found = {sample["key"]: sample for sample in loader}
        assert len(found) == 6
        for sample in open_dataset(str(out), "train"):
            assert (found[sample["key"]]["image"] == sample["image"]).all()


def test_plain_webdataset_reads_the_same_samples(out: Path) -> None:
    shards = [str(path) for path in sorted((out / "shards").iterdir())]
    plain = {sample["__key__"]: sample for sample in wds.WebDataset(shards, shardshuffle=False)}
    ours = {sample["__key__"]: sample for sample in open_dataset(str(out), decode=False)}
    assert list(plain) == list(ours)
    for key, sample in ours.items():
        assert {k: v for k, v in plain[key].items() if not k.startswith("__")} == {
            k: v for k, v in sample.items() if not k.startswith("__")
        }


@pytest.mark.slow
@pytest.mark.parametrize("by_card", [False, True])
def test_hugging_face_reads_the_same_samples(out: Path, tmp_path: Path, by_card: bool) -> None:
    def digest(data: bytes) -> str:
        image = Image.open(io.BytesIO(data))
        return hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).hexdigest()

    files = [] if by_card else [str(path) for path in sorted((out / "shards").iterdir())]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    found = printed(run_python("-c", HUB, str(out), str(tmp_path / "cache"), *files, **offline))
    assert found["splits"] == ({"train": 6, "validation": 4} if by_card else {"train": 10})
    assert found["samples"] == {
        key: [
            *(digest(sample[name]) for name in ("png", "seg.png", "fdi.png", "light.png")),
            json.loads(sample["json"])["teeth"],
        ]
        for key, sample in members(out).items()
    }
