"""Engines have the shape that a spec asks for, and call their networks on as many rows."""

from __future__ import annotations

import torch

from dentgen.diffusion.network_batches import DenoiserInBatches
from dentgen.generation.engines import build_engine
from dentgen.generation.generator import load_generator
from tests.generation.test_generator import spec_of


def test_engines_have_the_specs_shape() -> None:
    generator = load_generator(spec_of(engine={"slots": 6}, conditions={"size": 64}, sampling={"variants": 3}))
    shape = build_engine(generator, 6, generator.spec.control_slots).shape
    assert (shape.slots, shape.control_slots, shape.latent_size) == (6, 2, (8, 8))
    assert shape.columns == generator.table.num_columns
    wide = load_generator(spec_of(conditions={"size": [64, 104]}))
    engine = build_engine(wide, 6, 2)
    assert engine.shape.latent_size == (8, 13)


def test_a_windowed_engine_has_no_more_canvases_than_it_can_fill() -> None:
    wide = load_generator(spec_of(conditions={"size": [64, 256]}, sampling={"window": 64}, engine={"slots": 15}))
    shape = build_engine(wide, 15, 15).shape
    assert (shape.windows, shape.canvas_slots) == (7, 2)
    assert build_engine(load_generator(spec_of(conditions={"size": 64})), 15, 15).shape.canvas_slots == 15


def test_networks_are_called_on_so_many_rows() -> None:
    sections = {"conditions": {"size": 64}, "engine": {"slots": 5, "unet_batch": 2}}
    whole = load_generator(spec_of(conditions={"size": 64}, engine={"slots": 5}))
    engine = build_engine(load_generator(spec_of(**sections)), 5, 5)
    unet = engine._state._unet
    assert isinstance(unet, DenoiserInBatches)
    shape = engine.shape
    inputs = (
        torch.randn(5, *shape.latent, generator=torch.Generator().manual_seed(0)),
        torch.full((5,), 500.0),
        torch.randn(5, shape.tokens, shape.width, generator=torch.Generator().manual_seed(1)),
    )
    with torch.no_grad():
        found, expected = unet(*inputs, None), build_engine(whole, 5, 5)._state._unet(*inputs, None)
    assert torch.allclose(found, expected, atol=1e-5)
