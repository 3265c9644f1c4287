"""Bundles: a diffusers model folder with control net and adapters, loaded the same way whatever its size.

``miniature`` is the bundle inside this package; anything else is a folder, a URL or a hub id in Stable Diffusion 1.5's
layout. LoRAs and embeddings that a spec chooses go into the weights here. Only safetensors are read. Refuses to know
conditions and sampling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen import storage
from dentgen.errors import BundleError
from dentgen.models.bundle_source import download, local_copy
from dentgen.models.control import FullControl, load_control, load_full_control, merge_adapter
from dentgen.models.embeddings import SUFFIX, add_embeddings
from dentgen.models.lora import fuse_loras, load_lora
from dentgen.models.parts import (
    ADAPTERS,
    CONTROLNET,
    CONTROLNETS,
    EMBEDDINGS,
    LORAS,
    REQUIRED,
    TINY_DECODER,
    check_complete,
    chosen_part,
    load_text_encoder,
    load_tiny_decoder,
    load_tokenizer,
    load_unet,
    load_vae,
)
from dentgen.spec.build import ModelSpec

MINIATURE: Final = "miniature"
#: Name of the control base where no adapter is merged into it.
BASE: Final = "base"

#: What turns latents into pictures: the bundle's autoencoder, or its distilled decoder.
Decoder = Literal["kl", "tiny"]

_MINIATURE_FOLDER: Final = Path(__file__).parent / "miniature"
_DECIDING_SUFFIXES: Final = {".safetensors", ".json", ".txt"}


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Loaded models of one bundle.

    Attributes:
        name: As the spec names it.
        digest: sha256 over the deciding files of the bundle and of what was chosen.
        folder: Where it was read from.
        tokenizer, text_encoder, vae, unet: As in Stable Diffusion 1.5.
        shared: ctrLoRA control nets: the base with each chosen adapter merged in, by adapter; the bare base if none was
            chosen; nothing if the bundle has no base.
        full: Chosen full ControlNets by name.
        tiny_decoder: Distilled decoder of the vae's latents; None unless it was chosen.
        words: Tokens of each chosen embedding, by the first of them.
    """

    name: str
    digest: str
    folder: Path
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    shared: Mapping[str, ControlNetModel]
    full: Mapping[str, FullControl]
    tiny_decoder: AutoencoderTiny | None
    words: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def control(self) -> ControlNetModel | None:
        """The ctrLoRA control net, where there is exactly one."""
        return next(iter(self.shared.values())) if len(self.shared) == 1 else None


def find_bundle(name: str) -> Path:
    """Folder of a bundle: the miniature, a local folder, a copy of a remote one, or a hub id in the hub's cache.

    Raises:
        BundleError: If it cannot be found or lacks a component.
    """
    if name == MINIATURE:
        folder = _MINIATURE_FOLDER
    elif storage.is_remote(name):
        folder = local_copy(name)
    elif Path(name).is_dir():
        folder = Path(name)
    else:
        folder = download(name)
    missing = [part for part in REQUIRED if not (folder / part).is_dir()]
    if missing:
        raise BundleError(f"{name}: found no {', '.join(missing)} in {folder}, expected Stable Diffusion 1.5's layout")
    return folder


def bundle_digest(
    name: str, adapters: Collection[str], *, controlnets: Collection[str] = (), decoder: Decoder = "kl"
) -> str:
    """Digest of a bundle and what is chosen of it."""
    return chosen_digest(_choice(name, adapters, controlnets=controlnets, decoder=decoder))


def chosen_digest(model: ModelSpec) -> str:
    """sha256 of every file that decides samples: names and contents of the components and of what a spec chooses."""
    folder = find_bundle(model.bundle)
    parts = [*REQUIRED, CONTROLNET, *(f"{ADAPTERS}/{adapter}" for adapter in sorted(model.adapters))]
    parts += [f"{CONTROLNETS}/{name}" for name in sorted(model.controlnets)]
    parts += [TINY_DECODER] if model.decoder == "tiny" else []
    parts += [f"{LORAS}/{name}" for name in sorted(model.loras)]
    parts += [f"{EMBEDDINGS}/{name}{SUFFIX}" for name in sorted(model.embeddings)]
    return parts_digest(folder, parts)


def parts_digest(folder: Path, parts: Sequence[str]) -> str:
    """sha256 over the deciding files of a bundle's parts, names and contents."""
    digest = hashlib.sha256()
    for part in parts:
        place = folder / part
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file.is_file() and file.suffix in _DECIDING_SUFFIXES:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def load_bundle(
    name: str = MINIATURE,
    adapters: Collection[str] = (),
    *,
    controlnets: Collection[str] = (),
    loras: Mapping[str, float] | None = None,
    embeddings: Collection[str] = (),
    decoder: Decoder = "kl",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Bundle:
    """Load a bundle for inference.

    Args:
        name: ``miniature``, a folder or a hub id.
        adapters: ctrLoRA adapters; their scales are the engine's business.
        controlnets: Full ControlNets of the bundle's folder ``controlnets``.
        loras: LoRAs of its folder ``loras`` and the scales with which they go into the weights.
        embeddings: Textual inversions of its folder ``embeddings``.
        decoder: Whether the tiny decoder is loaded as well.
        device: Where the models go.
        dtype: Their precision.

    Raises:
        BundleError: If the bundle or anything chosen cannot be used.
    """
    choice = _choice(name, adapters, controlnets=controlnets, loras=loras or {}, embeddings=embeddings, decoder=decoder)
    return load_chosen(choice, device=device, dtype=dtype)


def load_chosen(model: ModelSpec, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Bundle:
    """Load what a spec chooses.

    Raises:
        BundleError: If the bundle or anything chosen cannot be used.
    """
    folder = find_bundle(model.bundle)
    try:
        bundle = _loaded(model, folder, dtype)
    except BundleError as error:
        raise BundleError(f"{model.bundle}: {error}") from error
    settle(bundle, device)
    return bundle


def _choice(name: str, adapters: Collection[str], *, controlnets: Collection[str], **others: Any) -> ModelSpec:
    scaled = {"adapters": dict.fromkeys(adapters, 1.0), "controlnets": dict.fromkeys(controlnets, 1.0)}
    return ModelSpec.model_validate({"bundle": name, **scaled, **others})


def _loaded(model: ModelSpec, folder: Path, dtype: torch.dtype) -> Bundle:
    tokenizer, vae = load_tokenizer(folder / "tokenizer"), load_vae(folder / "vae", dtype)
    text_encoder, unet = _load_fused(model, folder, dtype)
    tiny_decoder = load_tiny_decoder(folder / TINY_DECODER, vae, dtype) if model.decoder == "tiny" else None
    words = {name: chosen_part(folder, EMBEDDINGS, name, SUFFIX) for name in model.embeddings}
    bundle = Bundle(
        name=model.bundle,
        digest=chosen_digest(model),
        folder=folder,
        words=add_embeddings(tokenizer, text_encoder, words),
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        unet=unet,
        shared=_load_shared(folder, model.adapters, dtype),
        full={n: load_full_control(chosen_part(folder, CONTROLNETS, n), dtype) for n in model.controlnets},
        tiny_decoder=tiny_decoder,
    )
    for net in _networks(bundle):
        check_complete(str(folder), net)
    return bundle


def _load_fused(model: ModelSpec, folder: Path, dtype: torch.dtype) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    """Text encoder and UNet with the chosen LoRAs, which are added in float32 whatever the precision."""
    first = torch.float32 if model.loras else dtype
    text_encoder, unet = load_text_encoder(folder / "text_encoder", first), load_unet(folder / "unet", first)
    loras = {name: load_lora(chosen_part(folder, LORAS, name), unet, text_encoder) for name in model.loras}
    fuse_loras(unet, text_encoder, loras, model.loras)
    for net in (text_encoder, unet):
        nn.Module.to(net, dtype)
    return text_encoder, unet


def settle(bundle: Bundle, device: torch.device | str) -> None:
    """Every network to its device, in the memory format that convolutions are fastest in, for inference only."""
    for net in _networks(bundle):
        nn.Module.to(net, device)  # diffusers' own ``to`` warns about a list of modules that is empty here
        net.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


def _networks(bundle: Bundle) -> list[nn.Module]:
    nets: list[nn.Module] = [bundle.text_encoder, bundle.vae, bundle.unet, *bundle.shared.values()]
    nets += [part for full in bundle.full.values() for part in (full.network, full.hint)]
    return nets + ([bundle.tiny_decoder] if bundle.tiny_decoder is not None else [])


def _load_shared(folder: Path, adapters: Collection[str], dtype: torch.dtype) -> dict[str, ControlNetModel]:
    if not (folder / CONTROLNET).is_dir():
        if adapters:
            raise BundleError(f"found no control base, expected one under the adapters {sorted(adapters)}")
        return {}
    base = load_control(folder / CONTROLNET, dtype)
    merged = {adapter: merge_adapter(base, chosen_part(folder, ADAPTERS, adapter)) for adapter in adapters}
    return merged or {BASE: base}
