"""Byte identity: a build has the same shards in one process and in Ray, from any listing, place, or second attempt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.documents.samples import SampleMetadata
from dentgen.errors import SpecChangedError
from dentgen.pipeline import environment as environment_module
from dentgen.pipeline.run import build
from dentgen.shards.dataset import open_dataset
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
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
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build in one process, without Ray."""
    out = tmp_path_factory.mktemp("reference")
    build(small_spec(source, out), use_ray=False)
    assert problems(out) == []
    return out


POOL = {"min": 1, "max": 2}
SLOWER = ((2, "unit"), (1, "continuous"), (2, "continuous"), (POOL, "unit"), (POOL, "continuous"))
#: Number of actors, or their range, and ``engine.fill``.
ACTORS = [(1, "unit"), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOWER)]


@pytest.mark.ray
@pytest.mark.parametrize(("actors", "fill"), ACTORS)
def test_ray_gives_the_bytes_of_one_process(
    actors: object, fill: str, source: Path, tmp_path: Path, whole: Path, ray_local: None
) -> None:
    spec = small_spec(source, tmp_path, pipeline={"actors": actors}, engine={"slots": 4, "fill": fill})
    outcome = build(spec)
    assert shard_bytes(tmp_path) == shard_bytes(whole)
    assert problems(tmp_path) == []
    assert outcome.made == 6
    assert 1 <= len(outcome.actors) <= spec.pipeline.most_actors


#: In a process of its own, which has no Ray yet.
SCRIPT = """
import json, logging, sys
import ray, ray.data, torch
from dentgen import BuildSpec, build

def state():
    context, level = ray.data.DataContext.get_current(), logging.getLogger("ray.data").level
    settings = [context.max_errored_blocks, context.enable_progress_bars, level]
    return [ray.is_initialized(), torch.get_num_threads(), *settings]

torch.set_num_threads(2)
before = state()
build(BuildSpec.model_validate_json(sys.argv[1]))
print(json.dumps([before, state()]))
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_build_shuts_down_the_ray_that_it_started_and_restores_what_it_set(
    source: Path, tmp_path: Path, whole: Path
) -> None:
    spec = small_spec(source, tmp_path / "out", engine={"slots": 4, "fill": "continuous"})
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, spec.model_dump_json()],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    before, after = json.loads(run.stdout.splitlines()[-1])
    assert before[:2] == [False, 2]
    assert after == before
    assert shard_bytes(tmp_path / "out") == shard_bytes(whole)


@pytest.mark.slow
def test_the_order_of_a_listing_changes_nothing(
    source: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = LocalFileSystem.find

    def backwards(self: LocalFileSystem, *args: object, **kwargs: object) -> object:
        listing = found(self, *args, **kwargs)
        return dict(reversed(listing.items())) if isinstance(listing, dict) else listing[::-1]

    monkeypatch.setattr(LocalFileSystem, "find", backwards)
    build(small_spec(source, tmp_path), use_ray=False)
    assert shard_bytes(tmp_path) == shard_bytes(whole)


@pytest.mark.slow
def test_a_build_in_steps_from_a_moved_source_changes_nothing(source: Path, tmp_path: Path, whole: Path) -> None:
    """Interrupted after two units, and resumed in another place."""
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in source.glob("*.tar"):
        os.link(path, moved / path.name)  # with the time stamps of the originals

    def interrupt(samples: int, planned: int) -> None:
        if samples == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(small_spec(source, tmp_path / "out"), use_ray=False, progress=interrupt)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "ledger").iterdir()}
    assert len(done) == 2
    outcome = build(small_spec(moved, tmp_path / "out"), use_ray=False)
    assert outcome.made == 4, "committed units are not generated again"
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert shard_bytes(tmp_path / "out") == shard_bytes(whole)
    assert problems(tmp_path / "out") == []


def quick_spec(source: Path, out: Path, **sections: dict[str, object]) -> BuildSpec:
    """Two units of one record and one step."""
    values: dict[str, dict[str, object]] = {
        "source": {"limit": 2}, "sampling": {"steps": 1}, "pipeline": {"samples_per_shard": 2},
    }  # fmt: skip
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return small_spec(source, out, **values)


@pytest.mark.slow
def test_a_prompt_may_say_what_the_plan_says(source: Path, tmp_path: Path) -> None:
    spec = quick_spec(source, tmp_path, sampling={"prompt": "units of this plan"})
    assert build(spec, use_ray=False).index.written == 4
    assert build(spec, use_ray=False).made == 0
    assert problems(tmp_path) == []
    for _, members in read_samples(str(tmp_path)):
        assert SampleMetadata.model_validate_json(members["json"]).prompt == "units of this plan"


@pytest.mark.integration
def test_another_environment_is_refused_or_a_warning(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another version of torch is found when the build is resumed."""

    def interrupt(samples: int, planned: int) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    build(quick_spec(source, tmp_path / "whole"), use_ray=False)
    with pytest.raises(KeyboardInterrupt):
        build(quick_spec(source, out), use_ray=False, progress=interrupt)
    version = vars(environment_module)["version"]
    monkeypatch.setattr(environment_module, "version", lambda name: "9.9" if name == "torch" else version(name))
    with pytest.raises(SpecChangedError) as caught:
        build(quick_spec(source, out), use_ray=False)
    assert "environment.torch" in caught.value.message
    assert len(shard_bytes(out)) == 1
    outcome = build(quick_spec(source, out, pipeline={"environment": "warn"}), use_ray=False)
    assert outcome.made == 1
    assert any("environment.torch" in record.getMessage() for record in caplog.records)
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
    assert problems(out) == []


@pytest.mark.ray
@pytest.mark.slow
def test_another_environment_is_a_warning_with_ray_too(source: Path, tmp_path: Path, ray_local: None) -> None:
    from dentgen.pipeline.plan import make_plan
    from dentgen.shards.plan_file import write_plan

    plan = make_plan(quick_spec(source, tmp_path))
    write_plan(str(tmp_path), replace(plan, environment={**plan.environment, "torch": "9.9"}))
    build(quick_spec(source, tmp_path, pipeline={"environment": "warn"}))
    assert problems(tmp_path) == []


@pytest.mark.slow
def test_every_sample_says_what_decided_it(whole: Path) -> None:
    samples, plan = dict(read_samples(str(whole))), read_plan(str(whole))
    assert len(samples) == 24
    members = {frozenset(sample) for sample in samples.values()}
    assert members == {frozenset({"png", "seg.png", "fdi.png", "light.png", "json"})}, "the same members everywhere"
    for key, sample in samples.items():
        metadata = SampleMetadata.model_validate_json(sample["json"])
        assert metadata.key == key
        assert (metadata.seed, metadata.scheduler, metadata.steps) == (5, "unipc", 2)
        assert (metadata.height, metadata.width) == (64, 64)
        assert (metadata.source_license, metadata.synthetic) == ("CC0-1.0", True)
        assert (metadata.spec_digest, metadata.software) == (plan.spec_digest, plan.environment)
    table = pq.read_table(whole / "samples.parquet").to_pylist()
    assert sorted(row["key"] for row in table) == sorted(samples)
    for name in ("seed", "prompt", "scheduler", "guidance_scale", "spec_digest", "bundle_digest", "group", "split"):
        assert all(row[name] is not None for row in table), name


def test_labels_are_the_fitted_maps_of_the_source_bit_for_bit(whole: Path, demo_members: Members) -> None:
    """Read back as a user reads them."""
    samples = list(open_dataset(str(whole)))
    assert len(samples) == 24
    for sample in samples:
        key = json.loads(sample["metadata"])["source_key"]
        raw = RawRecord(key, key, {k: v for k, v in demo_members[key].items() if not k.startswith("photo")})
        record = fit_record(decode_record(raw, ("segmentation", "lighting")), (64, 64), "pad")
        assert record.fdi is not None
        assert (sample["seg"].numpy() == record.conditions["segmentation"]).all()
        assert (sample["light"].numpy() == record.conditions["lighting"]).all()
        assert (sample["fdi"].numpy() == record.fdi).all()
