"""What controls a live canvas: scales and maps as edits leave them, records that cannot be shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.solver import probe_solver
from dentgen.errors import CanvasError, ConditionError, SpecError
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.live_control import (
    LIVE_KEY,
    ControlMaps,
    ControlState,
    ControlValues,
    MapEncoder,
    check_scales,
    check_spec,
)
from dentgen.records import ConditionRecord
from dentgen.seeding import NoiseKey
from tests.conditions.painted_records import band, region
from tests.conftest import small_spec
from tests.generation.finding_records import EDGE, record


def maps(key: str, scale: float = 1.5) -> ControlMaps:
    words, table = KeyedTensor("own", torch.zeros(2, 3)), probe_solver(DDIMScheduler(clip_sample=False), 2)
    controls = tuple(ControlInput(name, KeyedTensor(key, torch.zeros(4, 2, 2)), scale) for name in ("a", "b"))
    return ControlMaps(key, Canvas(key, NoiseKey(0, key, 0), table, words, controls=controls))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tmp_path_factory.mktemp("control")
    return load_generator(small_spec(folder, folder / "out", conditions={"size": EDGE}))


def scales(state: ControlState) -> dict[str, float]:
    return {control.branch: control.scale for control in state.canvas.controls}


def test_of_maps_and_of_each_scale_the_edit_that_was_asked_for_last_counts() -> None:
    state = ControlState(maps("first"))
    assert state.apply(2, ControlValues(scales={"a": 0.5}))
    assert state.apply(4, ControlValues(maps("second", 1.0)))
    assert (state.key, scales(state)) == ("second", {"a": 0.5, "b": 1.0})
    assert not state.apply(3, ControlValues(maps("late")))
    assert state.apply(1, ControlValues(scales={"a": 9.0, "b": 0.25}))
    assert (state.key, scales(state)) == ("second", {"a": 0.5, "b": 0.25})


def test_a_record_gives_its_maps_and_the_key_of_its_noise(generator: Generator) -> None:
    encoder, shown = MapEncoder(generator, 3), replace(record(), painted=(region(band(EDGE)),))
    encoder.check(shown)
    found = encoder.maps(shown)
    assert found.key == "jaw"
    (control,) = found.canvas.controls
    (expected,) = generator.codec.encode_control([generator_image(generator, shown)])
    assert torch.equal(control.condition.values, expected)
    assert found.canvas.layers.regions == (), "a live canvas has layers"
    free = encoder.maps(None)
    assert (free.key, free.canvas.controls) == (LIVE_KEY, ())


def generator_image(generator: Generator, shown: ConditionRecord) -> np.ndarray:
    from dentgen.conditions.prepare import control_image

    return control_image(shown, ("segmentation", "lighting"), generator.spec.conditions.alpha)


def test_records_that_are_not_fitted_or_lack_maps_are_refused(generator: Generator) -> None:
    encoder, shown = MapEncoder(generator, 0), record()
    small = {name: array[:32] for name, array in shown.conditions.items()}
    with pytest.raises(CanvasError) as caught:
        encoder.check(replace(shown, conditions=small))
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("jaw", "size (32, 64)", (EDGE, EDGE))
    with pytest.raises(ConditionError) as missing:
        encoder.check(replace(shown, conditions={"segmentation": shown.conditions["segmentation"]}))
    assert missing.value.file == "jaw: lighting"
    encoder.check(None)


def test_pictures_that_start_from_a_photo_need_one(tmp_path: Path) -> None:
    sampling: dict[str, object] = {"start_from": "photo", "strength": 0.5}
    generator = load_generator(small_spec(tmp_path, tmp_path / "out", conditions={"size": EDGE}, sampling=sampling))
    encoder = MapEncoder(generator, 0)
    with pytest.raises(ConditionError) as caught:
        encoder.maps(record())
    assert caught.value.file == "photo"
    with pytest.raises(CanvasError) as refused:
        encoder.maps(None)
    assert refused.value.found == "no image latents"


def test_scales_are_numbers_of_branches(generator: Generator) -> None:
    check_scales(generator, {"blended": 0.0})
    for wrong, found in (({"other": 1.0}, "no control branch of this name"), ({"blended": float("inf")}, float("inf"))):
        with pytest.raises(CanvasError) as caught:
            check_scales(generator, wrong)
        assert (caught.value.key, caught.value.found) == (next(iter(wrong)), found)


def test_a_picture_begins_at_every_tick_at_most(generator: Generator) -> None:
    check_spec(generator.spec, 1)
    with pytest.raises(SpecError) as caught:
        check_spec(generator.spec, 0)
    assert caught.value.key == "every"


@pytest.mark.parametrize("noise", ["series", "motion"])
def test_noise_of_a_series_is_refused_because_a_canvas_has_its_own(
    generator: Generator, tmp_path: Path, noise: str
) -> None:
    series = small_spec(tmp_path, tmp_path / "out", conditions={"size": EDGE}, sampling={"noise": noise})
    with pytest.raises(SpecError) as caught:
        check_spec(series, 1)
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("sampling.noise", noise, "record")
