"""Prompts to embeddings, each distinct prompt once, and what becomes of prompts longer than CLIP's window.

The default refuses them; cutting them off or encoding them in several windows has to be asked for. Refuses to know
guidance and weights on words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import ConditionError, SpecError

#: What becomes of a prompt that is longer than one window: an error, the rest dropped, or several windows.
LongPrompts = Literal["error", "truncate", "chunk"]

#: Windows of embeddings to keep. A build may have a prompt of its own for every record; old ones are embedded again.
REMEMBERED_WINDOWS: Final = 4096


class PromptEncoder:
    """Embeds prompts window by window, so that an embedding never depends on its neighbours, and remembers them.

    A window is BOS, up to 75 tokens, EOS and padding: 77 tokens. Windows are cut at fixed places, so a word may fall
    into two of them.
    """

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        text_encoder: CLIPTextModel,
        *,
        long_prompts: LongPrompts = "error",
        chunks: int = 1,
        words: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """Take a bundle's tokenizer and text encoder.

        Args:
            tokenizer: Makes tokens.
            text_encoder: Embeds one window per call.
            long_prompts: What becomes of a prompt that is longer than one window.
            chunks: Windows of every embedding under ``chunk``; without effect otherwise.
            words: Tokens that stand for several, by token: textual inversion's.

        Raises:
            SpecError: If there are no windows.
        """
        if chunks < 1:
            raise SpecError(f"chunks: found {chunks}, expected at least 1")
        self._tokenizer, self._text_encoder, self._long_prompts = tokenizer, text_encoder, long_prompts
        self._words = words or {}
        self._chunks = chunks if long_prompts == "chunk" else 1
        self._remembered = lru_cache(maxsize=max(1, REMEMBERED_WINDOWS // self._chunks))(self._embed)

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens and width of every embedding."""
        return self._window * self._chunks, int(self._text_encoder.config.hidden_size)

    def embed(self, prompt: str) -> Float[Tensor, "tokens width"]:
        """Last hidden states of the text encoder, in its dtype and on its device.

        Under ``chunk`` a prompt of fewer windows is repeated, window by window, until ``chunks`` are full: attention
        over keys that all occur equally often is attention over one of each. Where its windows do not divide
        ``chunks``, the first ones occur once more than the others and weigh more.

        Raises:
            ConditionError: If the prompt has more tokens than there is room for, unless it is to be truncated.
        """
        return self._remembered(prompt)

    def dropped(self, prompt: str) -> str:
        """What ``embed`` cuts off, as the tokenizer spells it (lower case); empty unless prompts are truncated."""
        if self._long_prompts != "truncate":
            return ""
        return str(self._tokenizer.decode(self._tokens(prompt)[self._room :]))

    @property
    def _window(self) -> int:
        return int(self._tokenizer.model_max_length)

    @property
    def _room(self) -> int:
        """A window's tokens between BOS and EOS."""
        return self._window - 2

    @torch.no_grad()
    def _embed(self, prompt: str) -> Float[Tensor, "tokens width"]:
        encoded = [self._encode(window) for window in self._windows(prompt)]
        return torch.cat([encoded[i % len(encoded)] for i in range(self._chunks)])

    def _encode(self, window: list[int]) -> Tensor:
        begin, end, pad = (getattr(self._tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad"))
        tokens = [begin, *window, end, *[pad] * (self._room - len(window))]
        embedding: Tensor = self._text_encoder(torch.tensor([tokens], device=self._text_encoder.device))[0][0]
        return embedding

    def _windows(self, prompt: str) -> list[list[int]]:
        """The prompt's tokens cut into windows, at most ``chunks``; an empty prompt is one empty window."""
        tokens = self._tokens(prompt)
        if self._long_prompts == "truncate":
            tokens = tokens[: self._room]
        windows = [tokens[i : i + self._room] for i in range(0, len(tokens), self._room)] or [[]]
        if len(windows) > self._chunks:
            with_ends, limit = len(tokens) + 2 * len(windows), self._window * self._chunks
            raise ConditionError(
                f"prompt {prompt[:60]!r}...",
                f"{with_ends} tokens in {len(windows)} windows",
                f"at most {limit} in {self._chunks}",
            )
        return windows

    def _tokens(self, prompt: str) -> list[int]:
        # Neither padding nor truncation is asked for: both are state of the tokenizer, which threads share.
        tokens = self._tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        return [part for token in tokens for part in self._words.get(token, (token,))]


def prompt_name(prompt: str) -> str:
    """Identity of a prompt's embedding within one bundle."""
    return hashlib.sha256(prompt.encode()).hexdigest()
