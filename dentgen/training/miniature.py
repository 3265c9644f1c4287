"""Architecture of the embedded miniature: Stable Diffusion 1.5's classes and layout, small, with fresh weights."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise, product
from pathlib import Path
from typing import Final

from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dentgen.phantom.anatomy import DENTITIONS
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.findings import NO_FINDINGS
from dentgen.phantom.light import LIGHT_KINDS
from dentgen.phantom.material import GUM_LAB, SHADE_WORDS
from dentgen.phantom.prompt import (
    FRAMING_WORD,
    LESION_WORD,
    LOOKS,
    OUTSIDE_GENRE,
    RESTORATION_WORDS,
    SIGN_WORDS,
    THING_WORD,
    SceneFacts,
    scene_prompt,
)

TOKENS: Final = 77
WIDTH: Final = 128
_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END: Final = "</w>"
_MERGES: Final = 512

#: Stable Diffusion 1.5's noise schedule, as in its scheduler_config.json.
SCHEDULER_CONFIG: Final[dict[str, object]] = {
    "_class_name": "UniPCMultistepScheduler",
    "_diffusers_version": "0.42.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
    "trained_betas": None,
}


def new_autoencoder(size: int) -> AutoencoderKL:
    """An f8 autoencoder of 1.9 M parameters."""
    return AutoencoderKL(
        block_out_channels=(32, 48, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=size,
        scaling_factor=1.0,
    )


def new_unet(size: int) -> UNet2DConditionModel:
    """A UNet of about 7 M parameters on (size / 8) latents.

    As in Stable Diffusion XL (Podell et al. 2023), the finest level has no attention: at 256 px it took two thirds of a
    training step.
    """
    return UNet2DConditionModel(
        sample_size=size // 8,
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A two-layer CLIP text encoder for ``tokenizer``."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def new_tokenizer(start: CLIPTokenizer | None = None) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges are learnt from the prompts of phantoms.

    Byte-pair encoding is implemented here because the tokenizers library breaks ties between equally frequent pairs
    differently in every run, while a resumed training needs the vocabulary that it started with.

    Args:
        start: Tokenizer to extend: its tokens keep their ids, words that it splits get new ones.
    """
    splitter = CLIPTokenizer().backend_tokenizer
    words: Counter[str] = Counter()
    for prompt in _corpus():
        normal = splitter.normalizer.normalize_str(prompt)
        words.update(piece for piece, _ in splitter.pre_tokenizer.pre_tokenize_str(normal))
    before = [] if start is None else _merges_of(start)
    merges = _learn_merges(words, before)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = [] if start is None else sorted(start.get_vocab(), key=start.get_vocab().__getitem__)
    tokens = [*known, _START, _END, *letters, *(letter + _WORD_END for letter in letters), *(a + b for a, b in merges)]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TOKENS)


def extended_text_encoder(start: CLIPTextModel, tokenizer: CLIPTokenizer, before: CLIPTokenizer) -> CLIPTextModel:
    """Extend ``start`` from its tokenizer ``before`` to ``tokenizer``.

    The embedding of a new token is the mean embedding of the tokens that ``before`` splits it into.
    """
    model = new_text_encoder(tokenizer)
    state = start.state_dict()
    (name,) = (name for name in state if name.endswith("token_embedding.weight"))
    old, new = state[name], model.state_dict()[name].clone()
    new[: len(old)] = old
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])[len(old) :]
    for token, number in words:
        pieces = before(token.removesuffix(_WORD_END), add_special_tokens=False).input_ids
        new[number] = old[pieces].mean(0)
    model.load_state_dict({**state, name: new})
    return model


def _merges_of(tokenizer: CLIPTokenizer) -> list[tuple[str, str]]:
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return [(first, second) for first, second in (pair.split() if isinstance(pair, str) else pair for pair in merges)]


def _learn_merges(words: Counter[str], before: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016): merge the most frequent pair, ties in lexical order.

    Merges of ``before`` come first, unchanged.
    """
    spelt = {word: [*word[:-1], word[-1] + _WORD_END] for word in words}
    merges = list(before)
    for pair in before:
        spelt = {word: _merged(symbols, pair) for word, symbols in spelt.items()}
    while len(merges) < _MERGES:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in spelt.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelt = {word: _merged(symbols, best) for word, symbols in spelt.items()}
    return merges


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for symbol in symbols:
        if result and (result[-1], symbol) == pair:
            result[-1] += symbol
        else:
            result.append(symbol)
    return result


def _corpus() -> list[str]:
    """Prompts of phantoms, their findings, and words that users add."""
    prompts = [
        scene_prompt(SceneFacts(view, look, dentition, False, shade, gum, NO_FINDINGS), light)
        for view, look, dentition, shade, gum, light in product(
            VIEWS, LOOKS, DENTITIONS, SHADE_WORDS, [*GUM_LAB, "inflamed"], LIGHT_KINDS
        )
    ]
    findings = ", ".join([*RESTORATION_WORDS.values(), "missing tooth, missing teeth, caries", *SIGN_WORDS.values()])
    varied = ", ".join([OUTSIDE_GENRE, *FRAMING_WORD.values(), *THING_WORD.values(), *LESION_WORD.values()])
    extras = "clinical lighting, professional lighting, high quality, detailed, 3d dental model, in a mirror"
    return [*prompts, *[findings] * len(VIEWS), *[varied] * len(VIEWS), extras]


def write_scheduler(folder: Path) -> None:
    """Write the scheduler's config in diffusers' layout."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER_CONFIG, indent=2, sort_keys=True) + "\n")
