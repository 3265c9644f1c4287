"""Prompt embeddings, cached per distinct prompt, with three policies for prompts longer than CLIP's window."""

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

#: Policy for prompts longer than one window: an error, truncation, or encoding in several windows.
LongPrompts = Literal["error", "truncate", "chunk"]

#: Size of the embedding cache, in windows. It is bounded because every record of a build may have its own prompt.
CACHED_WINDOWS: Final = 4096


class PromptEncoder:
    """Embeds prompts, one text encoder call per window, so that an embedding does not depend on other prompts.

    A window is BOS, up to 75 tokens, EOS and padding: 77 tokens. Windows are cut every 75 tokens, even within a word.
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
        """Wrap a bundle's tokenizer and text encoder.

        Args:
            tokenizer: The tokenizer.
            text_encoder: The text encoder.
            long_prompts: Policy for prompts longer than one window.
            chunks: Windows of every embedding under the policy ``chunk``; otherwise unused.
            words: Textual inversion: the token ids that replace a token id.

        Raises:
            SpecError: If ``chunks`` is less than 1.
        """
        if chunks < 1:
            raise SpecError(key="sampling.prompt_chunks", found=chunks, expected="at least 1")
        self._tokenizer, self._text_encoder, self._long_prompts = tokenizer, text_encoder, long_prompts
        self._words = words or {}
        self._chunks = chunks if long_prompts == "chunk" else 1
        self._cached = lru_cache(maxsize=max(1, CACHED_WINDOWS // self._chunks))(self._embed)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (tokens, width) of every embedding."""
        return self._window * self._chunks, int(self._text_encoder.config.hidden_size)

    def embed(self, prompt: str) -> Float[Tensor, "tokens width"]:
        """Last hidden states (tokens, width) of the text encoder, in its dtype and on its device.

        Under ``chunk``, the windows of a shorter prompt are repeated in turn until there are ``chunks``: attention over
        keys that all occur equally often equals attention over one of each. If the number of windows does not divide
        ``chunks``, the first windows occur once more than the others and weigh more.

        Raises:
            ConditionError: If the prompt has more tokens than fit, unless the policy is ``truncate``.
        """
        return self._cached(prompt)

    def dropped(self, prompt: str) -> str:
        """The text that ``embed`` truncates, as the tokenizer decodes it (lower case); "" under other policies."""
        if self._long_prompts != "truncate":
            return ""
        return str(self._tokenizer.decode(self._tokens(prompt)[self._room :]))

    @property
    def _window(self) -> int:
        return int(self._tokenizer.model_max_length)

    @property
    def _room(self) -> int:
        """Number of tokens between BOS and EOS."""
        return self._window - 2

    @torch.no_grad()
    def _embed(self, prompt: str) -> Float[Tensor, "tokens width"]:
        encoded = [self._encode(window) for window in self._windows(prompt)]
        return torch.cat([encoded[i % len(encoded)] for i in range(self._chunks)])

    def _encode(self, window: list[int]) -> Tensor:
        tokens = framed_window(self._tokenizer, window)
        embedding: Tensor = self._text_encoder(torch.tensor([tokens], device=self._text_encoder.device))[0][0]
        return embedding

    def _windows(self, prompt: str) -> list[list[int]]:
        """Tokens of the prompt in at most ``chunks`` windows; an empty prompt is one empty window."""
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
        return prompt_tokens(self._tokenizer, prompt, self._words)


def prompt_tokens(tokenizer: CLIPTokenizer, prompt: str, words: Mapping[int, Sequence[int]]) -> list[int]:
    """Token ids of a prompt without BOS and EOS, however long it is.

    Args:
        tokenizer: The tokenizer.
        prompt: The prompt.
        words: Textual inversion: the token ids that replace a token id.
    """
    # No padding or truncation: both are state of the tokenizer, which threads share.
    tokens = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
    return [part for token in tokens for part in words.get(token, (token,))]


def framed_window(tokenizer: CLIPTokenizer, tokens: Sequence[int]) -> list[int]:
    """A window: BOS, at most 75 tokens, EOS, and padding."""
    begin, end, pad = (getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad"))
    return [begin, *tokens, end, *[pad] * (int(tokenizer.model_max_length) - 2 - len(tokens))]


def prompt_name(prompt: str) -> str:
    """Name of a prompt's embedding, unique within one bundle."""
    return hashlib.sha256(prompt.encode()).hexdigest()
