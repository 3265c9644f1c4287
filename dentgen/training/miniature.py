"""Architecture of the embedded miniature: Stable Diffusion 1.5's classes and layout, small, with fresh weights.

Refuses to know how it is trained.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Final

from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dentgen.conditions.phantom.camera import VIEWS
from dentgen.conditions.phantom.light import LIGHT_KINDS
from dentgen.conditions.phantom.material import GUM_LAB, SHADE_WORDS
from dentgen.conditions.phantom.prompt import scene_prompt

TOKENS: Final = 77
WIDTH: Final = 128
_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")

#: Stable Diffusion 1.5's noise schedule, in its own file format.
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
    """An f8 autoencoder of 1.0 M parameters."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=size,
        scaling_factor=1.0,
    )


def new_unet(size: int) -> UNet2DConditionModel:
    """A UNet of about 7 M parameters on (size / 8) latents."""
    return UNet2DConditionModel(
        sample_size=size // 8,
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
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


def new_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer whose merges are learnt from every prompt that a phantom can have."""
    base = Tokenizer(BPE(end_of_word_suffix="</w>", unk_token=_END))
    base.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    base.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = BpeTrainer(
        vocab_size=1024,
        special_tokens=[_START, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    base.train_from_iterator(_corpus(), trainer)
    vocab, merges = base.get_vocab(), _merges(base)
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocab.setdefault(letter + "</w>", len(vocab))  # any word can be spelt, even one never seen
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TOKENS)


def _corpus() -> list[str]:
    prompts = [
        scene_prompt(view, shade, gum, light)
        for view, shade, gum, light in product(VIEWS, SHADE_WORDS, [*GUM_LAB, "inflamed"], LIGHT_KINDS)
    ]
    return [*prompts, "clinical lighting, professional lighting, high quality, detailed, 3d dental model"]


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def write_scheduler(folder: Path) -> None:
    """Write the scheduler's config in diffusers' layout."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER_CONFIG, indent=2, sort_keys=True) + "\n")
