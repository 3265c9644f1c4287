"""Verification finds what was damaged, by name, and only that."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.pipeline.plan import read_plan
from dentgen.pipeline.run import build
from dentgen.records import SampleMetadata
from dentgen.shards.reader import read_samples
from dentgen.shards.verify import verify_build
from tests.conftest import small_spec


@pytest.fixture
def out(small_source: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    build(small_spec(small_source, out), use_ray=False)
    return out


def problems(out: Path) -> list[str]:
    return verify_build(str(out), read_plan(str(out)))


def test_a_sound_build_has_none(out: Path) -> None:
    assert problems(out) == []


def test_every_sample_says_what_decided_it(out: Path) -> None:
    samples = dict(read_samples(str(out)))
    assert len(samples) == 10
    members = {frozenset(sample) for sample in samples.values()}
    assert members == {frozenset({"png", "seg.png", "fdi.png", "light.png", "json"})}, "the same members everywhere"
    metadata = SampleMetadata.model_validate_json(next(iter(samples.values()))["json"])
    assert metadata.source_licence == "CC0-1.0"
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


def test_a_build_that_was_not_sealed_is_found(out: Path) -> None:
    (out / "_SUCCESS").unlink()
    assert problems(out) == ["_SUCCESS: not there, the build was not sealed"]
