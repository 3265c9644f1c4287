"""Recipe ``decoder``: tiny decoders load, the KL decoder leaves its encoder alone, the critic stays apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dentgen.errors import SpecError
from dentgen.models.bundle import load_bundle
from dentgen.training.frozen_networks import image_tensor
from dentgen.training.recipes.decoder import DecoderRecipe
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, train_spec, training_data


@pytest.mark.slow
@pytest.mark.parametrize(
    "values", [{}, {"detail": False}, {"adversarial": 0.1}, {"generated": 0.5, "adapter": "blended"}]
)
def test_a_tiny_decoder_loads(phantoms: str, family: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "decoder", **values))
    assert load_bundle(str(folder / "bundle"), decoder="tiny").tiny_decoder is not None


@pytest.mark.slow
def test_sharpening_the_decoder_leaves_the_encoder(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "decoder", decoder="kl"))
    before, after = (load_bundle(str(place / "bundle")).vae.state_dict() for place in (family, folder))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in changed)


@pytest.mark.slow
def test_a_decoder_starts_from_another_bundles(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "decoder", steps=1))
    again = DecoderRecipe(train_spec(phantoms, folder, "decoder", start=str(folder / "bundle"), decoder_width=99), CPU)
    saved = load_bundle(str(folder / "bundle"), decoder="tiny").tiny_decoder
    assert saved is not None
    for name, value in again.decoder.state_dict().items():
        assert torch.equal(value, saved.decoder.state_dict()[name].float()), name


def test_blocks_must_fit_the_autoencoder(phantoms: str, family: Path) -> None:
    with pytest.raises(SpecError) as caught:
        DecoderRecipe(train_spec(phantoms, family, "decoder", decoder_blocks=[1, 1]), CPU)
    assert caught.value.key == "decoder_blocks"


@pytest.mark.slow
def test_a_decoder_learns_the_kl_decoders_images_or_the_photographs(phantoms: str, family: Path) -> None:
    for values, learns_photo in (({}, False), ({"distil": False}, True), ({"decoder": "kl"}, True)):
        spec = train_spec(phantoms, family, "decoder", **values)
        batch = training_data(spec).batch(0, 0, 2)
        latents, target = DecoderRecipe(spec, CPU)._pair(batch)
        assert latents.shape == (2, 4, 8, 8)
        assert torch.equal(target, image_tensor(batch.photos)) == learns_photo


def test_without_detail_only_the_squared_error_counts(phantoms: str, family: Path) -> None:
    spec = train_spec(phantoms, family, "decoder", detail=False)
    losses = DecoderRecipe(spec, CPU)(training_data(spec).batch(0, 0, 2))
    assert set(losses) == {"loss", "mse"}
    assert torch.equal(losses["loss"].detach(), losses["mse"])


@pytest.mark.slow
def test_critic_and_decoder_do_not_share_gradients(phantoms: str, family: Path) -> None:
    """The critic's gradient does not depend on the weight; the decoder's is that without critic plus weight x term."""
    critics, decoders = [], []
    for weight in (0.0, 1.0, 10.0):
        spec = train_spec(phantoms, family, "decoder", adversarial=weight)
        recipe = DecoderRecipe(spec, CPU)
        recipe(training_data(spec).batch(0, 0, 2))["loss"].backward()
        decoders.append(_gradient(recipe.decoder))
        critics += [_gradient(recipe.critic)] if recipe.critic is not None else []
    assert torch.equal(*critics)
    without, one, ten = decoders
    deviation = (ten - without) - 10 * (one - without)  # float32 differences, so measured by the largest gradient
    assert deviation.abs().max() < 1e-3 * (ten - without).abs().max()
    assert not torch.equal(one, without)


def _gradient(net: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
