"""Bundles: a diffusers model folder with control net and adapters, loaded the same way whatever its size.

``miniature`` is the bundle inside this package; anything else is a folder, a URL or a hub id in Stable Diffusion 1.5's
layout. Only safetensors are read. Refuses to know conditions and sampling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen import storage
from dentgen.errors import BundleError
from dentgen.models.bundle_source import download, local_copy
from dentgen.models.control import FullControl, load_control, load_full_control, merge_adapter
from dentgen.models.parts import (
    ADAPTERS,
    CONTROLNET,
    CONTROLNETS,
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
from dentgen.spec import ModelSpec

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
    """sha256 of every file that decides samples: names and contents of the components and of what was chosen."""
    folder = find_bundle(name)
    parts = [*REQUIRED, CONTROLNET, *(f"{ADAPTERS}/{adapter}" for adapter in sorted(adapters))]
    parts += [f"{CONTROLNETS}/{name}" for name in sorted(controlnets)]
    parts += [TINY_DECODER] if decoder == "tiny" else []
    digest = hashlib.sha256()
    for part in parts:
        for file in sorted((folder / part).rglob("*")):
            if file.is_file() and file.suffix in _DECIDING_SUFFIXES:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def chosen_digest(model: ModelSpec) -> str:
    """Digest of what a spec chooses."""
    return bundle_digest(model.bundle, model.adapters, controlnets=tuple(model.controlnets), decoder=model.decoder)


def load_bundle(
    name: str = MINIATURE,
    adapters: Collection[str] = (),
    *,
    controlnets: Collection[str] = (),
    decoder: Decoder = "kl",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Bundle:
    """Load a bundle for inference.

    Args:
        name: ``miniature``, a folder or a hub id.
        adapters: ctrLoRA adapters; their scales are the engine's business.
        controlnets: Full ControlNets of the bundle's folder ``controlnets``.
        decoder: Whether the tiny decoder is loaded as well.
        device: Where the models go.
        dtype: Their precision.

    Raises:
        BundleError: If the bundle or anything chosen cannot be used.
    """
    folder = find_bundle(name)
    try:
        bundle = _loaded(name, folder, adapters, controlnets, decoder, dtype)
    except BundleError as error:
        raise BundleError(f"{name}: {error}") from error
    settle(bundle, device)
    return bundle


def _loaded(
    name: str,
    folder: Path,
    adapters: Collection[str],
    controlnets: Collection[str],
    decoder: Decoder,
    dtype: torch.dtype,
) -> Bundle:
    vae = load_vae(folder / "vae", dtype)
    bundle = Bundle(
        name=name,
        digest=bundle_digest(name, adapters, controlnets=controlnets, decoder=decoder),
        folder=folder,
        tokenizer=load_tokenizer(folder / "tokenizer"),
        text_encoder=load_text_encoder(folder / "text_encoder", dtype),
        vae=vae,
        unet=load_unet(folder / "unet", dtype),
        shared=_load_shared(folder, adapters, dtype),
        full={n: load_full_control(chosen_part(folder, CONTROLNETS, n), dtype) for n in controlnets},
        tiny_decoder=load_tiny_decoder(folder / TINY_DECODER, vae, dtype) if decoder == "tiny" else None,
    )
    for net in _networks(bundle):
        check_complete(str(folder), net)
    return bundle


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
