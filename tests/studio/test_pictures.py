"""Single pictures: those of a build, and of the pipeline with the same spec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.generation.generator import Generator
from dentgen.pipeline.run import build
from dentgen.shards.dataset import open_dataset
from dentgen.spec.yaml_file import read_spec
from dentgen.studio.openers import list_records, opened
from dentgen.studio.pictures import Pictures
from dentgen.studio.saving import save
from dentgen.studio.settings import Settings
from dentgen.studio.strokes import Stroke, paint
from dentgen.studio.work import Work
from tests.conftest import JAWS


@pytest.mark.slow
def test_pictures_equal_those_of_a_build_of_what_is_saved(generator: Generator, tmp_path: Path) -> None:
    """Painted maps, a region and guidance: what the page shows as variants is what 'dentgen generate' writes."""
    record = opened(list_records(str(JAWS))[2].read(), generator.spec)
    settings = Settings.of(generator.spec).model_copy(update={"seed": 11, "steps": 2, "variants": 2})
    work = Work(record, settings)
    layer = work.add_layer("gold", "gold crown")
    for brush in ({"kind": "class", "value": 4}, {"kind": "layer", "value": layer.number}):
        stroke = {"gesture": "g", "points": [[40, 64], [80, 64]], "radius": 9, "brush": brush}
        paint(work, Stroke.model_validate(stroke))
    made = Pictures(generator).make(work.snapshot())
    saved = save(tmp_path, "", made)
    build(read_spec(saved.spec), use_ray=False)
    samples = open_dataset(str(saved.folder / "dataset"))
    built = {sample["key"]: sample["image"].permute(1, 2, 0).numpy() for sample in samples}
    assert built.keys() == made.pictures.keys()
    assert len(built) == 2
    for key, picture in made.pictures.items():
        assert np.array_equal(built[key], picture), key


@pytest.mark.integration
def test_networks_are_loaded_once(generator: Generator) -> None:
    pictures = Pictures(generator)
    record = opened(list_records(str(JAWS))[0].read(), generator.spec)
    work = Work(record, Settings.of(generator.spec).model_copy(update={"steps": 1, "variants": 1}))
    first = pictures.make(work.snapshot())
    engine = pictures._pipeline
    again = pictures.make(work.snapshot())
    assert pictures._pipeline is engine
    assert engine is not None
    assert engine._generator.bundle is generator.bundle
    assert all(np.array_equal(first.pictures[key], again.pictures[key]) for key in first.pictures)
