"""Builds of finished builds: labels enlarged exactly, findings judged again, origin carried on, bytes reproducible."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dentgen.errors import DentgenError, SpecError
from dentgen.pipeline.run import build
from dentgen.records import COMPOSITE_MEDIA, TRAINED_ALGORITHMIC_MEDIA
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import Members, read_samples
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT, problems, shard_bytes, small_spec, write_tar

CROWN = {"teeth": [11, 21, 31, 41], "kind": "restoration", "part": "whole"}
UPSCALE = {"upscale": 2, "window": 64, "steps": 4, "variants": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """A finished build of two records with findings, in two shards, and a shard that was never committed."""
    root = tmp_path_factory.mktemp("source")
    write_tar(root / "conditions" / "a.tar", dict(sorted(demo_members.items())[:2]))
    sections: dict[str, Any] = {"sampling": {"steps": 1, "variants": 1}, "pipeline": {"samples_per_shard": 1}}
    build(small_spec(root / "conditions", root / "out", findings=[CROWN], **sections), use_ray=False)
    shutil.copy(root / "out" / "shards" / "000000.tar", root / "out" / "shards" / "000009.tar")
    return root / "out"


def upscale_spec(source: Path, out: Path, **sections: dict[str, object] | list[Any]) -> BuildSpec:
    values: dict[str, Any] = {"sampling": UPSCALE, "engine": {"slots": 9, "codec_batch": 2}, **sections}
    spec = small_spec(source, out, pipeline={"samples_per_shard": 1}, **values).model_dump(exclude_unset=True)
    spec["conditions"].pop("size")
    return BuildSpec.model_validate(spec)


@pytest.fixture(scope="module")
def upscaled(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("upscaled") / "out"
    build(upscale_spec(source, out, model={"encode_tile": 64}), use_ray=False)
    return out


def samples(out: Path) -> dict[str, Members]:
    return dict(read_samples(str(out)))


def pixels(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.slow
def test_every_sample_of_the_index_is_enlarged_once(source: Path, upscaled: Path) -> None:
    assert list(samples(upscaled)) == [f"{key}-v000" for key in samples(source)]
    index = json.loads((upscaled / "index.json").read_text())
    assert (index["planned"], index["written"] + index["rejected"]) == (2, 2)
    assert problems(upscaled) == []


@pytest.mark.integration
def test_labels_are_enlarged_exactly(source: Path, upscaled: Path) -> None:
    for (_, small), (_, large) in zip(samples(source).items(), samples(upscaled).items(), strict=True):
        for member in ("seg.png", "fdi.png", "finding.png"):
            assert (pixels(large[member]) == pixels(small[member]).repeat(2, 0).repeat(2, 1)).all(), member
        assert pixels(large["png"]).shape == (128, 128, 3)


@pytest.mark.integration
def test_findings_are_judged_again(source: Path, upscaled: Path) -> None:
    before, after = (
        [finding for members in samples(out).values() for finding in json.loads(members["json"])["findings"]]
        for out in (source, upscaled)
    )
    assert before
    kept = ("label", "kind", "where", "teeth", "prompt")
    assert [[one[name] for name in kept] for one in before] == [[one[name] for name in kept] for one in after]
    assert [4 * one["pixels"] for one in before] == [one["pixels"] for one in after]
    assert all(one["found"] is not None for one in after)
    assert [one["inside"] for one in before] != [one["inside"] for one in after], "seen in the new picture"


def test_origin_is_carried_on(source: Path, upscaled: Path) -> None:
    plan = read_plan(str(upscaled))
    made_from, before = plan.made_from, read_plan(str(source))
    assert made_from is not None
    assert (made_from.spec_digest, made_from.bundle_digest) == (before.spec_digest, before.bundle_digest)
    assert (made_from.height, made_from.width, made_from.findings) == (64, 64, 1)
    assert plan.synthetic
    for key, members in samples(upscaled).items():
        metadata, origin = json.loads(members["json"]), json.loads(samples(source)[key.removesuffix("-v000")]["json"])
        assert {metadata[name] == origin[name] for name in ("group", "split", "prompt", "attributes")} == {True}
        assert (metadata["start_from"], metadata["strength"]) == ("photo", 0.3)
        assert (metadata["synthetic"], metadata["digital_source_type"]) == (True, TRAINED_ALGORITHMIC_MEDIA)
        assert metadata["made_from"] == made_from.index_sha256
        assert TRAINED_ALGORITHMIC_MEDIA.encode() in members["png"]
    assert made_from.index_sha256 in (upscaled / "README.md").read_text()


@pytest.mark.slow
def test_an_interrupted_build_ends_with_the_same_bytes(source: Path, upscaled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spec = upscale_spec(source, out, model={"encode_tile": 64})

    def stop(done: int, planned: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(spec, use_ray=False, progress=stop)
    assert len(shard_bytes(out)) == 1
    build(spec, use_ray=False)
    assert shard_bytes(out) == shard_bytes(upscaled)


@pytest.mark.integration
def test_photographs_stay_photographs(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    write_tar(tmp_path / "a" / "a.tar", dict(sorted(demo_members.items())[:1]))
    sampling = {"variants": 1, "steps": 2, "start_from": "photo", "strength": 0.5}
    build(small_spec(tmp_path / "a", tmp_path / "one", sampling=sampling), use_ray=False)
    build(upscale_spec(tmp_path / "one", tmp_path / "two"), use_ray=False)
    (members,) = samples(tmp_path / "two").values()
    metadata = json.loads(members["json"])
    assert (metadata["synthetic"], metadata["digital_source_type"]) == (False, COMPOSITE_MEDIA)
    assert not read_plan(str(tmp_path / "two")).synthetic


@pytest.mark.integration
def test_panoramas_are_enlarged(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    write_tar(tmp_path / "a" / "a.tar", dict(sorted(demo_members.items())[:1]))
    wide: dict[str, Any] = {"conditions": {"size": [64, 96]}, "sampling": {"variants": 1, "steps": 1, "window": 64}}
    build(small_spec(tmp_path / "a", tmp_path / "one", **wide), use_ray=False)
    build(upscale_spec(tmp_path / "one", tmp_path / "two", engine={"slots": 15, "codec_batch": 1}), use_ray=False)
    (small,), (large,) = samples(tmp_path / "one").values(), samples(tmp_path / "two").values()
    assert pixels(large["png"]).shape == (128, 192, 3)
    assert (pixels(large["seg.png"]) == pixels(small["seg.png"]).repeat(2, 0).repeat(2, 1)).all()


@pytest.mark.integration
def test_the_ready_spec_runs(source: Path, tmp_path: Path) -> None:
    changes = [f"source.path={source}", f"output.path={tmp_path / 'out'}", "source.limit=1", "sampling.steps=4"]
    spec = read_spec(ROOT / "jobs" / "specs" / "upscale.yaml", [*changes, "sampling.window=64"])
    build(spec, use_ray=False)
    (members,) = samples(tmp_path / "out").values()
    assert pixels(members["png"]).shape == (128, 128, 3)
    assert problems(tmp_path / "out") == []


def test_findings_of_spec_and_source_do_not_mix(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        build(upscale_spec(source, tmp_path / "out", findings=[CROWN]), use_ray=False)
    assert caught.value.key == "findings"


def test_a_damaged_source_stops_the_build_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "source")
    file = tmp_path / "source" / "shards" / "000001.tar"
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    with pytest.raises(DentgenError) as caught:
        build(upscale_spec(tmp_path / "source", tmp_path / "out"), use_ray=False)
    assert caught.value.file == str(file)
    assert not (tmp_path / "out" / "index.json").exists()
