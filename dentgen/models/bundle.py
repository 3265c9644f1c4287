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
from transformers.utils import logging as transformers_logging

from dentgen import storage
from dentgen.errors import BundleError
from dentgen.models.autoencoder import downscale_of
from dentgen.models.bundle_source import download, local_copy
from dentgen.models.control import FullControl, load_control, load_full_control, merge_adapter
from dentgen.spec import ModelSpec

MINIATURE: Final = "miniature"
#: Name of the control base where no adapter is merged into it.
BASE: Final = "base"

#: What turns latents into pictures: the bundle's autoencoder, or its distilled decoder.
Decoder = Literal["kl", "tiny"]

_MINIATURE_FOLDER: Final = Path(__file__).parent / "miniature"
_TINY_DECODER: Final = "tiny_decoder"
_CONTROLNETS: Final = "controlnets"
_REQUIRED: Final = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")
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
    missing = [part for part in _REQUIRED if not (folder / part).is_dir()]
    if missing:
        raise BundleError(f"{name}: found no {', '.join(missing)} in {folder}, expected Stable Diffusion 1.5's layout")
    return folder


def bundle_digest(
    name: str, adapters: Collection[str], *, controlnets: Collection[str] = (), decoder: Decoder = "kl"
) -> str:
    """sha256 of every file that decides samples: names and contents of the components and of what was chosen."""
    folder = find_bundle(name)
    parts = [*_REQUIRED, "controlnet", *(f"adapters/{adapter}" for adapter in sorted(adapters))]
    parts += [f"{_CONTROLNETS}/{name}" for name in sorted(controlnets)]
    parts += [_TINY_DECODER] if decoder == "tiny" else []
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
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype, use_safetensors=True)
        vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype, use_safetensors=True)
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise BundleError(f"{name}: {folder}: {error}") from error
    bundle = Bundle(
        name=name,
        digest=bundle_digest(name, adapters, controlnets=controlnets, decoder=decoder),
        folder=folder,
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        unet=unet,
        shared=_load_shared(name, folder, adapters, dtype),
        full={n: load_full_control(_part(name, folder, _CONTROLNETS, n), dtype) for n in controlnets},
        tiny_decoder=_load_tiny_decoder(name, folder, vae, dtype) if decoder == "tiny" else None,
    )
    for net in _networks(bundle):
        _check_complete(name, net)
    settle(bundle, device)
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


def _check_complete(name: str, net: nn.Module) -> None:
    """Diffusers loads a file that lacks tensors, and leaves their places empty."""
    missing = [parameter for parameter, values in net.named_parameters() if values.is_meta]
    if missing:
        raise BundleError(f"{name}: {type(net).__name__}'s weights lack {missing[0]}, expected every tensor")


def _load_shared(name: str, folder: Path, adapters: Collection[str], dtype: torch.dtype) -> dict[str, ControlNetModel]:
    if not (folder / "controlnet").is_dir():
        if adapters:
            raise BundleError(f"{name}: found no control base, expected one under the adapters {sorted(adapters)}")
        return {}
    base = load_control(folder / "controlnet", dtype)
    merged = {adapter: merge_adapter(base, _part(name, folder, "adapters", adapter)) for adapter in adapters}
    return merged or {BASE: base}


def _part(name: str, folder: Path, kind: str, part: str) -> Path:
    place = folder / kind / part
    if part in {"", ".", ".."} or Path(part).name != part or not place.is_dir():
        known = sorted(p.name for p in (folder / kind).glob("*") if p.is_dir())
        raise BundleError(f"{name}: found no {part!r} in {kind}, expected one of {known}")
    return place


def _load_tiny_decoder(name: str, folder: Path, vae: AutoencoderKL, dtype: torch.dtype) -> AutoencoderTiny:
    place = folder / _TINY_DECODER
    if not place.is_dir():
        raise BundleError(
            f"{name}: found no {_TINY_DECODER} in {folder}, expected a folder of diffusers' AutoencoderTiny"
        )
    try:
        tiny_decoder = AutoencoderTiny.from_pretrained(place, torch_dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise BundleError(f"{name}: {place}: {error}") from error
    (channels, pixels), (wanted_channels, wanted_pixels) = _latents_of(tiny_decoder), _latents_of(vae)
    if (channels, pixels) != (wanted_channels, wanted_pixels):
        raise BundleError(
            f"{name}: {place}: found latents of {channels} channels and {pixels} pixels, "
            f"expected {wanted_channels} channels and {wanted_pixels} pixels as the vae's"
        )
    return tiny_decoder


def _latents_of(autoencoder: AutoencoderKL | AutoencoderTiny) -> tuple[int, int]:
    """Channels of a latent and pixels along its edge."""
    return int(autoencoder.config["latent_channels"]), downscale_of(autoencoder)
