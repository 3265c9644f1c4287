"""Edits whose values take time: their order, their errors, and closing."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.errors import ConditionError, EngineError
from dentgen.generation.live_control import ControlState
from dentgen.generation.live_edits import LiveLayers
from dentgen.generation.live_layers import LayerValues, PaintedMask
from dentgen.generation.live_requests import EditRequests
from tests.generation.test_live_control import maps


@pytest.fixture
def layers() -> LiveLayers:
    nothing = PaintedMask.of("x", np.zeros((16, 16)), (16, 16), 8)
    return LiveLayers(KeyedTensor("own", torch.zeros(2, 3)), nothing, 1, ControlState(maps("live")))


def test_values_that_are_late_keep_their_place(layers: LiveLayers) -> None:
    requests, release = EditRequests(layers, 1), threading.Event()

    def slow() -> LayerValues:
        release.wait(30)
        return LayerValues(strength=0.25, prompt_strength=0.5)

    late = requests.ask(1, slow)
    layers.edit(1, LayerValues(strength=0.75))
    layers.apply()
    release.set()
    requests._preparer.submit(lambda: None).result(30)
    layers.apply()
    requests.close()
    assert late.result(0) == 2
    (region,) = layers.regions()
    assert (region.strength, region.prompt_strength) == (0.75, 0.5)


def test_who_waits_finds_edits_ready(layers: LiveLayers) -> None:
    requests, release = EditRequests(layers, 1), threading.Event()
    assert requests.wait(0)

    def slow() -> LayerValues:
        release.wait(30)
        return LayerValues(strength=0.25)

    asked = requests.ask(1, slow)
    assert not requests.wait(0.01)
    release.set()
    assert requests.wait(30)
    layers.apply()
    assert asked.result(0) == 1
    requests.close()
    with pytest.raises(EngineError):
        requests.ask(1, slow)
    assert requests.wait(0), "nothing is waited for that was refused"


def test_errors_take_the_place_of_versions(layers: LiveLayers) -> None:
    requests = EditRequests(layers, 1)

    def wrong() -> LayerValues:
        raise ConditionError("prompt", "long", "short")

    failed = requests.ask(0, wrong)
    assert isinstance(failed.exception(30), ConditionError)
    requests.close()
    assert layers.apply() == []
    assert layers.version == 0


def test_closing_fails_what_has_not_begun_and_what_comes_later(layers: LiveLayers) -> None:
    requests, begun, release = EditRequests(layers, 1), threading.Event(), threading.Event()

    def slow() -> LayerValues:
        begun.set()
        release.wait(30)
        return LayerValues()

    first, second = requests.ask(0, slow), requests.ask(0, LayerValues)
    assert begun.wait(30)
    threading.Timer(0.1, release.set).start()
    layers.close()
    requests.close()
    for each in (first, second):
        assert isinstance(each.exception(30), EngineError)
    with pytest.raises(EngineError):
        requests.ask(0, LayerValues)
