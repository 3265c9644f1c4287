"""A build with source and output in an object store gives the bytes of a local one."""

from __future__ import annotations

from pathlib import Path

from dentgen import storage
from dentgen.pipeline.run import build
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, shard_bytes, small_spec


def test_a_build_from_s3_to_s3_has_the_bytes_of_a_local_one(small_source: Path, tmp_path: Path, s3_root: str) -> None:
    build(small_spec(small_source, tmp_path / "local", sampling={"steps": 1}), use_ray=False)
    source, out = storage.join(s3_root, "conditions"), storage.join(s3_root, "out")
    for path in small_source.iterdir():
        storage.put_if_absent(storage.join(source, path.name), path.read_bytes())
    local = small_spec(small_source, tmp_path, sampling={"steps": 1}).model_dump(mode="json")
    spec = BuildSpec.model_validate({**local, "source": {"path": source}, "output": {"path": out}})
    assert build(spec, use_ray=False).index.written == 10
    assert build(spec, use_ray=False).made == 0, "a second run finds it done"
    assert problems(out) == []
    names = storage.list_names(storage.join(out, "shards"))
    assert {name: storage.read_bytes(storage.join(out, "shards", name)) for name in names} == shard_bytes(
        tmp_path / "local"
    )
