"""Verification of bundles: every part loads, the parts fit each other, and all weights are finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel

from dentgen.errors import BundleError, DentgenError
from dentgen.models.adapter import merge_adapter
from dentgen.models.bundle import find_bundle
from dentgen.models.checkpoints.file import read_tensors
from dentgen.models.control import load_control, load_full_control
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
    tokenizer_problems,
)
from dentgen.models.schedulers import bundled_schedule
from dentgen.models.trained_sampling import read_trained_sampling

Part = TypeVar("Part")

#: Config entries in which a control net must equal the UNet, so that its residuals fit.
_SHARED_CONFIG: Final = ("block_out_channels", "cross_attention_dim")
_PRECISION: Final = torch.float32


def bundle_problems(name: str) -> Iterator[DentgenError]:
    """Verify a bundle, including the optional parts that no spec chooses yet; yields one error per problem."""
    try:
        folder = find_bundle(name)
    except BundleError as error:
        yield error
        return
    check = _BundleCheck(folder)
    check.components()
    check.controls()
    check.additions()
    yield from check.problems
    yield from _not_finite(folder)


class _BundleCheck:
    """Loads a bundle part by part and collects the problems."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[DentgenError] = []
        self._folder = folder
        self._unet: UNet2DConditionModel | None = None
        self._text: CLIPTextModel | None = None

    def components(self) -> None:
        folder = self._folder
        tokenizer = self._try(lambda: load_tokenizer(folder / "tokenizer"))
        self._text = self._try(lambda: load_text_encoder(folder / "text_encoder", _PRECISION))
        self._unet = self._try(lambda: load_unet(folder / "unet", _PRECISION))
        vae = self._try(lambda: load_vae(folder / "vae", _PRECISION))
        self._try(lambda: bundled_schedule(folder))
        if tokenizer is not None and self._text is not None:
            self.problems += tokenizer_problems(folder / "tokenizer", tokenizer, self._text)
        if self._text is not None and self._unet is not None:
            self._check_equal("unet", "cross_attention_dim", self._unet.config["cross_attention_dim"],
                              self._text.config.hidden_size, "as the text encoder's width")  # fmt: skip
        if vae is not None and self._unet is not None:
            self._check_latents(vae, self._unet)
        if vae is not None and (folder / TINY_DECODER).is_dir():
            self._try(lambda: load_tiny_decoder(folder / TINY_DECODER, vae, _PRECISION))

    def controls(self) -> None:
        folder = self._folder
        if (folder / CONTROLNET).is_dir():
            base = self._try(lambda: load_control(folder / CONTROLNET, _PRECISION))
            if base is not None:
                self._check_control(CONTROLNET, base.config)
                for name in known_parts(folder, ADAPTERS):
                    self._try(partial(merge_adapter, base, folder / ADAPTERS / name))
        elif adapters := known_parts(folder, ADAPTERS):
            found, expected = f"adapters {adapters} without {CONTROLNET}", f"a control base in {CONTROLNET}"
            self.problems.append(BundleError(file=str(folder), found=found, expected=expected))
        for name in known_parts(folder, CONTROLNETS):
            full = self._try(partial(load_full_control, folder / CONTROLNETS / name, _PRECISION))
            if full is not None:
                self._check_control(f"{CONTROLNETS}/{name}", full.network.config)

    def additions(self) -> None:
        unet, text = self._unet, self._text
        if unet is None or text is None:
            return
        for name in known_parts(self._folder, LORAS):
            self._try(partial(_check_lora, self._folder / LORAS / name, unet, text))
        for name in known_parts(self._folder, EMBEDDINGS, SUFFIX):
            self._try(partial(_check_embedding, self._folder / EMBEDDINGS / f"{name}{SUFFIX}", text))

    def _try(self, load: Callable[[], Part]) -> Part | None:
        try:
            return load()
        except DentgenError as error:
            error.message = " ".join(error.message.split())
            self.problems.append(error)
            return None

    def _report(self, part: str, key: str, found: Any, expected: str) -> None:
        self.problems.append(BundleError(file=str(self._folder / part), key=key, found=found, expected=expected))

    def _check_equal(self, part: str, key: str, found: Any, expected: Any, reason: str) -> None:
        if found != expected:
            self._report(part, key, found, f"{expected}, {reason}")

    def _check_latents(self, vae: AutoencoderKL, unet: UNet2DConditionModel) -> None:
        channels, inputs = int(vae.config["latent_channels"]), int(unet.config["in_channels"])
        self._check_equal("unet", "out_channels", unet.config["out_channels"], channels, "as the autoencoder's latents")
        if inputs not in {channels, 2 * channels + 1}:
            self._report("unet", "in_channels", inputs, f"{channels}, or {2 * channels + 1} for inpainting")

    def _check_control(self, part: str, config: Mapping[str, Any]) -> None:
        if self._unet is None:
            return
        for key in _SHARED_CONFIG:
            found, expected = (_as_list(net[key]) for net in (config, self._unet.config))
            self._check_equal(part, key, found, expected, "as in the UNet")
        found, expected = (_as_list(net["layers_per_block"]) for net in (config, self._unet.config))
        if found != expected and not (isinstance(found, int) and isinstance(expected, int) and found > expected):
            self._report(part, "layers_per_block", found, f"{expected}, as in the UNet, or more")


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _check_lora(folder: Path, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
    load_lora(folder, unet, text_encoder)
    read_trained_sampling(folder)


def _check_embedding(file: Path, text: CLIPTextModel) -> None:
    check_width(str(file), embedding_vectors(str(file), read_tensors(file)), text)


def _not_finite(folder: Path) -> Iterator[BundleError]:
    """A problem for every tensor with values that are not finite, and for every file that cannot be read."""
    parts = [*REQUIRED, CONTROLNET, ADAPTERS, CONTROLNETS, TINY_DECODER, LORAS, EMBEDDINGS]
    for file in [file for part in parts for file in sorted((folder / part).rglob("*.safetensors"))]:
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a mapping
                    values = opened.get_tensor(name)
                    count = int((~values.isfinite()).sum()) if values.is_floating_point() else 0
                    if count:
                        found = f"{count} values that are not finite"
                        yield BundleError(file=str(file), key=name, found=found, expected="finite values")
        except (OSError, SafetensorError) as error:
            yield BundleError(f"not a valid safetensors file: {error}", file=str(file))
