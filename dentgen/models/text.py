"""Prompts to embeddings, each distinct prompt once. Refuses to truncate: what exceeds 77 tokens is an error."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import ConditionError

#: A build may have a prompt of its own for every record; what is old is embedded again.
REMEMBERED_PROMPTS: Final = 4096


class PromptEncoder:
    """Embeds prompts one at a time, so that an embedding never depends on its neighbours, and remembers them."""

    def __init__(self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
        """Take a bundle's tokenizer and text encoder."""
        self._tokenizer, self._text_encoder = tokenizer, text_encoder
        self._remembered = lru_cache(maxsize=REMEMBERED_PROMPTS)(self._embed)

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens and width of an embedding."""
        return int(self._tokenizer.model_max_length), int(self._text_encoder.config.hidden_size)

    def embed(self, prompt: str) -> Float[Tensor, "tokens width"]:
        """Last hidden state of the text encoder.

        Raises:
            ConditionError: If the prompt has too many tokens; CLIP would drop the rest.
        """
        return self._remembered(prompt)

    @torch.no_grad()
    def _embed(self, prompt: str) -> Float[Tensor, "tokens width"]:
        tokens = self._tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
        limit = self.shape[0]
        if tokens.shape[1] > limit:
            raise ConditionError(f"prompt {prompt[:60]!r}...", f"{tokens.shape[1]} tokens", f"at most {limit}")
        embedding: Tensor = self._text_encoder(tokens.to(self._text_encoder.device))[0][0]
        return embedding


def prompt_name(prompt: str) -> str:
    """Identity of a prompt's embedding within one bundle."""
    return hashlib.sha256(prompt.encode()).hexdigest()
