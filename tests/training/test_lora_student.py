"""LoRAs on the bundle's UNet: fresh ones change nothing, written ones load, and one can start from another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open

from dentgen.errors import BundleError, SpecError
from dentgen.models.bundle import load_bundle
from dentgen.training.frozen_networks import frozen_unet
from dentgen.training.lora_student import LAYERS, WEIGHTS, ControlledNetworks, lora_unet, start_from, write_lora
from dentgen.training.preview import predict_noise
from tests.training.runs import CPU, copied_bundle, train_spec, training_data


@torch.no_grad()
def predicted(unet: torch.nn.Module, width: int = 128) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    latents, embeds = (torch.randn(shape, generator=rng) for shape in ((1, 4, 8, 8), (1, 5, width)))
    return predict_noise(unet, latents, torch.tensor([500]), embeds, None)


@torch.no_grad()
def trained(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A LoRA with weights as if it had been trained."""
    rng = torch.Generator().manual_seed(1)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=rng))
    return unet


def spec_of(phantoms: str, folder: Path, **values: Any) -> Any:
    return train_spec(phantoms, folder, "phased-lora", **values)


def test_a_fresh_lora_changes_nothing_and_is_all_that_is_trained(phantoms: str, family: Path) -> None:
    spec = spec_of(phantoms, family)
    unet = lora_unet(spec, CPU, "name")
    assert torch.equal(predicted(unet), predicted(frozen_unet(spec, CPU)))
    trains = [name for name, parameter in unet.named_parameters() if parameter.requires_grad]
    assert trains
    assert all("lora_" in name for name in trains)
    assert not any(
        "time_emb_proj" in name
        for name, _ in lora_unet(spec, CPU, "name", LAYERS).named_parameters()
        if "lora_" in name
    )


@pytest.mark.integration
def test_fresh_weights_are_named(phantoms: str, family: Path) -> None:
    spec = spec_of(phantoms, family)
    one, same, other = (dict(lora_unet(spec, CPU, name).named_parameters()) for name in ("one", "one", "other"))
    drawn = [name for name in one if "lora_A" in name]
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert all(not torch.equal(one[name], other[name]) for name in drawn)


@pytest.mark.integration
def test_a_written_lora_loads_and_keeps_its_header(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    unet = trained(lora_unet(spec_of(phantoms, tmp_path), CPU, "name"))
    write_lora(unet, folder / "bundle", "own", {"said": "so"})
    with safe_open(folder / "bundle" / "loras" / "own" / WEIGHTS, "pt") as file:
        assert file.metadata() == {"said": "so", "format": "pt"}
    loaded = load_bundle(str(folder / "bundle"), loras={"own": 1.0}).unet
    torch.testing.assert_close(predicted(loaded), predicted(unet), rtol=0.01, atol=0.01)


@pytest.mark.integration
def test_a_student_starts_from_another_lora(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    spec = spec_of(phantoms, tmp_path)
    first, plain = trained(lora_unet(spec, CPU, "name", LAYERS)), predicted(frozen_unet(spec, CPU))
    write_lora(first, folder / "bundle", "first", {})
    student = lora_unet(spec, CPU, "student")
    start_from(student, folder / "bundle", "first")
    torch.testing.assert_close(predicted(student), predicted(first), rtol=0.01, atol=0.01)
    assert not torch.allclose(predicted(student), plain, rtol=0.1, atol=0.1)


@pytest.mark.integration
def test_what_a_student_cannot_start_from_is_refused(phantoms: str, family: Path, tmp_path: Path) -> None:
    bundle = copied_bundle(family, tmp_path) / "bundle"
    write_lora(lora_unet(spec_of(phantoms, tmp_path), CPU, "name"), bundle, "first", {})
    other_rank = lora_unet(spec_of(phantoms, tmp_path, rank=3), CPU, "name")
    with pytest.raises(SpecError) as caught:
        start_from(other_rank, bundle, "first")
    assert (caught.value.file, caught.value.key, caught.value.found) == (str(bundle / "loras" / "first"), "rank", 3)
    assert str(caught.value.expected).startswith("4")
    fewer_layers = lora_unet(spec_of(phantoms, tmp_path), CPU, "name", LAYERS)
    with pytest.raises(SpecError) as caught:
        start_from(fewer_layers, bundle, "first")
    assert caught.value.key == "start_lora"
    with pytest.raises(BundleError):
        start_from(other_rank, bundle, "nobody")


def test_networks_show_the_specs_control_image(phantoms: str, family: Path) -> None:
    spec = spec_of(phantoms, family)
    networks, batch = ControlledNetworks(spec, CPU), training_data(spec).batch(0, 0, 2)
    shown = networks.control_images(batch)
    expected = torch.from_numpy(batch.rows[1].control("blended").copy()).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(shown[1], expected)
    encoded = networks.autoencoder.controls(batch.rows, ["blended", "blended"])
    assert torch.equal(networks.encoded_controls(batch), encoded)
    found = networks.condition(batch)
    assert found is not None
    assert torch.equal(found, encoded)
    assert not torch.equal(encoded, networks.autoencoder.controls(batch.rows, ["normal", "normal"]))
