"""Masks as they are painted, late edits, and label maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.errors import CanvasError
from dentgen.generation.live_layers import (
    LayerState,
    LayerValues,
    LiveLayer,
    PaintedMask,
    check_share,
    label_map,
)

SIZE = (32, 48)


def painted(value: float = 0.0) -> PaintedMask:
    return PaintedMask.of("gum", np.full(SIZE, value), SIZE, 8)


def words(name: str) -> KeyedTensor:
    return KeyedTensor(name, torch.zeros(2, 3))


def test_a_latent_has_the_largest_value_of_its_pixels() -> None:
    mask = np.zeros(SIZE)
    mask[9, 17] = 0.75
    found = PaintedMask.of("gum", mask, SIZE, 8)
    assert found.latents.shape == (4, 6)
    assert float(found.latents[1, 2]) == float(found.latents.sum()) == 0.75
    soft = PaintedMask.of("gum", mask, SIZE, 8, blur=2.0).latents
    expected = gaussian_filter(mask.astype(np.float32), 2.0).reshape(4, 8, 6, 8).max((1, 3))
    torch.testing.assert_close(soft, torch.from_numpy(expected))


def test_a_mask_is_copied() -> None:
    mask = np.zeros(SIZE, bool)
    found = PaintedMask.of("gum", mask, SIZE, 8)
    mask[:] = True
    assert not found.pixels.any()
    assert not found.latents.any()


@pytest.mark.parametrize("mask", [np.zeros((8, 8)), np.full(SIZE, -0.1), np.full(SIZE, np.nan), np.full(SIZE, 255)])
def test_masks_of_other_sizes_or_values_are_refused(mask: Any) -> None:
    with pytest.raises(CanvasError) as caught:
        PaintedMask.of("gum", mask, SIZE, 8)
    assert (caught.value.message, caught.value.key) == ("mask", "gum")


def test_strengths_are_shares() -> None:
    check_share("gum", "strength", None)
    check_share("gum", "strength", 1.0)
    with pytest.raises(CanvasError) as caught:
        check_share("gum", "strength", 1.1)
    assert (caught.value.message, caught.value.key, caught.value.found) == ("strength", "gum", 1.1)


def test_of_each_value_the_edit_that_was_asked_for_last_counts() -> None:
    state = LayerState(words("old"), painted())
    newer = state.apply(2, LayerValues(mask=painted(1.0), prompt_strength=0.75))
    assert newer.keys() == {"mask", "prompt_strength"}
    newer = state.apply(1, LayerValues(words("first"), painted(0.25), 0.5))
    assert newer.keys() == {"prompt", "strength"}
    region = state.region(torch.ones(()))
    assert (region.prompt.name, float(region.mask.min()), region.strength, region.prompt_strength) == (
        "first", 1.0, 0.5, 0.75
    )  # fmt: skip
    assert state.apply(0, LayerValues(mask=painted(0.5))) == {}


def test_what_lies_above_takes_its_share() -> None:
    state = LayerState(words("old"), painted(0.5), strength=0.5)
    assert float(state.scaled.max()) == 0.25
    region = state.region(torch.full((4, 6), 0.5))
    assert (float(region.mask.max()), float(region.scaled.max())) == (0.25, 0.125)


def test_values_of_a_layer_are_checked() -> None:
    layer = LiveLayer("gum", "red", np.ones(SIZE), strength=0.5, prompt_strength=0.25, blur=2.0)
    values = LayerValues.of(layer, SIZE, 8)
    assert (values.prompt, values.strength, values.prompt_strength) == (None, 0.5, 0.25)
    assert values.mask is not None
    assert values.mask.latents.shape == (4, 6)
    wrong = {"strength": replace(layer, strength=2), "prompt_strength": replace(layer, prompt_strength=-1)}
    for message, each in wrong.items():
        with pytest.raises(CanvasError) as caught:
            LayerValues.of(each, SIZE, 8)
        assert (caught.value.message, caught.value.key) == (message, "gum")


def test_later_layers_lie_above_earlier_ones() -> None:
    left, all_of_it = np.zeros((2, 4), np.float32), np.full((2, 4), 0.6, np.float32)
    left[:, :2] = 1
    assert label_map([all_of_it, left], (2, 4)).tolist() == [[2, 2, 1, 1]] * 2
    assert label_map([left, all_of_it], (2, 4)).tolist() == [[2, 2, 2, 2]] * 2
    assert label_map([], (2, 4)).tolist() == [[0, 0, 0, 0]] * 2
