"""Small builds: bytes of any build of the saved spec, from the networks that are loaded, resumed after a stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.errors import BuildError, SpecError
from dentgen.generation import generator as loading
from dentgen.generation.generator import Generator
from dentgen.pipeline.run import build
from dentgen.shards.dataset import open_dataset
from dentgen.spec.yaml_file import read_spec
from dentgen.studio.openers import list_records, opened
from dentgen.studio.pictures import Pictures
from dentgen.studio.settings import Settings
from dentgen.studio.small_builds import Series, SmallBuild, make_small_build
from dentgen.studio.work import Work
from tests.conftest import JAWS


@pytest.fixture
def work(generator: Generator) -> Work:
    record = opened(list_records(str(JAWS))[0].read(), generator.spec)
    return Work(record, Settings.of(generator.spec).model_copy(update={"steps": 2, "variants": 2}))


def made(
    generator: Generator, work: Work, folder: Path, series: Series, count: int, ends_at: int | None = None
) -> SmallBuild:
    def progress(done: int, planned: int) -> None:
        if done == ends_at:
            raise BuildError("stopped")

    return make_small_build(folder, "one", work.snapshot(), generator.spec, generator.bundle, series, count, progress)


def samples(dataset: str) -> list[dict[str, Any]]:
    return list(open_dataset(dataset))


@pytest.mark.integration
def test_variants_are_the_pictures_that_the_studio_shows(
    generator: Generator, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Pictures(generator).make(work.snapshot()).pictures
    monkeypatch.setattr(loading, "load_bundle", lambda *_, **__: pytest.fail("the networks are loaded already"))
    built = made(generator, work, tmp_path, "variants", 3)
    assert (built.folder, built.written, built.rejected) == (tmp_path / "one", 3, {})
    pictures = {sample["key"]: sample["image"].permute(1, 2, 0).numpy() for sample in samples(built.dataset)}
    assert len(pictures) == 3
    assert all(np.array_equal(pictures[key], shown[key]) for key in shown)


@pytest.mark.integration
def test_networks_of_another_bundle_are_not_taken(generator: Generator, work: Work, tmp_path: Path) -> None:
    other = replace(generator, bundle=replace(generator.bundle, digest="other", unet=None))
    assert made(other, work, tmp_path, "variants", 2).written == 2


@pytest.mark.integration
def test_a_series_has_one_noise_and_many_lights_and_goes_on_after_a_stop(
    generator: Generator, work: Work, tmp_path: Path
) -> None:
    with pytest.raises(BuildError):
        made(generator, work, tmp_path, "light", 4, ends_at=4)
    spec = read_spec(tmp_path / "one" / "spec.yaml")
    assert (spec.sampling.noise, spec.sampling.variants) == ("series", 1)
    assert build(spec, use_ray=False).index.written == 4
    found = samples(spec.output.path)
    lights = {sample["light"].numpy().tobytes() for sample in found}
    frames = [json.loads(sample["metadata"]) for sample in found]
    assert len(lights) == 3, "to one side, back to the middle, to the other side, and back"
    assert {frame["series"] for frame in frames} == {work.base.key}, "frames of one series share noise"
    assert sorted(frame["frame"] for frame in frames) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["normal", "lighting"])
def test_what_cannot_be_relit_is_refused_before_anything_is_saved(
    generator: Generator, work: Work, tmp_path: Path, name: str
) -> None:
    record = work.base
    work.open(replace(record, conditions={each: map_ for each, map_ in record.conditions.items() if each != name}))
    with pytest.raises(SpecError) as caught:
        made(generator, work, tmp_path, "light", 4)
    assert (caught.value.key, caught.value.found) == ("series", f"a record without a {name} map")
    assert not list(tmp_path.iterdir())


def test_a_photo_has_its_own_light(generator: Generator, work: Work, tmp_path: Path) -> None:
    work.set(settings=work.settings.model_copy(update={"background": 0.5}))
    with pytest.raises(SpecError) as caught:
        made(generator, work, tmp_path, "light", 4)
    assert (caught.value.key, caught.value.found) == ("series", "pictures that begin with a photo")
    assert not list(tmp_path.iterdir())
