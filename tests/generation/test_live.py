"""Live canvases on the miniature at 128 px: edits in mid-stream, errors in prompts, closing while busy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import torch

from dentgen.conditions.prepare import fit_record
from dentgen.diffusion.regions import Layers, Region
from dentgen.errors import CanvasError, ConditionError, EngineError, SpecError
from dentgen.generation.engines import build_engine
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.live import LiveCanvas, LiveFrame
from dentgen.generation.live_layers import BACKGROUND, LiveLayer
from dentgen.models.text import prompt_name
from dentgen.spec.build import BuildSpec
from tests.generation.finding_records import record

SIZE = 128
STEPS = 3
OWN, RED, WHITE = "a photo of both teeth, front view", "yellow teeth, red gums", "white teeth"
TOO_LONG = "teeth " * 90


@pytest.fixture(scope="module")
def generator() -> Generator:
    sections = {"conditions": {"size": SIZE}, "sampling": {"steps": STEPS}, "model": {"adapters": {"blended": 1.5}}}
    return load_generator(BuildSpec.model_validate(sections))


def half(side: str = "left") -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:, slice(0, SIZE // 2) if side == "left" else slice(SIZE // 2, None)] = True
    return mask


@pytest.fixture
def live(generator: Generator) -> Iterator[LiveCanvas]:
    with LiveCanvas(generator, OWN, [LiveLayer("gum", RED, half())], regions=2, advance=False) as canvas:
        yield canvas


def take(live: LiveCanvas, count: int) -> list[LiveFrame]:
    return list(live.frames(count))


@pytest.mark.integration
def test_pictures_come_in_order_with_labels_and_versions(live: LiveCanvas) -> None:
    frames = take(live, 3)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert {(frame.first_version, frame.last_version) for frame in frames} == {(0, 0)}
    assert all(frame.picture.shape == (SIZE, SIZE, 3) and frame.picture.dtype == np.uint8 for frame in frames)
    assert np.array_equal(frames[0].picture, frames[2].picture), "one noise for all"
    assert np.array_equal(frames[0].labels, half().astype(np.uint8))
    assert np.array_equal(frames[0].masks["gum"], half().astype(np.float32))


@pytest.mark.integration
def test_a_picture_is_that_of_the_engine(live: LiveCanvas, generator: Generator) -> None:
    """The first frame against one canvas with the same layers in an engine of the same shape."""
    (frame,) = take(live, 1)
    engine = build_engine(generator, live._pictures.engine.shape.slots, live._pictures.engine.shape.control_slots, 2)
    base = live._pictures.canvas(0)
    gum = base.layers.regions[0]
    alone = Layers((Region(gum.prompt, gum.mask), Region(base.prompt, torch.zeros_like(gum.mask))))
    latents = engine.run([replace(base, layers=alone)])[base.key]
    assert isinstance(latents, torch.Tensor)
    (expected,) = generator.codec.in_batches(1).decode([latents])
    assert np.array_equal(frame.picture, expected)


@pytest.mark.integration
def test_an_edit_acts_in_running_pictures_and_in_later_ones(live: LiveCanvas) -> None:
    frames = live.frames()
    before = next(frames)
    applied = live.edit("gum", mask=half("right"))
    version = None
    seen = [next(frames) for _ in range(STEPS + 1)]
    version = applied.result(0)
    assert version == 1
    spans = [(frame.first_version, frame.last_version) for frame in seen]
    assert spans == [(0, 1)] * (STEPS - 1) + [(1, 1)] * 2
    assert all(np.array_equal(frame.labels, half("right").astype(np.uint8)) for frame in seen)
    pictures = {frame.picture.tobytes() for frame in (before, *seen)}
    assert len(pictures) == STEPS + 1, "one for each number of steps that saw the edit"
    assert np.array_equal(seen[-1].picture, seen[-2].picture)


@pytest.mark.slow
def test_later_pictures_are_those_of_a_canvas_that_began_so(live: LiveCanvas, generator: Generator) -> None:
    take(live, 1)
    edits = [live.edit(BACKGROUND, prompt=WHITE), live.edit("gum", prompt=OWN, strength=0.8, prompt_strength=0.5)]
    edits += [live.add(LiveLayer("more", RED, half("right")))]
    take(live, 1)
    while not all(edit.done() for edit in edits):
        take(live, 1)
    last = take(live, STEPS)[-1]
    layers = [
        LiveLayer("gum", OWN, half(), strength=0.8, prompt_strength=0.5), LiveLayer("more", RED, half("right"))
    ]  # fmt: skip
    with LiveCanvas(generator, WHITE, layers, regions=2, advance=False) as other:
        (expected,) = take(other, 1)
    assert np.array_equal(last.picture, expected.picture)
    assert np.array_equal(last.labels, 1 + half("right"))


@pytest.mark.integration
def test_a_removed_layer_leaves_the_background(live: LiveCanvas, generator: Generator) -> None:
    live.remove("gum")
    (frame,) = take(live, 1)
    assert frame.masks == {}
    assert not frame.labels.any()
    with LiveCanvas(generator, OWN, regions=2, advance=False) as plain:
        assert np.array_equal(frame.picture, take(plain, 1)[0].picture)
    with pytest.raises(CanvasError):
        live.edit("gum", strength=0.5)
    live.add(LiveLayer("gum", RED, half()))


@pytest.mark.integration
def test_pictures_may_have_noise_of_their_own_and_come_less_often(generator: Generator) -> None:
    with LiveCanvas(generator, OWN, regions=1, every=2) as live:
        assert live._pictures.engine.shape.slots == 2 * 2, "two pictures in flight, two rows each"
        first, second = take(live, 2)
        assert live._pictures.ticks == STEPS + 2
    assert not np.array_equal(first.picture, second.picture)


@pytest.mark.slow
def test_condition_maps_control_all_pictures(generator: Generator) -> None:
    shown = fit_record(record(), (SIZE, SIZE), "pad")
    with LiveCanvas(generator, OWN, regions=1, record=shown) as live:
        (frame,) = take(live, 1)
        assert live._layers.control.canvas.controls
    with LiveCanvas(generator, OWN, regions=1) as live:
        (free,) = take(live, 1)
    assert not np.array_equal(frame.picture, free.picture)


@pytest.mark.integration
def test_a_prompt_that_is_too_long_changes_nothing(live: LiveCanvas) -> None:
    (before,) = take(live, 1)
    refused = [live.edit("gum", prompt=TOO_LONG, mask=half("right")), live.add(LiveLayer("x", TOO_LONG, half()))]
    for each in refused:
        assert isinstance(each.exception(30), ConditionError)
    (after,) = take(live, 1)
    assert np.array_equal(before.picture, after.picture)
    assert after.last_version == 0
    assert list(after.masks) == ["gum"]


@pytest.mark.integration
def test_of_several_edits_the_last_one_counts_whenever_prompts_are_ready(
    live: LiveCanvas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt of the first edit is late, so its mask must not replace the second edit's."""
    release = threading.Event()
    embed = live._generator.prompts.embed

    def slow(prompt: str) -> torch.Tensor:
        release.wait(30)
        return embed(prompt)

    monkeypatch.setattr(live._generator.prompts, "embed", slow)
    first = live.edit("gum", prompt=WHITE, mask=np.zeros((SIZE, SIZE)))
    second = live.edit("gum", mask=half("right"))
    (frame,) = take(live, 1)
    assert (second.result(0), frame.last_version, first.done()) == (1, 1, False)
    release.set()
    live._requests._preparer.submit(lambda: None).result(30)
    (frame,) = take(live, 1)
    assert first.result(0) == 2
    assert np.array_equal(frame.masks["gum"], half("right").astype(np.float32))
    assert live._layers.regions()[0].prompt.name == prompt_name(WHITE)


def test_errors_name_the_layer(live: LiveCanvas) -> None:
    wrong: list[tuple[str, dict[str, object]]] = [
        ("tooth", {"prompt": OWN}),
        ("gum", {"mask": np.zeros((4, 4), bool)}),
        ("gum", {"mask": np.full((SIZE, SIZE), 2.0)}),
        ("gum", {"strength": 1.5}),
        ("gum", {"prompt_strength": -1.0}),
        (BACKGROUND, {"mask": half()}),
    ]
    for name, values in wrong:
        with pytest.raises(CanvasError) as caught:
            live.edit(name, **values)  # type: ignore[arg-type]
        assert caught.value.key == name
    with pytest.raises(CanvasError) as caught:
        live.remove(BACKGROUND)
    assert caught.value.key == BACKGROUND
    live.add(LiveLayer("second", OWN, half()))
    for name in ("third", "gum", BACKGROUND):
        with pytest.raises(CanvasError) as caught:
            live.add(LiveLayer(name, OWN, half()))
        assert caught.value.key == name


def test_what_a_live_canvas_would_ignore_is_refused(generator: Generator) -> None:
    spec = BuildSpec.model_validate(
        {"findings": [{"teeth": [11], "prompt": "crown"}], "conditions": {"size": SIZE}, "sampling": {"steps": STEPS}}
    )
    with pytest.raises(SpecError) as caught:
        LiveCanvas(replace(generator, spec=spec), OWN)
    assert caught.value.key == "findings"
    for key, sections in (
        ("augment", {"augment": {"jpeg": 1.0}}),
        ("sampling.seed_to", {"sampling": {"steps": STEPS, "variants": 2, "seed_to": 0}}),
        ("sampling.prompt_to", {"sampling": {"steps": STEPS, "variants": 2, "prompt_to": OWN}}),
    ):
        spec = BuildSpec.model_validate({"conditions": {"size": SIZE}, **sections})
        with pytest.raises(SpecError) as caught:
            LiveCanvas(replace(generator, spec=spec), OWN)
        assert caught.value.key == key
    with pytest.raises(SpecError) as caught:
        LiveCanvas(generator, OWN, every=0)
    assert caught.value.key == "every"


def test_closing_while_busy_ends_frames_and_waiting_edits(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are taken by another thread, and a prompt is being embedded."""
    live, frames = LiveCanvas(generator, OWN, regions=1), list[LiveFrame]()
    begun, release = threading.Event(), threading.Event()
    embed = generator.prompts.embed

    def slow(prompt: str) -> torch.Tensor:
        begun.set()
        release.wait(30)
        return embed(prompt)

    thread = threading.Thread(target=lambda: frames.extend(live.frames()))
    thread.start()
    monkeypatch.setattr(generator.prompts, "embed", slow)
    waiting: list[Future[int]] = [live.add(LiveLayer("a", RED, half())), live.edit(BACKGROUND, prompt=WHITE)]
    assert begun.wait(60)
    threading.Timer(0.2, release.set).start()
    live.close()
    thread.join(60)
    assert not thread.is_alive()
    for edit in waiting:
        assert isinstance(edit.exception(30), EngineError)
    with pytest.raises((EngineError, CanvasError)):
        live.edit(BACKGROUND, prompt=OWN)
    with pytest.raises((EngineError, CanvasError)):
        live.remove("a")
    assert list(live.frames()) == []
    live.close()
