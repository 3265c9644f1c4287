"""Prompts to embeddings, each distinct prompt once. Refuses to truncate: what exceeds 77 tokens is an error."""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import ConditionError


class PromptEncoder:
    """Embeds prompts one at a time, so that an embedding never depends on its neighbours, and remembers them."""

    def __init__(self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
        """Take a bundle's tokenizer and text encoder."""
        self._tokenizer, self._text_encoder = tokenizer, text_encoder
        self._known: dict[str, Float[Tensor, "tokens width"]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens and width of an embedding."""
        return int(self._tokenizer.model_max_length), int(self._text_encoder.config.hidden_size)

    @torch.no_grad()
    def embed(self, prompt: str) -> Float[Tensor, "tokens width"]:
        """Last hidden state of the text encoder.

        Raises:
            ConditionError: If the prompt has too many tokens; CLIP would drop the rest.
        """
        if prompt not in self._known:
            tokens = self._tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
            limit = self.shape[0]
            if tokens.shape[1] > limit:
                raise ConditionError(f"prompt {prompt!r}", f"{tokens.shape[1]} tokens", f"at most {limit}")
            self._known[prompt] = self._text_encoder(tokens.to(self._text_encoder.device))[0][0]
        return self._known[prompt]


def prompt_name(prompt: str) -> str:
    """Identity of a prompt's embedding within one bundle."""
    return hashlib.sha256(prompt.encode()).hexdigest()
