"""Textual inversion: custom words, written ``<NAME>`` in prompts, each a sequence of learnt token embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from tokenizers import AddedToken
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import BundleError
from dentgen.models.checkpoints.file import read_tensors

#: Key of the vectors in the files that import writes, as in AUTOMATIC1111's.
VECTORS: Final = "emb_params"
SUFFIX: Final = ".safetensors"


def embedding_vectors(source: str, tensors: Mapping[str, Tensor]) -> Float[Tensor, "vectors width"]:
    """Vectors (vectors, width) of an embedding file of AUTOMATIC1111 or diffusers.

    Args:
        source: File, for messages.
        tensors: Its tensors: ``emb_params`` or ``string_to_param.*`` (AUTOMATIC1111), or one token (diffusers).

    Raises:
        BundleError: If there is not exactly one embedding for one text encoder.
    """
    found = {name: value for name, value in tensors.items() if name.partition(".")[0] != "string_to_token"}
    if len(found) != 1:
        raise BundleError(file=source, found=f"keys {sorted(found)[:4]}", expected="one embedding for one text encoder")
    ((name, vectors),) = found.items()
    vectors = vectors[None] if vectors.ndim == 1 else vectors
    if vectors.ndim != 2 or not len(vectors):
        raise BundleError(file=source, key=name, found=f"shape {list(vectors.shape)}", expected="[vectors, width]")
    if not vectors.is_floating_point() or not bool(vectors.isfinite().all()):
        found_values = f"values of {vectors.dtype}" if not vectors.is_floating_point() else "values that are not finite"
        raise BundleError(file=source, key=name, found=found_values, expected="finite floating-point numbers")
    return vectors.detach()


def add_embeddings(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, files: Mapping[str, Path]
) -> dict[int, tuple[int, ...]]:
    """Add words to a tokenizer and a text encoder, in place.

    Args:
        tokenizer: Receives a token for every vector: ``<NAME>``, ``<NAME>_1``, ...
        text_encoder: Receives the vectors, in its own precision.
        files: Safetensors files by name of the word.

    Returns:
        Token ids of each word, by the first of them, which is what the tokenizer returns for the word.

    Raises:
        BundleError: If a file cannot be used, has vectors of another width, or names a known token.
    """
    words: dict[int, tuple[int, ...]] = {}
    for name in sorted(files):
        vectors = embedding_vectors(str(files[name]), read_tensors(files[name]))
        check_width(str(files[name]), vectors, text_encoder)
        tokens = add_word(str(files[name]), f"<{name}>", len(vectors), tokenizer)
        _set_vectors(text_encoder, tokens, vectors)
        words[tokens[0]] = tokens
    return words


def check_width(source: str, vectors: Tensor, text_encoder: CLIPTextModel) -> None:
    """Check that vectors fit a text encoder.

    Raises:
        BundleError: If their width is not the text encoder's.
    """
    width = int(text_encoder.config.hidden_size)
    if vectors.shape[1] != width:
        found, expected = f"vectors of width {vectors.shape[1]}", f"width {width}, as the text encoder's"
        raise BundleError(file=source, found=found, expected=expected)


def add_word(source: str, word: str, count: int, tokenizer: CLIPTokenizer) -> tuple[int, ...]:
    """Add a word to a tokenizer, in place: a token for every vector, WORD, WORD_1, ...

    Args:
        source: File of the word, for messages.
        word: The word as prompts say it.
        count: Number of its vectors.
        tokenizer: Receives the tokens.

    Returns:
        Their ids; the tokenizer returns the first for the word.

    Raises:
        BundleError: If the tokenizer knows one of them.
    """
    texts = [word, *(f"{word}_{i}" for i in range(1, count))]
    if known := [text for text in texts if text in tokenizer.get_vocab()]:
        raise BundleError(file=source, key=known[0], found="a token of the tokenizer", expected="a new word")
    # Not normalised, because words that differ in case only would become one.
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in texts])
    return tuple(int(token) for token in tokenizer.convert_tokens_to_ids(texts))


@torch.no_grad()
def _set_vectors(text_encoder: CLIPTextModel, tokens: tuple[int, ...], vectors: Tensor) -> None:
    """Write rows of the embedding table, enlarging it as needed."""
    old = text_encoder.get_input_embeddings().weight
    table = old.new_zeros(max(len(old), tokens[-1] + 1), old.shape[1])
    table[: len(old)] = old
    table[list(tokens)] = vectors.to(table)
    text_encoder.set_input_embeddings(nn.Embedding.from_pretrained(table))
    text_encoder.config.vocab_size = len(table)
