"""The miniature's vocabulary: the same in every run, and an extended one keeps its tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from transformers import CLIPTokenizer

from dentgen.models.bundle import find_bundle
from dentgen.training.miniature import (
    extended_text_encoder,
    new_autoencoder,
    new_text_encoder,
    new_tokenizer,
    new_unet,
    write_scheduler,
)


def test_the_vocabulary_is_the_same_in_every_run() -> None:
    tokenizer = new_tokenizer()
    assert tokenizer.get_vocab() == new_tokenizer().get_vocab()
    text = "a photo of both teeth, left view, inflamed gums, never seen: zyx 42"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(" ", "") == text.replace(
        " ", ""
    )
    assert len(tokenizer("teeth").input_ids) == 3, "a word of the corpus is one token, plus start and end"


def test_an_extended_vocabulary_keeps_its_tokens() -> None:
    """Known prompts are embedded to the same bits; a new token begins as the mean of the pieces it replaces."""
    before, gone = without_last_merges(CLIPTokenizer.from_pretrained(find_bundle("miniature") / "tokenizer"), 60)
    start = new_text_encoder(before)
    tokenizer = new_tokenizer(before)
    model = extended_text_encoder(start, tokenizer, before)
    assert before.get_vocab().items() <= tokenizer.get_vocab().items()
    old = "a photo of both teeth, left view, intraoral dental photography, white teeth, pink gums, ring flash"
    ids = tokenizer(old, padding="max_length", return_tensors="pt").input_ids
    assert torch.equal(ids, before(old, padding="max_length", return_tensors="pt").input_ids)
    assert torch.equal(model(ids)[0], start(ids)[0])
    assert len(tokenizer("zyx").input_ids) == len(before("zyx").input_ids)
    weight = model.get_input_embeddings().weight
    words = [token.removesuffix("</w>") for token in gone if token.endswith("</w>") and token in tokenizer.get_vocab()]
    assert len(words) > 9
    for word in words:
        (number,) = tokenizer(word, add_special_tokens=False).input_ids
        pieces = before(word, add_special_tokens=False).input_ids
        assert len(pieces) > 1
        assert torch.allclose(weight[number], start.get_input_embeddings().weight[pieces].mean(0))


def without_last_merges(tokenizer: CLIPTokenizer, count: int) -> tuple[CLIPTokenizer, list[str]]:
    """An older vocabulary: without the last merges and what they made, which is named."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [tuple(pair.split()) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    gone = [first + second for first, second in merges[-count:]]
    tokens = [token for token in sorted(model["vocab"], key=model["vocab"].__getitem__) if token not in gone]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges[:-count], model_max_length=77), gone


@pytest.mark.parametrize("size", [64, 128, 256])
def test_networks_fit_together_at_their_size(size: int) -> None:
    vae, unet = new_autoencoder(size), new_unet(size)
    assert unet.config["sample_size"] * 2 ** (len(vae.config["block_out_channels"]) - 1) == size
    assert unet.config["in_channels"] == vae.config["latent_channels"]
    assert unet.config["cross_attention_dim"] == new_text_encoder(new_tokenizer()).config.hidden_size


def test_the_scheduler_is_written_as_diffusers_reads_it(tmp_path: Path) -> None:
    write_scheduler(tmp_path)
    scheduler = UniPCMultistepScheduler.from_pretrained(tmp_path)
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(0.0047, abs=1e-4), "Stable Diffusion's last step"
