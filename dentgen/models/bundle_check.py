"""Whether a bundle can be used: every part loads, they fit each other, and no weight is infinite or not a number.

Parts that no spec has chosen yet are checked like the others. Refuses to know what a file is that belongs to no bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import BundleError, DentgenError
from dentgen.models.bundle import find_bundle
from dentgen.models.checkpoints.file import read_tensors
from dentgen.models.control import load_control, load_full_control, merge_adapter
from dentgen.models.embeddings import SUFFIX, check_width, embedding_vectors
from dentgen.models.lora import load_lora
from dentgen.models.parts import (
    ADAPTERS,
    CONTROLNET,
    CONTROLNETS,
    EMBEDDINGS,
    LORAS,
    REQUIRED,
    TINY_DECODER,
    known_parts,
    load_text_encoder,
    load_tiny_decoder,
    load_tokenizer,
    load_unet,
    load_vae,
)
from dentgen.models.schedulers import make_scheduler

Part = TypeVar("Part")

#: Entries of a control net's config that decide whether its residuals fit into a UNet.
_SHARED_CONFIG: Final = ("block_out_channels", "layers_per_block", "down_block_types", "cross_attention_dim")
_PRECISION: Final = torch.float32


def bundle_problems(name: str) -> Iterator[str]:
    """Everything that is wrong with a bundle, a line each."""
    try:
        folder = find_bundle(name)
    except BundleError as error:
        yield str(error)
        return
    check = _BundleCheck(folder)
    check.components()
    check.controls()
    check.additions()
    yield from check.problems
    yield from _not_finite(folder)


class _BundleCheck:
    """Loads a bundle part by part and remembers what went wrong."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._folder = folder
        self._unet: UNet2DConditionModel | None = None
        self._text: CLIPTextModel | None = None

    def components(self) -> None:
        folder = self._folder
        tokenizer = self._try(lambda: load_tokenizer(folder / "tokenizer"))
        self._text = self._try(lambda: load_text_encoder(folder / "text_encoder", _PRECISION))
        self._unet = self._try(lambda: load_unet(folder / "unet", _PRECISION))
        vae = self._try(lambda: load_vae(folder / "vae", _PRECISION))
        self._try(lambda: _check_scheduler(folder))
        if tokenizer is not None and self._text is not None:
            self._tokens_fit(tokenizer, self._text)
        if self._text is not None and self._unet is not None:
            self._equal("unet: cross_attention_dim", self._unet.config["cross_attention_dim"],
                        self._text.config.hidden_size, "the text encoder's width")  # fmt: skip
        if vae is not None and self._unet is not None:
            self._latents_fit(vae, self._unet)
        if vae is not None and (folder / TINY_DECODER).is_dir():
            self._try(lambda: load_tiny_decoder(folder / TINY_DECODER, vae, _PRECISION))

    def controls(self) -> None:
        folder = self._folder
        if (folder / CONTROLNET).is_dir():
            base = self._try(lambda: load_control(folder / CONTROLNET, _PRECISION))
            if base is not None:
                self._control_fits(CONTROLNET, base.config)
                for name in known_parts(folder, ADAPTERS):
                    self._try(partial(merge_adapter, base, folder / ADAPTERS / name))
        elif adapters := known_parts(folder, ADAPTERS):
            self.problems.append(f"{folder}: found adapters {adapters}, expected a control base in {CONTROLNET}")
        for name in known_parts(folder, CONTROLNETS):
            full = self._try(partial(load_full_control, folder / CONTROLNETS / name, _PRECISION))
            if full is not None:
                self._control_fits(f"{CONTROLNETS}/{name}", full.network.config)

    def additions(self) -> None:
        unet, text = self._unet, self._text
        if unet is None or text is None:
            return
        for name in known_parts(self._folder, LORAS):
            self._try(partial(load_lora, self._folder / LORAS / name, unet, text))
        for name in known_parts(self._folder, EMBEDDINGS, SUFFIX):
            self._try(partial(_check_embedding, self._folder / EMBEDDINGS / f"{name}{SUFFIX}", text))

    def _try(self, load: Callable[[], Part]) -> Part | None:
        try:
            return load()
        except DentgenError as error:
            self.problems.append(" ".join(str(error).split()))
            return None

    def _equal(self, what: str, found: Any, expected: Any, whose: str) -> None:
        if found != expected:
            self.problems.append(f"{self._folder}: {what}: found {found}, expected {expected}, {whose}")

    def _tokens_fit(self, tokenizer: CLIPTokenizer, text: CLIPTextModel) -> None:
        rows = text.get_input_embeddings().weight.shape[0]
        if len(tokenizer) > rows:
            self.problems.append(f"{self._folder}: tokenizer: found {len(tokenizer)} tokens, expected at most {rows}")
        self._equal("tokenizer: model_max_length", tokenizer.model_max_length, text.config.max_position_embeddings,
                    "the text encoder's positions")  # fmt: skip

    def _latents_fit(self, vae: AutoencoderKL, unet: UNet2DConditionModel) -> None:
        channels, taken = int(vae.config["latent_channels"]), int(unet.config["in_channels"])
        self._equal("unet: out_channels", unet.config["out_channels"], channels, "the autoencoder's latents")
        if taken not in {channels, 2 * channels + 1}:
            self.problems.append(f"{self._folder}: unet: in_channels: found {taken}, expected {channels}, "
                                 f"or {2 * channels + 1} for inpainting")  # fmt: skip

    def _control_fits(self, place: str, config: Mapping[str, Any]) -> None:
        for key in _SHARED_CONFIG if self._unet is not None else ():
            found, expected = (_plain(part[key]) for part in (config, self._unet.config))  # type: ignore[union-attr]
            self._equal(f"{place}: {key}", found, expected, "the UNet's")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _check_scheduler(folder: Path) -> None:
    try:
        make_scheduler("unipc", folder)
    except (OSError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / 'scheduler'}: {error}, expected a diffusers scheduler's config") from error


def _check_embedding(file: Path, text: CLIPTextModel) -> None:
    check_width(str(file), embedding_vectors(str(file), read_tensors(file)), text)


def _not_finite(folder: Path) -> Iterator[str]:
    """Tensors with values that are infinite or not numbers, and files that cannot be read."""
    parts = [*REQUIRED, CONTROLNET, ADAPTERS, CONTROLNETS, TINY_DECODER, LORAS, EMBEDDINGS]
    for file in [file for part in parts for file in sorted((folder / part).rglob("*.safetensors"))]:
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    values = opened.get_tensor(name)
                    bad = int((~values.isfinite()).sum()) if values.is_floating_point() else 0
                    if bad:
                        yield f"{file}: {name}: found {bad} values that are not finite, expected numbers"
        except (OSError, SafetensorError) as error:
            yield f"{file}: found {error}, expected a whole safetensors file"
