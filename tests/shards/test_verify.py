"""Verification finds what was damaged, by name, and only that."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dentgen.documents import SampleMetadata
from dentgen.pipeline.run import build
from dentgen.shards.ledger import digest_of, read_ledger
from dentgen.shards.reader import read_samples, tar_samples
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes
from tests.conftest import problems, small_spec


@pytest.fixture
def out(small_source: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    build(small_spec(small_source, out), use_ray=False)
    return out


def test_a_sound_build_has_none(out: Path) -> None:
    assert problems(out) == []


def test_every_sample_says_what_decided_it(out: Path) -> None:
    samples = dict(read_samples(str(out)))
    assert len(samples) == 10
    members = {frozenset(sample) for sample in samples.values()}
    assert members == {frozenset({"png", "seg.png", "fdi.png", "light.png", "json"})}, "the same members everywhere"
    metadata = SampleMetadata.model_validate_json(next(iter(samples.values()))["json"])
    assert metadata.source_license == "CC0-1.0"
    assert metadata.synthetic is True
    assert (metadata.seed, metadata.scheduler, metadata.steps) == (5, "unipc", 4)
    assert {"torch", "diffusers", "slots", "threads", "device_kind"} <= metadata.software.keys()
    table = pq.read_table(out / "samples.parquet").to_pylist()
    assert sorted(row["key"] for row in table) == sorted(samples)
    for name in ("seed", "prompt", "scheduler", "guidance_scale", "spec_digest", "bundle_digest", "group", "split"):
        assert all(row[name] is not None for row in table), name


def test_one_flipped_byte_is_found(out: Path) -> None:
    shard = out / "shards" / "000001.tar"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(bytes(data))
    (problem,) = problems(out)
    assert "shards/000001.tar" in problem
    assert "sha256" in problem


def test_a_missing_shard_and_a_missing_record_are_found(out: Path) -> None:
    (out / "shards" / "000000.tar").unlink()
    (out / "ledger" / "000002.json").unlink()
    found = "\n".join(problems(out))
    assert "shards/000000.tar: not there" in found
    assert "ledger/000002.json: not there" in found


def test_a_damaged_ledger_record_index_and_table_are_found(out: Path) -> None:
    (out / "ledger" / "000001.json").write_text("{")
    assert "ledger/000001.json" in "".join(problems(out))


@pytest.mark.parametrize("name", ["index.json", "versions/0/index.json", "samples.parquet"])
def test_damage_to_what_is_derived_is_found(name: str, out: Path) -> None:
    whole = (out / name).read_bytes()
    for damaged in (whole[:-20], b""):
        (out / name).write_bytes(damaged)
        (problem,) = problems(out)
        assert problem.startswith(f"{name}: ")


def test_a_table_of_another_build_is_found(out: Path) -> None:
    table = pq.read_table(out / "samples.parquet")
    pq.write_table(table.slice(1), out / "samples.parquet")
    (problem,) = problems(out)
    assert "found 9 rows that disagree with the ledger, expected its 10 samples" in problem


def rewritten(out: Path, change: Callable[[dict[str, dict[str, bytes]]], None]) -> list[str]:
    """Problems after a unit was changed and committed with a true hash: only reading the samples finds them."""
    record = read_ledger(str(out), "000000")
    samples = dict(tar_samples((out / "shards" / record.shard).read_bytes()))
    change(samples)
    data = tar_bytes(samples.items())
    (out / "shards" / record.shard).write_bytes(data)
    told = record.model_copy(update={"sha256": digest_of(data), "bytes": len(data)})
    (out / "ledger" / "000000.json").write_bytes(json_bytes(told.model_dump(mode="json")))
    return [problem for problem in problems(out) if "index" not in problem]


def test_what_hashes_cannot_tell_is_found_in_the_samples(out: Path) -> None:
    keys = [key for key, _ in tar_samples((out / "shards" / "000000.tar").read_bytes())]

    def spoil(samples: dict[str, dict[str, bytes]]) -> None:
        samples[keys[0]]["seg.png"] = png_bytes(np.full((128, 128), 7, np.uint8))
        samples[keys[1]]["fdi.png"] = png_bytes(np.zeros((64, 64), np.uint8))
        del samples[keys[2]]["light.png"]
        samples["other"] = samples.pop(keys[3])

    found = "\n".join(rewritten(out, spoil))
    for key, text in (
        (keys[0], "seg.png: found values [7]"),
        (keys[1], "fdi.png: found ('PNG', 'L', (64, 64))"),
        (keys[2], "found members"),
        (keys[3], "not in the shard"),
        ("other", "not written as the ledger says"),
        ("other", f"found key '{keys[3]}'"),
    ):
        assert re.search(re.escape(key) + ".*" + re.escape(text), found), (key, text, found)


def test_a_build_that_was_not_sealed_is_found(out: Path) -> None:
    (out / "_SUCCESS").unlink()
    assert problems(out) == ["_SUCCESS: not there, the build was not sealed"]
