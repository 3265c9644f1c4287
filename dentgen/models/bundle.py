"""Loading of bundles: diffusers model folders with control nets, adapters, LoRAs and embeddings.

A bundle is the embedded ``miniature``, or a folder, URL or hub id in Stable Diffusion 1.5's layout. Weights are read
from safetensors only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen import storage
from dentgen.errors import BundleError
from dentgen.models.adapter import merge_adapter
from dentgen.models.bundle_files import loaded_files
from dentgen.models.bundle_source import download, local_copy
from dentgen.models.control import FullControl, load_control, load_full_control
from dentgen.models.embeddings import SUFFIX, add_embeddings
from dentgen.models.file_digest import file_sha256
from dentgen.models.lora import Lora, LoraLayer, load_lora, lora_change
from dentgen.models.parts import (
    ADAPTERS,
    CONTROLNET,
    CONTROLNETS,
    EMBEDDINGS,
    LORAS,
    REQUIRED,
    TINY_DECODER,
    chosen_part,
    empty_text_encoder,
    empty_unet,
    load_text_encoder,
    load_tiny_decoder,
    load_tokenizer,
    load_unet,
    load_vae,
    tokenizer_problems,
)
from dentgen.models.schedulers import bundled_schedule
from dentgen.models.weights import Change
from dentgen.spec.model import ModelSpec
from dentgen.spec.yaml_file import validate_document

MINIATURE: Final = "miniature"
#: Name of the bare control base in ``Bundle.shared``.
BASE: Final = "base"

#: Decoder of latents: that of the bundle's autoencoder, or its distilled tiny decoder.
Decoder = Literal["kl", "tiny"]

_Net = TypeVar("_Net", bound=nn.Module)
_MINIATURE_FOLDER: Final = Path(__file__).parent / "miniature"


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Loaded models of one bundle.

    Attributes:
        name: Name, folder, URL or hub id, as given.
        digest: sha256 over all files that decide samples: the components and the chosen parts.
        folder: Local folder of the files.
        tokenizer, text_encoder, vae, unet: As in Stable Diffusion 1.5.
        shared: ctrLoRA control nets by adapter, each the base with the adapter merged in, sharing what the adapter does
            not change; the bare base under ``base`` if no adapter was chosen; empty if the bundle has no base.
        full: Chosen full ControlNets, by name.
        tiny_decoder: Distilled decoder of the vae's latents; None unless it was chosen.
        words: Token ids of each chosen embedding, by the id that the tokenizer gives its word.
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
        """The ctrLoRA control net if there is exactly one, otherwise None."""
        return next(iter(self.shared.values())) if len(self.shared) == 1 else None


def find_bundle(name: str) -> Path:
    """Local folder of a bundle; remote bundles and hub ids are downloaded into a cache.

    Raises:
        BundleError: If it cannot be found or lacks a component.
    """
    if name == MINIATURE:
        folder = _MINIATURE_FOLDER
    elif storage.is_remote(name):
        folder = local_copy(name)
    elif Path(storage.expanded(name)).is_dir():
        folder = Path(storage.expanded(name))
    else:
        folder = download(name)
    missing = [part for part in REQUIRED if not (folder / part).is_dir()]
    if missing:
        expected = "the folders of Stable Diffusion 1.5's layout"
        raise BundleError(file=name, found=f"no {', '.join(missing)}", expected=expected)
    return folder


def bundle_digest(
    model: ModelSpec | str,
    adapters: Collection[str] | None = None,
    *,
    controlnets: Collection[str] | None = None,
    loras: Mapping[str, float] | None = None,
    embeddings: Collection[str] | None = None,
    decoder: Decoder | None = None,
) -> str:
    """sha256 over names and contents of all files that decide samples: the components and the chosen parts.

    Takes the choices of :func:`load_bundle`, and equals the ``digest`` of what that returns.

    Raises:
        BundleError: If the bundle cannot be found.
        SpecError: If a choice is not valid.
    """
    chosen = _chosen(
        model, adapters=adapters, controlnets=controlnets, loras=loras, embeddings=embeddings, decoder=decoder
    )
    return _digest(chosen, find_bundle(chosen.bundle))


def _digest(model: ModelSpec, folder: Path) -> str:
    parts = [*REQUIRED, CONTROLNET, *(f"{ADAPTERS}/{adapter}" for adapter in sorted(model.adapters))]
    parts += [f"{CONTROLNETS}/{name}" for name in sorted(model.controlnets)]
    parts += [TINY_DECODER] if model.decoder == "tiny" else []
    parts += [f"{LORAS}/{name}" for name in sorted(model.loras)]
    parts += [f"{EMBEDDINGS}/{name}{SUFFIX}" for name in sorted(model.embeddings)]
    return parts_digest(folder, parts)


def parts_digest(folder: Path, parts: Sequence[str]) -> str:
    """sha256 over contents, and names within the bundle, of the files that are loaded of its parts."""
    digest = hashlib.sha256()
    for part in parts:
        for file in loaded_files(folder, part):
            digest.update(f"{file.relative_to(folder).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def load_bundle(
    model: ModelSpec | str = MINIATURE,
    adapters: Collection[str] | None = None,
    *,
    controlnets: Collection[str] | None = None,
    loras: Mapping[str, float] | None = None,
    embeddings: Collection[str] | None = None,
    decoder: Decoder | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Bundle:
    """Load a bundle for inference.

    Args:
        model: ``miniature``, a folder, a URL or a hub id; or a spec's model section, whose choices hold where the other
            arguments are None.
        adapters: ctrLoRA adapters of the bundle's folder ``adapters``, each merged into the control base.
        controlnets: Full ControlNets of the folder ``controlnets``.
        loras: LoRAs of the folder ``loras``, with the scales at which they are added into the weights.
        embeddings: Textual inversions of the folder ``embeddings``.
        decoder: ``tiny`` also loads the tiny decoder.
        device: Device of the models.
        dtype: Precision of the models.

    Returns:
        Networks in evaluation mode, without gradients, in the channels-last memory format.

    Raises:
        BundleError: If the bundle or a chosen part is missing or cannot be used.
        SpecError: If a choice is not valid, for example a scale that is not finite.
    """
    chosen = _chosen(
        model, adapters=adapters, controlnets=controlnets, loras=loras, embeddings=embeddings, decoder=decoder
    )
    folder = find_bundle(chosen.bundle)
    try:
        return _loaded(chosen, folder, torch.device(device), dtype)
    except BundleError as error:
        error.file = error.file.replace(str(folder), chosen.bundle, 1)  # the URL or hub id instead of its local copy
        raise


def _chosen(model: ModelSpec | str, **choices: Any) -> ModelSpec:
    """A spec's model section, or that of a name, with the choices that are not None."""
    values: dict[str, Any] = {"bundle": model, "adapters": {}} if isinstance(model, str) else model.model_dump()
    for name, choice in choices.items():
        if choice is not None:
            scaled = name in {"adapters", "controlnets"} and not isinstance(choice, Mapping)
            values[name] = dict.fromkeys(choice, 1.0) if scaled else choice
    return validate_document(ModelSpec, values, "")


def _loaded(model: ModelSpec, folder: Path, device: torch.device, dtype: torch.dtype) -> Bundle:
    """Every network goes to the device before the next one is read."""
    tokenizer = load_tokenizer(folder / "tokenizer")
    text_encoder, unet = _load_fused(model, folder, device, dtype)
    if problems := tokenizer_problems(folder / "tokenizer", tokenizer, text_encoder):
        raise problems[0]
    bundled_schedule(folder)
    vae = _prepared(load_vae(folder / "vae", dtype, channels_last=True), device)
    words = {name: chosen_part(folder, EMBEDDINGS, name, SUFFIX) for name in model.embeddings}
    return Bundle(
        name=model.bundle,
        digest=_digest(model, folder),
        folder=folder,
        words=add_embeddings(tokenizer, text_encoder, words),
        tokenizer=tokenizer,
        text_encoder=_prepared(text_encoder, device),
        vae=vae,
        unet=unet,
        shared=_load_shared(folder, model.adapters, device, dtype),
        full={name: _load_full(folder, name, device, dtype) for name in model.controlnets},
        tiny_decoder=_load_tiny(folder, vae, device, dtype) if model.decoder == "tiny" else None,
    )


def _load_fused(
    model: ModelSpec, folder: Path, device: torch.device, dtype: torch.dtype
) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    """Text encoder and UNet with the chosen LoRAs, which are added in float32 before the cast to ``dtype``."""
    loras = _load_loras(model, folder)

    def change(layers: Mapping[str, Mapping[str, LoraLayer]]) -> Callable[[nn.Module], Change]:
        return lambda _: lora_change(layers, model.loras)

    text_encoder = load_text_encoder(
        folder / "text_encoder", dtype, channels_last=True,
        change=change({name: lora.text_encoder for name, lora in loras.items()}),
    )  # fmt: skip
    text_encoder = _prepared(text_encoder, device)
    unet = load_unet(
        folder / "unet", dtype, channels_last=True, change=change({name: lora.unet for name, lora in loras.items()})
    )
    return text_encoder, _prepared(unet, device)


def _load_loras(model: ModelSpec, folder: Path) -> dict[str, Lora]:
    """The chosen LoRAs, compared with the networks before these are in memory."""
    if not model.loras:
        return {}
    unet, text_encoder = empty_unet(folder), empty_text_encoder(folder)
    return {name: load_lora(chosen_part(folder, LORAS, name), unet, text_encoder) for name in model.loras}


def _load_full(folder: Path, name: str, device: torch.device, dtype: torch.dtype) -> FullControl:
    full = load_full_control(chosen_part(folder, CONTROLNETS, name), dtype, channels_last=True)
    for net in (full.network, full.hint):
        _prepared(net, device)
    return full


def _load_tiny(folder: Path, vae: AutoencoderKL, device: torch.device, dtype: torch.dtype) -> AutoencoderTiny:
    return _prepared(load_tiny_decoder(folder / TINY_DECODER, vae, dtype, channels_last=True), device)


def _prepared(net: _Net, device: torch.device | str) -> _Net:
    nn.Module.to(net, device)  # diffusers' own ``to`` warns about an empty list of modules
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval().requires_grad_(False)


def prepare_for_inference(bundle: Bundle, device: torch.device | str) -> None:
    """Move every network to the device, to channels-last (fastest for convolutions) and to evaluation mode."""
    for net in _networks(bundle):
        _prepared(net, device)


def _networks(bundle: Bundle) -> list[nn.Module]:
    nets: list[nn.Module] = [bundle.text_encoder, bundle.vae, bundle.unet, *bundle.shared.values()]
    nets += [part for full in bundle.full.values() for part in (full.network, full.hint)]
    return nets + ([bundle.tiny_decoder] if bundle.tiny_decoder is not None else [])


def _load_shared(
    folder: Path, adapters: Collection[str], device: torch.device, dtype: torch.dtype
) -> dict[str, ControlNetModel]:
    """Control nets by adapter; parameters that an adapter does not change are the base's own, also on the device."""
    if not (folder / CONTROLNET).is_dir():
        if adapters:
            expected = f"a control base for the adapters {sorted(adapters)}"
            raise BundleError(file=str(folder), found=f"no {CONTROLNET}", expected=expected)
        return {}
    base = load_control(folder / CONTROLNET, dtype, channels_last=True)
    merged = {adapter: merge_adapter(base, chosen_part(folder, ADAPTERS, adapter)) for adapter in adapters}
    return {name: _prepared(net, device) for name, net in (merged or {BASE: base}).items()}
