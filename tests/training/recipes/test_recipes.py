"""Every recipe on real small networks: it trains what it says, leaves the rest, and writes what the loader takes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, LCMScheduler
from pydantic import ValidationError

from dentgen.errors import BundleError, SpecError
from dentgen.models.bundle import load_bundle
from dentgen.models.control import load_control
from dentgen.models.parts import load_tokenizer, load_vae
from dentgen.training.data.records import open_records
from dentgen.training.data.rows import TrainingData
from dentgen.training.frozen_networks import FrozenAutoencoder, token_ids
from dentgen.training.generated_latents import GeneratedLatents
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.recipes.adapter import ControlBaseRecipe
from dentgen.training.recipes.lcm_lora import boundary_scalings
from dentgen.training.run import run_training
from tests.training.conftest import train_spec

CPU = torch.device("cpu")


def own_bundle(family: Path, folder: Path) -> Path:
    shutil.copytree(family / "bundle", folder / "bundle")
    return folder


def test_what_is_written_knows_nothing_of_this_machine(phantoms: str, family: Path, tmp_path: Path) -> None:
    """Nor does a library warn of what it wrote itself."""
    folder = own_bundle(family, tmp_path)
    bundle = str(folder / "bundle")
    run_training(train_spec(phantoms, folder, "base", start=bundle, steps=1))
    run_training(train_spec(phantoms, folder, "decoder", steps=1))
    run_training(train_spec(phantoms, folder, "decoder", decoder="kl", steps=1, checkpoints=str(folder / "kl")))
    for file in (folder / "bundle").rglob("*.json"):
        assert str(tmp_path.parent.parent) not in file.read_text(), file
        assert '_name_or_path": "/' not in file.read_text(), file
    assert not list((folder / "bundle").rglob("README.md"))
    assert "block_out_channels" not in json.loads((folder / "bundle" / "tiny_decoder" / "config.json").read_text())
    targets = json.loads((family / "bundle" / "adapters" / "blended" / "adapter_config.json").read_text())[
        "target_modules"
    ]
    assert targets == sorted(targets), "else equal trainings give bundles of different digests"
    tokenizer = json.loads((folder / "bundle" / "tokenizer" / "tokenizer.json").read_text())
    assert tokenizer["padding"] is tokenizer["truncation"] is None


def test_the_family_loads(family: Path) -> None:
    bundle = load_bundle(str(family / "bundle"), {"blended"})
    assert bundle.control is not None


def test_a_control_base_keeps_its_tasks_apart(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = own_bundle(family, tmp_path)
    before = load_control(folder / "bundle" / "controlnet", torch.float32).state_dict()
    bundle = str(folder / "bundle")
    spec = train_spec(phantoms, folder, "control-base", conditions=["segmentation", "normal"], start=bundle)
    run_training(spec)
    after = load_control(folder / "bundle" / "controlnet", torch.float32).state_dict()
    assert sum(not torch.equal(before[name], after[name]) for name in before) > len(before) / 2
    loaded = load_bundle(bundle, {"segmentation", "normal"})
    one, other = (loaded.shared[name].state_dict() for name in ("segmentation", "normal"))
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert differing
    assert all("controlnet" not in name and "conv" not in name for name in differing), "LoRAs are of linear layers"


def test_a_task_trains_its_own_lora_and_the_base(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = own_bundle(family, tmp_path)
    bundle = str(folder / "bundle")
    spec = train_spec(phantoms, folder, "control-base", conditions=["segmentation", "normal"], start=bundle)
    recipe, data = ControlBaseRecipe(spec, CPU), TrainingData(spec, open_records(spec, ""))
    for step, (own, other) in enumerate((("segmentation", "normal"), ("normal", "segmentation"))):
        recipe.zero_grad(set_to_none=True)
        recipe(data.batch(step, 0, 2))["loss"].backward()
        got = {name for name, parameter in recipe.named_parameters() if parameter.grad is not None}
        assert any(f".{own}." in name for name in got)
        assert not any(f".{other}." in name for name in got)
        assert any("base_layer" in name for name in got)


def test_an_aligned_encoder_stays_near_the_known_one(phantoms: str, family: Path, tmp_path: Path) -> None:
    """So that networks trained on the known encoder's latents can go on from its successor's."""
    known = load_bundle(str(family / "bundle")).vae
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    strayed = {}
    for align in ("", str(family / "bundle")):
        folder = tmp_path / ("aligned" if align else "alone")
        values = {"align": align, "steps": 40, "batch": 4, "learning_rate": 2e-3, "ema": 0.5}
        run_training(train_spec(phantoms, folder, "autoencoder", **values))
        vae = load_vae(folder / "bundle" / "vae", torch.float32)
        with torch.no_grad():
            latents, expected = (net.encode(images).latent_dist.mode() for net in (vae, known.float()))
        strayed[align != ""] = float((latents - expected).square().mean() / expected.var())
    assert strayed[True] < 0.8 * strayed[False], strayed


def test_an_encoder_with_other_latents_is_no_one_to_stay_near(phantoms: str, family: Path, tmp_path: Path) -> None:
    other = own_bundle(family, tmp_path) / "bundle"
    AutoencoderKL(latent_channels=8, norm_num_groups=8).save_pretrained(other / "vae")
    with pytest.raises(SpecError, match=r"align: found latents of \(channels, downscale\) \(8, 1\).*expected \(4, 8\)"):
        run_training(train_spec(phantoms, tmp_path, "autoencoder", align=str(other)))


@pytest.mark.parametrize("recipe", ["controlnet", "control-lora"])
def test_the_other_control_nets_load_and_control(phantoms: str, family: Path, tmp_path: Path, recipe: str) -> None:
    folder = own_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, recipe, name="full", learning_rate=0.01, validate_steps=4))
    full = load_bundle(str(folder / "bundle"), controlnets=["full"]).full["full"]
    latents, hints = torch.zeros(1, 4, 8, 8), torch.rand(1, 3, 64, 64)
    embeds = torch.zeros(1, 77, 128)
    _, middle = full.network(latents, torch.tensor([5]), embeds, controlnet_cond=full.hint(hints), return_dict=False)
    assert float(middle.abs().sum()) > 0, "its zero convolutions have moved"


def test_an_lcm_lora_loads_and_changes_the_unet(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = own_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "lcm-lora", control="blended", learning_rate=0.01, validate_steps=4))
    plain = load_bundle(str(folder / "bundle")).unet.state_dict()
    tuned = load_bundle(str(folder / "bundle"), loras={"lcm": 1.0}).unet.state_dict()
    assert any(not torch.equal(plain[name], tuned[name]) for name in plain)


def test_boundary_scalings_are_those_of_the_scheduler() -> None:
    scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
    for timestep in (0, 1, 259, 999):
        skip, out = scheduler.get_scalings_for_boundary_condition_discrete(timestep)
        own_skip, own_out = boundary_scalings(torch.tensor([timestep]))
        assert float(own_skip) == pytest.approx(float(skip), rel=1e-6)
        assert float(own_out) == pytest.approx(float(out), rel=1e-6)
    skip, out = boundary_scalings(torch.tensor([0]))
    assert (float(skip), float(out)) == (1.0, 0.0), "at timestep 0 the input is the answer"


@pytest.mark.parametrize(
    "values", [{}, {"detail": False}, {"adversarial": 0.1}, {"generated": 0.5, "control": "blended"}]
)
def test_a_tiny_decoder_loads(phantoms: str, family: Path, tmp_path: Path, values: dict[str, object]) -> None:
    folder = own_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "decoder", **values))
    assert load_bundle(str(folder / "bundle"), decoder="tiny").tiny_decoder is not None


def test_a_share_of_latents_is_generated_each_record_alike(phantoms: str, family: Path, tmp_path: Path) -> None:
    """Under the adapter, and whoever its neighbours are; the other records' latents are the encoder's own."""
    folder = own_bundle(family, tmp_path)
    spec = train_spec(phantoms, folder, "decoder", generated=0.5, control="blended", batch=10)
    encoder, batch = FrozenAutoencoder(spec, CPU), TrainingData(spec, open_records(spec, "")).batch(0, 0, 10)
    encoded = encoder.pictures(batch)
    found = GeneratedLatents(spec, encoder, CPU).instead(encoded, batch.rows)
    own = [not torch.equal(one, other) for one, other in zip(encoded, found, strict=True)]
    assert 2 <= sum(own) <= 8
    again, first = GeneratedLatents(spec, encoder, CPU), own.index(True)
    assert torch.equal(again.instead(encoded[first : first + 1], batch.rows[first : first + 1])[0], found[first])
    record = batch.rows[first].record
    unlit = replace(record, conditions={**record.conditions, "lighting": 0 * record.conditions["lighting"]})
    dark = replace(batch.rows[first], record=unlit)
    other = GeneratedLatents(spec, FrozenAutoencoder(spec, CPU), CPU).instead(encoded[first : first + 1], [dark])
    assert not torch.equal(other[0], found[first]), "its control image counts"
    stronger = GeneratedLatents(spec.model_copy(update={"control_scale": 1.5}), encoder, CPU)
    other = stronger.instead(encoded[first : first + 1], batch.rows[first : first + 1])
    assert not torch.equal(other[0], found[first]), "how strongly it is obeyed counts"
    shutil.rmtree(folder / "bundle" / "adapters")
    with pytest.raises(BundleError, match="blended"):
        GeneratedLatents(spec, encoder, CPU)


def test_prompts_that_training_cuts_are_named(family: Path) -> None:
    tokenizer = load_tokenizer(family / "bundle" / "tokenizer")
    with pytest.warns(UserWarning, match="prompt: found 78 tokens, training sees 77: 'teeth teeth") as warned:
        ids = token_ids(tokenizer, ["teeth " * 75, "teeth " * 76])
    assert len([w for w in warned if w.category is UserWarning]) == 1, (
        "75 words, a beginning and an end fill one window"
    )
    assert ids.shape == (2, 77)


def test_who_learns_photographs_has_none_for_generated_latents(phantoms: str, family: Path) -> None:
    for values in ({"decoder": "kl", "control": "blended"}, {"distil": False, "control": "blended"}, {}):
        with pytest.raises(ValidationError, match="generated: expected the adapter"):
            train_spec(phantoms, family, "decoder", generated=0.5, **values)


def test_sharpening_the_decoder_leaves_the_encoder(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = own_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "decoder", decoder="kl"))
    before, after = (load_bundle(str(place / "bundle")).vae.state_dict() for place in (family, folder))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in changed)


def test_text_to_image_trains_without_control(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = own_bundle(family, tmp_path)
    control = (folder / "bundle" / "controlnet" / "diffusion_pytorch_model.safetensors").read_bytes()
    run_training(train_spec(phantoms, folder, "text-to-image", start=str(folder / "bundle")))
    before, after = (load_bundle(str(place / "bundle")).unet.state_dict() for place in (family, folder))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert (folder / "bundle" / "controlnet" / "diffusion_pytorch_model.safetensors").read_bytes() == control
