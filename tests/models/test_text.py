"""Prompt embeddings against diffusers' ``encode_prompt``, and the policies for long prompts."""

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
def test_embeddings_equal_those_of_diffusers(miniature: Bundle, pipeline: Any, prompt: str) -> None:
    for mode in ("error", "truncate", "chunk"):
        embedding = encoder(miniature, mode).embed(prompt)
        assert embedding.shape == encoder(miniature, mode).shape == (77, 128)
        assert torch.equal(embedding, by_diffusers(pipeline, prompt)), mode


def test_long_prompts_are_an_error_by_default(miniature: Bundle) -> None:
    assert encoder(miniature, chunks=3).shape == (77, 128), "chunks are used under the policy chunk only"
    with pytest.raises(ConditionError) as caught:
        PromptEncoder(miniature.tokenizer, miniature.text_encoder).embed("teeth " * 78)
    error = caught.value
    assert error.file.startswith("prompt 'teeth")
    assert (error.found, error.expected) == ("82 tokens in 2 windows", "at most 77 in 1")
    assert encoder(miniature).dropped("teeth " * 78) == ""


def test_the_number_of_windows_is_positive(miniature: Bundle) -> None:
    with pytest.raises(SpecError) as caught:
        encoder(miniature, "chunk", chunks=0)
    assert (caught.value.key, caught.value.found) == ("sampling.prompt_chunks", 0)


def test_truncation_equals_that_of_diffusers(
    miniature: Bundle, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
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


def test_each_window_is_embedded_as_diffusers_embeds_its_text(miniature: Bundle, pipeline: Any) -> None:
    words = [f"{word} " for word in ("teeth", "photo", "left") for _ in range(75)]
    chunked = encoder(miniature, "chunk", chunks=3)
    assert chunked.shape == (231, 128)
    assert len(tokens_of(miniature, "".join(words))) == 225, "one token per word, so that windows are known"
    windows = [by_diffusers(pipeline, "".join(words[i : i + 75])) for i in (0, 75, 150)]
    assert torch.equal(chunked.embed("".join(words)), torch.cat(windows))
    part = torch.cat([windows[0], by_diffusers(pipeline, "photo photo"), windows[0]])
    assert torch.equal(chunked.embed("".join(words[:77])), part), "repeated window by window"
    with pytest.raises(ConditionError) as caught:
        chunked.embed("".join(words) + "left")
    assert (caught.value.found, caught.value.expected) == ("234 tokens in 4 windows", "at most 231 in 3")


def test_repeating_all_windows_does_not_change_predictions(miniature: Bundle) -> None:
    """Attention over keys that all occur twice equals attention over one of each."""
    once, twice = (encoder(miniature, "chunk", chunks).embed(SHORT) for chunks in (1, 2))
    assert torch.equal(twice, torch.cat([once, once]))
    one, other = predicted(miniature, once), predicted(miniature, twice)
    assert float((one - other).abs().max()) < 1e-5
    assert float((one - predicted(miniature, torch.cat([once, once.flip(0) * 2]))).abs().max()) > 1e-3


def test_embeddings_are_cached(miniature: Bundle) -> None:
    calls: list[int] = []
    hook = miniature.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    cached = encoder(miniature, "chunk", 2)
    first = cached.embed(SHORT)
    assert cached.embed(SHORT) is first
    hook.remove()
    assert len(calls) == 1
