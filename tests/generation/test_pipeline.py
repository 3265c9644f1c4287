"""Images from Python: equal to a build's, in any number, with clear refusals."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dentgen
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import ConditionError, SpecError
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.pipeline import Pipeline
from dentgen.generation.pipeline_request import PipelineRequest
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.run import build
from dentgen.shards.reader import read_samples, tar_samples
from dentgen.spec.build import BuildSpec
from tests.conditions.painted_records import WHITE, band, region, with_painted
from tests.conftest import small_spec, write_tar

Members = dict[str, dict[str, bytes]]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def request_of(key: str, members: dict[str, bytes], /, **changes: Any) -> PipelineRequest:
    values = {
        "segmentation": pixels(members["seg.png"]),
        "lighting": pixels(members["light.png"]),
        "prompt": json.loads(members["json"])["prompt"],
        "num_images_per_prompt": 2,
        "seed": 5,
        "key": key,
    }
    return PipelineRequest(**{**values, **changes})


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    """With the settings of ``small_spec``: variants decide how many conditions one call of the control net takes."""
    return dentgen.Pipeline.from_bundle(
        "miniature", engine={"slots": 4}, conditions={"size": 64}, sampling={"variants": 2}
    )


def test_images_equal_a_builds_byte_for_byte(tmp_path: Path, demo_members: Members, pipe: Pipeline) -> None:
    keys = sorted(demo_members)[:3]
    source = tmp_path / "s"
    write_tar(source / "x.tar", {key: demo_members[key] for key in keys})
    build(small_spec(source, tmp_path / "out", conditions={"size": 64}, sampling={"steps": 4}), use_ray=False)
    built = {key: pixels(members["png"]) for key, members in read_samples(str(tmp_path / "out"))}
    one = request_of(keys[0], demo_members[keys[0]])
    called = pipe(
        segmentation=one.segmentation, lighting=one.lighting, prompt=one.prompt, num_images_per_prompt=2, seed=5,
        key=keys[0],
    )  # fmt: skip
    assert called.keys == [f"{keys[0]}-v000", f"{keys[0]}-v001"]
    for key, image in zip(called.keys, called.images, strict=True):
        assert np.array_equal(np.asarray(image), built[key])
    streamed = dict(pipe.stream(request_of(key, demo_members[key]) for key in keys))
    assert streamed.keys() == built.keys()
    assert all(np.array_equal(np.asarray(image), built[key]) for key, image in streamed.items())


@pytest.mark.integration
def test_findings_at_teeth_equal_a_builds(tmp_path: Path, demo_members: Members) -> None:
    (key, members), *_ = sorted(demo_members.items())
    findings = [{"teeth": [11, 21], "kind": "restoration", "part": "whole", "prompt": "gold crown"}]
    write_tar(tmp_path / "s" / "x.tar", {key: members})
    spec = small_spec(tmp_path / "s", tmp_path / "out", findings=findings)
    build(spec, use_ray=False)
    built = {name: pixels(each["png"]) for name, each in read_samples(str(tmp_path / "out"))}
    request = request_of(key, members, fdi=pixels(members["fdi.png"]))
    made = dict(Pipeline(spec).stream([request]))
    assert made.keys() == built.keys()
    assert all(np.array_equal(np.asarray(image), built[name]) for name, image in made.items())
    for wrong in (request_of(key, members), request_of(key, members, fdi=np.full((128, 128), 10, np.uint8))):
        with pytest.raises(ConditionError) as caught:
            next(iter(Pipeline(spec).stream([wrong])))
        assert caught.value.file == "fdi"


@pytest.mark.integration
def test_painted_regions_equal_a_builds(tmp_path: Path, demo_members: Members) -> None:
    """With findings above them; the build's samples are records with the same regions."""
    (key, members), *_ = sorted(demo_members.items())
    regions = (region(band(128), blur=3.0), region(band(128, 0.25, 1.0), "teeth", WHITE, strength=0.8))
    write_tar(tmp_path / "s" / "x.tar", {key: with_painted(members, regions)})
    findings = [{"teeth": [11, 21], "kind": "restoration", "part": "whole", "prompt": "gold crown"}]
    spec = small_spec(tmp_path / "s", tmp_path / "out", findings=findings, regions={"painted": 2})
    built = {name: pixels(content["png"]) for name, content in unit_samples(spec).items()}
    request = request_of(key, members, fdi=pixels(members["fdi.png"]), painted=regions)
    made = dict(Pipeline(spec).stream([request]))
    assert made.keys() == built.keys()
    assert all(np.array_equal(np.asarray(image), built[name]) for name, image in made.items())
    plain = dict(Pipeline(spec).stream([replace(request, painted=())]))
    assert not any(np.array_equal(np.asarray(image), built[name]) for name, image in plain.items())


def unit_samples(spec: BuildSpec) -> dict[str, dict[str, bytes]]:
    """Samples of a build's first unit, made in this process."""
    plan = make_plan(spec)
    generator, (shard,) = load_planned_generator(plan), list_shards(spec.source.path)
    made = generate_unit(plan, generator, plan.units[0], shard, start_engine(generator).run)
    assert made.record.rejected == 0
    return dict(tar_samples(made.shard))


@pytest.mark.integration
def test_images_of_any_shape_equal_a_builds(tmp_path: Path, demo_members: Members) -> None:
    key, size = min(demo_members), [64, 96]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key]})
    build(small_spec(tmp_path / "s", tmp_path / "out", conditions={"size": size}), use_ray=False)
    built = [pixels(members["png"]) for _, members in read_samples(str(tmp_path / "out"))]
    wide = Pipeline.from_bundle(engine={"slots": 4}, conditions={"size": size}, sampling={"steps": 2, "variants": 2})
    images = dict(wide.stream([request_of(key, demo_members[key])])).values()
    assert [image.size for image in images] == [(96, 64)] * 2
    assert all(np.array_equal(np.asarray(image), other) for image, other in zip(images, built, strict=True))


@pytest.mark.integration
def test_seed_and_key_name_the_noise(demo_members: Members, pipe: Pipeline) -> None:
    members = demo_members[sorted(demo_members)[0]]

    def first(key: str, seed: int) -> bytes:
        (image,) = dict(pipe.stream([request_of(key, members, seed=seed, num_images_per_prompt=1)])).values()
        return image.tobytes()

    assert first("a", 1) == first("a", 1)
    assert len({first("a", 1), first("a", 2), first("b", 1)}) == 3


@pytest.mark.integration
def test_requests_are_read_as_the_engine_has_room(demo_members: Members, pipe: Pipeline) -> None:
    """A generator over any number of requests: never all of them at once."""
    members, read = demo_members[sorted(demo_members)[0]], 0

    def requests() -> Iterator[PipelineRequest]:
        nonlocal read
        for number in range(20):
            read += 1
            yield request_of(f"r{number:02d}", members, num_images_per_prompt=1)

    stream = pipe.stream(requests())
    next(stream)
    assert read < 20
    assert len(list(stream)) == 19


@pytest.mark.integration
def test_an_abandoned_stream_leaves_the_pipeline_usable(demo_members: Members, pipe: Pipeline) -> None:
    members = demo_members[sorted(demo_members)[0]]
    stream = pipe.stream(request_of(f"r{number}", members) for number in range(9))
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert len(dict(pipe.stream([request_of("r0", members)]))) == 2


def test_the_callers_threads_stay(demo_members: Members, pipe: Pipeline) -> None:
    torch.set_num_threads(2)
    try:
        for _ in pipe.stream([request_of("a", demo_members[sorted(demo_members)[0]])]):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_wrong_settings_are_spec_errors(pipe: Pipeline, demo_members: Members) -> None:
    with pytest.raises(SpecError):
        Pipeline.from_bundle(sampling={"stpes": 4})
    with pytest.raises(SpecError) as caught:
        list(pipe.stream([request_of("a", demo_members[sorted(demo_members)[0]], num_images_per_prompt=0)]))
    assert caught.value.key == "num_images_per_prompt"


def test_public_names_are_listed_and_exist() -> None:
    assert {"Pipeline", "build", "BuildSpec", "open_dataset", "load_bundle", "__version__"} <= set(dir(dentgen))
    assert all(getattr(dentgen, name) is not None for name in dir(dentgen))
    with pytest.raises(AttributeError):
        dentgen.load_dataset  # noqa: B018


@pytest.mark.integration
def test_a_target_lighting_is_that_of_a_builds_variant(tmp_path: Path, demo_members: Members) -> None:
    key = min(demo_members)
    members = demo_members[key]
    write_tar(tmp_path / "s" / "x.tar", {key: members})
    spec = small_spec(
        tmp_path / "s", tmp_path / "out", conditions={"size": 128}, sampling={"start_from": "reference"},
        variants={"same_noise": True, "change": ["lighting"]},
    )  # fmt: skip
    build(spec, use_ray=False)
    first, relit = (each for _, each in read_samples(str(tmp_path / "out")))
    prompt = json.loads(relit["json"])["prompt"]
    request = request_of(
        key, members, num_images_per_prompt=1, prompt=prompt, photo=pixels(members["photo.png"]),
        normal=pixels(members["normal.png"]), target_lighting=pixels(relit["light.png"]),
    )  # fmt: skip
    (image,) = dict(Pipeline(spec).stream([request])).values()
    assert np.array_equal(np.asarray(image), pixels(relit["png"]))
    assert not np.array_equal(np.asarray(image), pixels(first["png"]))
