"""Prompts against diffusers' own encode_prompt, and what becomes of long ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from dentgen.errors import ConditionError, SpecError
from dentgen.models.bundle import Bundle
from dentgen.models.text import LongPrompts, PromptEncoder

SHORT = "a photo of both teeth"
LONG = "A photo of Both Teeth, seen from the left; " * 12


def encoder(bundle: Bundle, long_prompts: LongPrompts = "error", chunks: int = 1) -> PromptEncoder:
    return PromptEncoder(bundle.tokenizer, bundle.text_encoder, long_prompts=long_prompts, chunks=chunks)


def tokens_of(bundle: Bundle, prompt: str) -> list[int]:
    """Without BOS and EOS."""
    return list(bundle.tokenizer(prompt).input_ids[1:-1])


@pytest.fixture(scope="module")
def pipeline(miniature: Bundle) -> Any:
    return StableDiffusionPipeline(
        vae=miniature.vae, text_encoder=miniature.text_encoder, tokenizer=miniature.tokenizer, unet=miniature.unet,
        scheduler=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


@torch.no_grad()
def by_diffusers(pipeline: Any, prompt: str) -> torch.Tensor:
    return pipeline.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False)[0][0]


@torch.no_grad()
def predicted(bundle: Bundle, embedding: torch.Tensor) -> torch.Tensor:
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return bundle.unet(latents, torch.tensor([500]), embedding[None]).sample


@pytest.mark.parametrize("prompt", ["", SHORT, "teeth " * 75])
def test_embeddings_are_diffusers_own(miniature: Bundle, pipeline: Any, prompt: str) -> None:
    for mode in ("error", "truncate", "chunk"):
        embedding = encoder(miniature, mode).embed(prompt)
        assert embedding.shape == encoder(miniature, mode).shape == (77, 128)
        assert torch.equal(embedding, by_diffusers(pipeline, prompt)), mode


def test_long_prompts_are_an_error_unless_asked_for(miniature: Bundle) -> None:
    assert encoder(miniature, chunks=3).shape == (77, 128), "chunks count where prompts are chunked"
    with pytest.raises(ConditionError, match="found 82 tokens in 2 windows, expected at most 77 in 1") as caught:
        PromptEncoder(miniature.tokenizer, miniature.text_encoder).embed("teeth " * 78)
    assert caught.value.file.startswith("prompt 'teeth")
    assert encoder(miniature).dropped("teeth " * 78) == ""
    with pytest.raises(SpecError, match="found 0, expected at least 1"):
        encoder(miniature, "chunk", chunks=0)


def test_truncation_is_diffusers_own(miniature: Bundle, pipeline: Any, caplog: pytest.LogCaptureFixture) -> None:
    cut = encoder(miniature, "truncate")
    diffusers_logging.enable_propagation()
    try:
        reference = by_diffusers(pipeline, LONG)
    finally:
        diffusers_logging.disable_propagation()
    assert torch.equal(cut.embed(LONG), reference)
    warning = next(record.getMessage() for record in caplog.records if "was truncated" in record.getMessage())
    assert warning.endswith(f"up to 77 tokens: {[cut.dropped(LONG)]}")
    assert len(tokens_of(miniature, cut.dropped(LONG))) == len(tokens_of(miniature, LONG)) - 75
    assert cut.dropped(SHORT) == cut.dropped("teeth " * 75) == cut.dropped("") == ""


def test_windows_are_encoded_apart(miniature: Bundle, pipeline: Any) -> None:
    """Each window is what diffusers makes of its text alone."""
    words = [f"{word} " for word in ("teeth", "photo", "left") for _ in range(75)]
    chunked = encoder(miniature, "chunk", chunks=3)
    assert chunked.shape == (231, 128)
    assert len(tokens_of(miniature, "".join(words))) == 225, "a token a word, so that windows are known"
    windows = [by_diffusers(pipeline, "".join(words[i : i + 75])) for i in (0, 75, 150)]
    assert torch.equal(chunked.embed("".join(words)), torch.cat(windows))
    part = torch.cat([windows[0], by_diffusers(pipeline, "photo photo"), windows[0]])
    assert torch.equal(chunked.embed("".join(words[:77])), part), "repeated window by window"
    with pytest.raises(ConditionError, match="found 234 tokens in 4 windows, expected at most 231 in 3"):
        chunked.embed("".join(words) + "left")


def test_a_repeated_window_predicts_what_one_does(miniature: Bundle) -> None:
    """Attention over keys that all occur twice is attention over one of each."""
    once, twice = (encoder(miniature, "chunk", chunks).embed(SHORT) for chunks in (1, 2))
    assert torch.equal(twice, torch.cat([once, once]))
    one, other = predicted(miniature, once), predicted(miniature, twice)
    assert float((one - other).abs().max()) < 1e-5
    assert float((one - predicted(miniature, torch.cat([once, once.flip(0) * 2]))).abs().max()) > 1e-3


def test_a_prompt_is_embedded_once(miniature: Bundle) -> None:
    calls: list[int] = []
    hook = miniature.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    embedder = encoder(miniature, "chunk", 2)
    first = embedder.embed(SHORT)
    assert embedder.embed(SHORT) is first
    hook.remove()
    assert len(calls) == 1
