"""Frames of a live canvas: those of a build with the same record, layers and slots, whatever was shown before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dentgen.errors import CanvasError, ConditionError
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.live import LiveCanvas, LiveFrame
from dentgen.generation.live_frames import NoiseChoice
from dentgen.generation.live_layers import LiveLayer
from dentgen.generation.pipeline import Pipeline
from dentgen.generation.pipeline_request import PipelineRequest
from dentgen.records import ConditionName, ConditionRecord, MapArray, PaintedRegion
from dentgen.spec.build import BuildSpec
from tests.conditions.painted_records import WHITE, band, region
from tests.generation.finding_records import EDGE, record

OWN, SEED, STEPS = "a photo of both teeth, front view", 5, 2
#: They overlap.
REGIONS = (region(band(EDGE, 0, 0.75), blur=3.0, prompt_strength=0.9), region(band(EDGE, 0.5, 1), "teeth", WHITE))


def spec_of(scale: float = 1.5) -> BuildSpec:
    """As many slots as a live canvas of two layers takes, and pictures decoded one by one, as there."""
    slots = (1 + len(REGIONS)) * STEPS
    return BuildSpec.model_validate(
        {
            "conditions": {"size": EDGE},
            "sampling": {"steps": STEPS},
            "model": {"adapters": {"blended": scale}},
            "engine": {"slots": slots, "control_slots": slots, "codec_batch": 1},
            "regions": {"painted": len(REGIONS)},
        }
    )


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load_generator(spec_of())


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return Pipeline(spec_of())


def other_record() -> ConditionRecord:
    """The same teeth upside down, under another key."""
    first = record()
    return replace(
        first, key="other", conditions={name: array[::-1].copy() for name, array in first.conditions.items()}
    )


def built(
    pipe: Pipeline, shown: ConditionRecord, regions: tuple[PaintedRegion, ...] = REGIONS, variants: int = 1
) -> list[np.ndarray]:
    """Pictures of a record as a build makes them."""
    maps: dict[str, Any] = {str(name): array for name, array in shown.conditions.items()}
    request = PipelineRequest(
        **maps, prompt=OWN, seed=SEED, key=shown.key, painted=regions, num_images_per_prompt=variants
    )
    images = dict(pipe.stream([request]))
    return [np.asarray(images[key]) for key in sorted(images)]


def live_canvas(
    generator: Generator, shown: ConditionRecord | None, regions: Sequence[PaintedRegion] = REGIONS, **options: Any
) -> LiveCanvas:
    layers = [
        LiveLayer(
            each.name,
            each.prompt,
            each.mask,
            each.strength,
            each.prompt_strength,
            each.blur,
            each.negative_prompt or "",
        )
        for each in regions
    ]
    return LiveCanvas(generator, OWN, layers, regions=len(REGIONS), record=shown, seed=SEED, **options)


def until_applied(live: LiveCanvas, applied: Any) -> list[LiveFrame]:
    """Frames until an edit is applied, and all that are in flight then, and one more."""
    frames = list[LiveFrame]()
    while not applied.done():
        frames += live.frames(1)
    return [*frames, *live.frames(STEPS + 1)]


@pytest.mark.integration
def test_frames_are_the_variants_of_a_build(generator: Generator, pipe: Pipeline) -> None:
    expected = built(pipe, record(), variants=2)
    with live_canvas(generator, record()) as live:
        frames = list(live.frames(2))
    assert not np.array_equal(expected[0], expected[1])
    for frame, picture in zip(frames, expected, strict=True):
        assert np.array_equal(frame.picture, picture)
    (plain,) = built(pipe, record(), ())
    assert not np.array_equal(plain, expected[0])


@pytest.mark.integration
def test_pictures_in_flight_turn_to_other_maps_and_later_ones_are_made_from_them(
    generator: Generator, pipe: Pipeline
) -> None:
    pictures = {shown.key: built(pipe, shown)[0] for shown in (record(), other_record())}
    with live_canvas(generator, record(), advance=False) as live:
        list(live.frames(1))
        applied = live.show(other_record())
        frames = until_applied(live, applied)
        assert applied.result(0) == live.version == 1
        for frame in frames:
            if frame.first_version == frame.last_version:
                assert np.array_equal(frame.picture, pictures[("jaw", "other")[frame.first_version]]), frame.index
        turning = [frame.picture for frame in frames if (frame.first_version, frame.last_version) == (0, 1)]
        assert len(turning) == STEPS - 1
        assert not any(np.array_equal(picture, other) for picture in turning for other in pictures.values())
        applied = live.show(None)
        free = until_applied(live, applied)[-1]
    with live_canvas(generator, None, advance=False) as other:
        (expected,) = other.frames(1)
    assert np.array_equal(free.picture, expected.picture)


@pytest.mark.slow
def test_a_layers_negative_prompt_acts_with_guidance(generator: Generator) -> None:
    """As in a build of a record with such a region; "" takes the spec's again."""
    rows = 2 * (1 + len(REGIONS)) * STEPS
    spec = spec_of().model_dump(mode="json")
    spec["sampling"] |= {"guidance_scale": 2.0, "negative_prompt": "dark"}
    spec["engine"] |= {"slots": rows, "control_slots": rows}
    guided = BuildSpec.model_validate(spec)
    against = replace(REGIONS[0], negative_prompt="yellow teeth"), REGIONS[1]
    expected, plain = (built(Pipeline(guided), record(), regions)[0] for regions in (against, REGIONS))
    assert not np.array_equal(expected, plain)
    name = REGIONS[0].name
    with live_canvas(load_generator(guided), record(), advance=False) as live:
        (before,) = live.frames(1)
        after = until_applied(live, live.edit(name, negative="yellow teeth"))[-1]
        again = until_applied(live, live.edit(name, negative=""))[-1]
        with pytest.raises(CanvasError):
            live.edit("background", negative="yellow teeth")
    assert [np.array_equal(before.picture, plain), np.array_equal(again.picture, plain)] == [True, True]
    assert np.array_equal(after.picture, expected)
    with live_canvas(load_generator(guided), record(), against, advance=False) as live:
        (begun,) = live.frames(1)
    assert np.array_equal(begun.picture, expected)
    assert np.array_equal(until_unguided(generator), built(Pipeline(spec_of()), record())[0])


def until_unguided(generator: Generator) -> np.ndarray:
    """Without guidance there is no row that reads it."""
    with live_canvas(generator, record(), advance=False) as live:
        return until_applied(live, live.edit(REGIONS[0].name, negative="yellow teeth"))[-1].picture


@pytest.mark.slow
def test_scales_of_adapters_change(generator: Generator) -> None:
    with live_canvas(generator, record(), advance=False) as live:
        (before,) = live.frames(1)
        after = until_applied(live, live.adapt({"blended": 0.5}))[-1]
        again = until_applied(live, live.adapt({"blended": 1.5}))[-1]
    (expected,) = built(Pipeline(spec_of(0.5)), record())
    assert np.array_equal(after.picture, expected)
    assert np.array_equal(again.picture, before.picture)
    assert after.first_version == 1


def test_of_maps_the_ones_that_were_asked_for_last_are_shown(generator: Generator) -> None:
    with live_canvas(generator, None, advance=False) as live:
        first, last = live.show(record()), live.show(other_record())
        until_applied(live, last)
        assert (first.result(0), last.result(0)) == (1, 2)
        assert live._layers.control.key == "other"


def test_records_that_cannot_be_shown_change_nothing(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known at once, or only when the maps are encoded."""
    small: dict[ConditionName, MapArray] = {name: array[:8, :8] for name, array in record().conditions.items()}
    sampling = generator.spec.sampling.model_copy(update={"start_from": "photo"})
    with live_canvas(generator, record()) as live:
        with pytest.raises(CanvasError) as caught:
            live.show(replace(record(), conditions=small))
        assert (caught.value.key, caught.value.expected) == ("jaw", live.size)
        needs_photo = replace(generator, spec=generator.spec.model_copy(update={"sampling": sampling}))
        monkeypatch.setattr(live._encoder, "_generator", needs_photo)
        refused = live.show(other_record()).exception(60)
        assert isinstance(refused, ConditionError)
        assert refused.file == "photo"
        assert (live.version, live._layers.control.key) == (0, "jaw")


def test_noise_is_that_of_a_record_and_a_variant() -> None:
    shape = (4, 2, 2)
    moving, still = NoiseChoice(SEED, True), NoiseChoice(SEED, False)
    first, second = (moving.key("jaw", index).normal("initial", 0, shape) for index in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(still.key("jaw", 1).normal("initial", 0, shape), first)
    assert not torch.equal(moving.key("other", 0).normal("initial", 0, shape), first)
