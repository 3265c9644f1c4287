"""Loading of bundles: diffusers model folders with control nets, adapters, LoRAs and embeddings.

A bundle is the embedded ``miniature``, or a folder, URL or hub id in Stable Diffusion 1.5's layout. Weights are read
from safetensors only.
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
from dentgen.spec.yaml_file import validate_document

MINIATURE: Final = "miniature"
#: Name of the bare control base in ``Bundle.shared``.
BASE: Final = "base"

#: Decoder of latents: that of the bundle's autoencoder, or its distilled tiny decoder.
Decoder = Literal["kl", "tiny"]

_MINIATURE_FOLDER: Final = Path(__file__).parent / "miniature"
_DECIDING_SUFFIXES: Final = {".safetensors", ".json", ".txt"}


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Loaded models of one bundle.

    Attributes:
        name: Name, folder, URL or hub id, as given.
        digest: sha256 over all files that decide samples: the components and the chosen parts.
        folder: Local folder of the files.
        tokenizer, text_encoder, vae, unet: As in Stable Diffusion 1.5.
        shared: ctrLoRA control nets by adapter, each a copy of the base with the adapter merged in; the bare base under
            ``base`` if no adapter was chosen; empty if the bundle has no base.
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
    elif Path(name).is_dir():
        folder = Path(name)
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
    """sha256 over names and contents of the deciding files (weights, configs, vocabularies) of a bundle's parts."""
    digest = hashlib.sha256()
    for part in parts:
        place = folder / part
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file.is_file() and file.suffix in _DECIDING_SUFFIXES:
                digest.update(f"{file.relative_to(folder).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def file_sha256(file: Path) -> str:
    """sha256 of a file, read in constant memory."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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
        adapters: ctrLoRA adapters of the bundle's folder ``adapters``, each merged into a copy of the control base.
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
        bundle = _loaded(chosen, folder, dtype)
    except BundleError as error:
        error.file = error.file.replace(str(folder), chosen.bundle, 1)  # the URL or hub id instead of its local copy
        raise
    prepare_for_inference(bundle, device)
    return bundle


def _chosen(model: ModelSpec | str, **choices: Any) -> ModelSpec:
    """A spec's model section, or that of a name, with the choices that are not None."""
    values: dict[str, Any] = {"bundle": model, "adapters": {}} if isinstance(model, str) else model.model_dump()
    for name, choice in choices.items():
        if choice is not None:
            scaled = name in {"adapters", "controlnets"} and not isinstance(choice, Mapping)
            values[name] = dict.fromkeys(choice, 1.0) if scaled else choice
    return validate_document(ModelSpec, values, "")


def _loaded(model: ModelSpec, folder: Path, dtype: torch.dtype) -> Bundle:
    tokenizer, vae = load_tokenizer(folder / "tokenizer"), load_vae(folder / "vae", dtype)
    text_encoder, unet = _load_fused(model, folder, dtype)
    tiny_decoder = load_tiny_decoder(folder / TINY_DECODER, vae, dtype) if model.decoder == "tiny" else None
    words = {name: chosen_part(folder, EMBEDDINGS, name, SUFFIX) for name in model.embeddings}
    bundle = Bundle(
        name=model.bundle,
        digest=_digest(model, folder),
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
    """Text encoder and UNet with the chosen LoRAs, which are added in float32 before the cast to ``dtype``."""
    first = torch.float32 if model.loras else dtype
    text_encoder, unet = load_text_encoder(folder / "text_encoder", first), load_unet(folder / "unet", first)
    loras = {name: load_lora(chosen_part(folder, LORAS, name), unet, text_encoder) for name in model.loras}
    fuse_loras(unet, text_encoder, loras, model.loras)
    for net in (text_encoder, unet):
        nn.Module.to(net, dtype)
    return text_encoder, unet


def prepare_for_inference(bundle: Bundle, device: torch.device | str) -> None:
    """Move every network to the device, to channels-last (fastest for convolutions) and to evaluation mode."""
    for net in _networks(bundle):
        nn.Module.to(net, device)  # diffusers' own ``to`` warns about an empty list of modules
        net.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


def _networks(bundle: Bundle) -> list[nn.Module]:
    nets: list[nn.Module] = [bundle.text_encoder, bundle.vae, bundle.unet, *bundle.shared.values()]
    nets += [part for full in bundle.full.values() for part in (full.network, full.hint)]
    return nets + ([bundle.tiny_decoder] if bundle.tiny_decoder is not None else [])


def _load_shared(folder: Path, adapters: Collection[str], dtype: torch.dtype) -> dict[str, ControlNetModel]:
    if not (folder / CONTROLNET).is_dir():
        if adapters:
            expected = f"a control base for the adapters {sorted(adapters)}"
            raise BundleError(file=str(folder), found=f"no {CONTROLNET}", expected=expected)
        return {}
    base = load_control(folder / CONTROLNET, dtype)
    merged = {adapter: merge_adapter(base, chosen_part(folder, ADAPTERS, adapter)) for adapter in adapters}
    return merged or {BASE: base}
