"""Generated latents: a share of the records, each always alike, under adapter, control image and scale."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dentgen.errors import BundleError
from dentgen.training.frozen_networks import FrozenAutoencoder
from dentgen.training.generated_latents import GeneratedLatents
from tests.training.runs import CPU, copied_bundle, train_spec, training_data


@pytest.mark.slow
def test_a_share_of_latents_is_generated(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    spec = train_spec(phantoms, folder, "decoder", generated=0.5, adapter="blended", batch=10)
    encoder, batch = FrozenAutoencoder(spec, CPU), training_data(spec).batch(0, 0, 10)
    encoded = encoder.pictures(batch)
    found = GeneratedLatents(spec, encoder, CPU).replace(encoded, batch.rows)
    replaced = [not torch.equal(one, other) for one, other in zip(encoded, found, strict=True)]
    assert 2 <= sum(replaced) <= 8
    first = replaced.index(True)
    latents, row = encoded[first : first + 1], batch.rows[first]
    again = GeneratedLatents(spec, encoder, CPU)
    assert torch.equal(again.replace(latents, [row])[0], found[first]), "whatever else is in the batch"
    unlit = replace(row.record, conditions={**row.record.conditions, "lighting": 0 * row.record.conditions["lighting"]})
    dark = GeneratedLatents(spec, FrozenAutoencoder(spec, CPU), CPU).replace(latents, [replace(row, record=unlit)])
    assert not torch.equal(dark[0], found[first]), "the control image acts"
    stronger = GeneratedLatents(spec.model_copy(update={"adapter_scale": 1.5}), encoder, CPU)
    assert not torch.equal(stronger.replace(latents, [row])[0], found[first]), "the scale acts"
    shutil.rmtree(folder / "bundle" / "adapters")
    with pytest.raises(BundleError):
        GeneratedLatents(spec, encoder, CPU)


@pytest.mark.slow
def test_shares_of_none_and_all(phantoms: str, family: Path) -> None:
    for share, expected in ((0.0, 0), (1.0, 3)):
        spec = train_spec(phantoms, family, "decoder", generated=share, adapter="blended", batch=3)
        encoder, batch = FrozenAutoencoder(spec, CPU), training_data(spec).batch(0, 0, 3)
        encoded = encoder.pictures(batch)
        found = GeneratedLatents(spec, encoder, CPU).replace(encoded, batch.rows)
        assert sum(not torch.equal(a, b) for a, b in zip(encoded, found, strict=True)) == expected
