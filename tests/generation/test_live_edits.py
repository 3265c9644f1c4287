"""Names, waiting edits and versions of a live canvas's layers."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.solver import probe_solver
from dentgen.errors import CanvasError, EngineError
from dentgen.generation.live_control import ControlMaps, ControlState, ControlValues
from dentgen.generation.live_edits import Edit, LiveLayers
from dentgen.generation.live_layers import BACKGROUND, LayerValues, PaintedMask
from dentgen.seeding import NoiseKey

SIZE = (16, 16)


def painted(value: float) -> PaintedMask:
    return PaintedMask.of("x", np.full(SIZE, value), SIZE, 8)


def words(name: str) -> KeyedTensor:
    return KeyedTensor(name, torch.zeros(2, 3))


def canvas(branch: str = "blended", scale: float = 1.5) -> Canvas:
    control = ControlInput(branch, KeyedTensor("maps", torch.zeros(4, 2, 2)), scale)
    table = probe_solver(DDIMScheduler(clip_sample=False), 2)
    return Canvas("live", NoiseKey(0, "live", 0), table, words("own"), controls=(control,))


@pytest.fixture
def layers() -> LiveLayers:
    return LiveLayers(words("own"), painted(0), 2, ControlState(ControlMaps("live", canvas())))


def test_edits_act_together_and_in_order(layers: LiveLayers) -> None:
    number = layers.add("gum")
    first = layers.edit(number, LayerValues(words("red"), painted(0.5)))
    second = layers.edit(number, LayerValues(strength=0.25))
    background = layers.edit(0, LayerValues(words("other")))
    assert not first.done()
    assert layers.masks() == {}, "nothing is shown that was not applied"
    updates = layers.apply()
    assert [(each.layer, each.strength) for each in updates] == [(1, None), (1, 0.25), (0, None), (1, None)]
    assert [each.mask is not None for each in updates] == [False, False, False, True]
    assert [first.result(0), second.result(0), background.result(0), layers.version] == [1, 2, 3, 3]
    assert layers.prompt.name == "other"
    gum, unused = layers.regions()
    assert (gum.prompt.name, gum.strength, float(gum.mask.mean())) == ("red", 0.25, 0.5)
    assert not unused.mask.any()
    assert float(layers.masks()["gum"].mean()) == 0.5
    assert layers.apply() == []


def test_what_is_cancelled_or_overtaken_is_not_told(layers: LiveLayers) -> None:
    number, early = layers.add("gum"), layers.next_place()
    layers.edit(number, LayerValues(strength=0.25)).cancel()
    layers.edit(number, LayerValues(strength=0.5))
    late = Edit(early, number, LayerValues(strength=0.75), Future())
    layers.put(late)
    assert [each.strength for each in layers.apply()] == [0.5]
    assert (late.applied.result(0), layers.version) == (1, 1)


def test_names_are_given_and_taken(layers: LiveLayers) -> None:
    assert [layers.add("a"), layers.add("b"), layers.number(BACKGROUND), layers.number("b")] == [1, 2, 0, 2]
    for name in ("a", BACKGROUND, "c"):
        with pytest.raises(CanvasError) as caught:
            layers.add(name)
        assert caught.value.key == name
    layers.edit(1, LayerValues(mask=painted(1)))
    layers.apply()
    removed = layers.remove("a")
    assert list(layers.masks()) == ["a", "b"], "shown until it is applied"
    layers.apply()
    assert (removed.result(0), list(layers.masks())) == (2, ["b"])
    assert not layers.regions()[0].mask.any()
    assert layers.add("c") == 1
    layers.apply()
    assert list(layers.masks()) == ["b", "c"], "the latest above the others"
    layers.forget("b", 0)
    assert layers.number("b") == 2
    layers.forget("b", layers.times_given("b"))
    for name in ("b", "a"):
        with pytest.raises(CanvasError) as caught:
            layers.number(name)
        assert caught.value.key == name
    with pytest.raises(CanvasError):
        layers.remove(BACKGROUND)


def test_closing_fails_what_waits_and_what_comes_later(layers: LiveLayers) -> None:
    waiting, late = layers.edit(0, LayerValues(words("other"))), Edit(1, 0, LayerValues(words("late")), Future())
    layers.close()
    layers.put(late)
    for each in (waiting, late.applied):
        assert isinstance(each.exception(0), EngineError)
    with pytest.raises(EngineError):
        layers.edit(0, LayerValues(words("later")))
    assert layers.apply() == []


def test_layers_are_covered_by_those_above_them(layers: LiveLayers) -> None:
    """In the order in which they were added, whatever their numbers; canvases in flight get new masks of both."""
    low, high = layers.add("low"), layers.add("high")
    layers.edit(low, LayerValues(mask=painted(1)))
    layers.apply()
    layers.edit(high, LayerValues(mask=painted(0.5), strength=0.5))
    updates = layers.apply()
    masks = {each.layer: float(each.mask.mean()) for each in updates if each.mask is not None}
    assert masks == {low: 0.75, high: 0.5}
    assert [float(region.mask.mean()) for region in layers.regions()] == [0.75, 0.5]
    layers.remove("low")
    assert layers.add("top") == low
    layers.edit(low, LayerValues(mask=painted(1)))
    layers.apply()
    assert [float(region.mask.mean()) for region in layers.regions()] == [1, 0]
    assert float(layers.masks()["high"].mean()) == 0.5, "as it was painted"


def test_layers_change_places(layers: LiveLayers) -> None:
    low, high = layers.add("low"), layers.add("high")
    layers.edit(low, LayerValues(mask=painted(1)))
    layers.edit(high, LayerValues(mask=painted(0.5)))
    layers.apply()
    arranged = layers.arrange(["high", "low"])
    told = layers.apply()
    assert (arranged.result(0), layers.names, list(layers.masks())) == (3, ["high", "low"], ["high", "low"])
    assert [float(region.mask.mean()) for region in layers.regions()] == [1, 0]
    assert [(each.layer, float(each.mask.mean())) for each in told if each.mask is not None] == [(low, 1), (high, 0)]


@pytest.mark.parametrize("names", [["low"], ["low", "low"], ["low", "other"], ["low", "high", "high"]])
def test_an_order_names_every_layer_once(layers: LiveLayers, names: list[str]) -> None:
    layers.add("low")
    layers.add("high")
    with pytest.raises(CanvasError) as caught:
        layers.arrange(names)
    assert (caught.value.found, layers.names) == (names, ["low", "high"])


def test_control_is_edited_in_the_same_order(layers: LiveLayers) -> None:
    shown = layers.edit(0, ControlValues(ControlMaps("jaw", canvas(scale=1.0))))
    layer = layers.edit(0, LayerValues(words("other")))
    scales = layers.edit(0, ControlValues(scales={"blended": 0.5}))
    told = layers.apply()
    assert [each.controls is not None for each in told] == [True, False, True]
    assert [each.scale for update in told for each in update.controls or ()] == [1.0, 0.5]
    assert [shown.result(0), layer.result(0), scales.result(0)] == [1, 2, 3]
    assert layers.control.key == "jaw"


def test_an_add_that_fails_late_takes_no_name_from_a_later_layer(layers: LiveLayers) -> None:
    first = layers.add("gum")
    given = layers.times_given("gum")
    layers.remove("gum")
    assert layers.add("gum") == first
    layers.forget("gum", given)
    assert layers.number("gum") == first
    layers.forget("gum", layers.times_given("gum"))
    with pytest.raises(CanvasError):
        layers.number("gum")
