"""Textual inversion: words of one's own, each a few learnt vectors in place of tokens, written ``<NAME>`` in prompts.

Refuses to know how they were learnt.
"""

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

#: Key of the vectors in the files that import writes; AUTOMATIC1111's.
VECTORS: Final = "emb_params"
SUFFIX: Final = ".safetensors"


def embedding_vectors(source: str, tensors: Mapping[str, Tensor]) -> Float[Tensor, "vectors width"]:
    """Vectors of an embedding file: ``emb_params`` or ``string_to_param`` (AUTOMATIC1111), or one token (diffusers).

    Raises:
        BundleError: If there is not exactly one embedding for one text encoder.
    """
    found = {name: value for name, value in tensors.items() if name != "string_to_token"}
    if len(found) != 1:
        raise BundleError(f"{source}: found keys {sorted(found)[:4]}, expected one embedding for one text encoder")
    ((name, vectors),) = found.items()
    vectors = vectors[None] if vectors.ndim == 1 else vectors
    if vectors.ndim != 2 or not len(vectors):
        raise BundleError(f"{source}: {name}: found shape {list(vectors.shape)}, expected [vectors, width]")
    return vectors.detach()


def add_embeddings(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, files: Mapping[str, Path]
) -> dict[int, tuple[int, ...]]:
    """Teach a tokenizer and text encoder new words.

    Args:
        tokenizer: Gets a token for every vector: ``<NAME>``, ``<NAME>_1``, ...
        text_encoder: Gets the vectors, in its own precision.
        files: Safetensors files by name.

    Returns:
        For every word the tokens that it stands for, by the first of them.

    Raises:
        BundleError: If a file cannot be used, has vectors of another width, or names a known token.
    """
    words: dict[int, tuple[int, ...]] = {}
    for name in sorted(files):
        vectors = embedding_vectors(str(files[name]), read_tensors(files[name]))
        check_width(str(files[name]), vectors, text_encoder)
        tokens = _new_tokens(str(files[name]), f"<{name}>", len(vectors), tokenizer)
        _put(text_encoder, tokens, vectors)
        words[tokens[0]] = tokens
    return words


def check_width(source: str, vectors: Tensor, text_encoder: CLIPTextModel) -> None:
    """Refuse vectors for another text encoder.

    Raises:
        BundleError: If their width is not the text encoder's.
    """
    width = int(text_encoder.config.hidden_size)
    if vectors.shape[1] != width:
        raise BundleError(f"{source}: found vectors {vectors.shape[1]} wide, expected {width} as in the text encoder")


def _new_tokens(source: str, word: str, count: int, tokenizer: CLIPTokenizer) -> tuple[int, ...]:
    texts = [word, *(f"{word}_{i}" for i in range(1, count))]
    if known := [text for text in texts if text in tokenizer.get_vocab()]:
        raise BundleError(f"{source}: found {known[0]} in the tokenizer already, expected a new word")
    # Not normalised: in lower case two words could be one.
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in texts])
    return tuple(int(token) for token in tokenizer.convert_tokens_to_ids(texts))


@torch.no_grad()
def _put(text_encoder: CLIPTextModel, tokens: tuple[int, ...], vectors: Tensor) -> None:
    """Write rows of the embedding table, which grows as far as needed."""
    old = text_encoder.get_input_embeddings().weight
    table = old.new_zeros(max(len(old), tokens[-1] + 1), old.shape[1])
    table[: len(old)] = old
    table[list(tokens)] = vectors.to(table)
    text_encoder.set_input_embeddings(nn.Embedding.from_pretrained(table))
    text_encoder.config.vocab_size = len(table)
