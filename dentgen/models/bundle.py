"""Bundles: a diffusers model folder with control net and adapters, loaded the same way whatever its size.

``miniature`` is the bundle inside this package; anything else is a folder, a URL or a hub id in Stable Diffusion 1.5's
layout. Only safetensors are read. Refuses to know conditions and sampling.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from dentgen import storage
from dentgen.errors import BundleError, StorageError
from dentgen.models.control import load_control, merge_adapter

MINIATURE: Final = "miniature"
_MINIATURE_FOLDER: Final = Path(__file__).parent / "miniature"
_REQUIRED: Final = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")
_DECIDING_SUFFIXES: Final = {".safetensors", ".json", ".txt"}


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Loaded models of one bundle.

    Attributes:
        name: As the spec names it.
        digest: sha256 over the deciding files of the bundle and the chosen adapters.
        folder: Where it was read from.
        tokenizer, text_encoder, vae, unet: As in Stable Diffusion 1.5.
        control: Control base, or the base with the chosen adapter merged; None if the bundle has none.
    """

    name: str
    digest: str
    folder: Path
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    control: ControlNetModel | None


def find_bundle(name: str) -> Path:
    """Folder of a bundle: the miniature, a local folder, a copy of a remote one, or a hub id in the hub's cache.

    Raises:
        BundleError: If it cannot be found or lacks a component.
    """
    if name == MINIATURE:
        folder = _MINIATURE_FOLDER
    elif storage.is_remote(name):
        folder = _local_copy(name)
    elif Path(name).is_dir():
        folder = Path(name)
    else:
        folder = _download(name)
    missing = [part for part in _REQUIRED if not (folder / part).is_dir()]
    if missing:
        raise BundleError(f"{name}: found no {', '.join(missing)} in {folder}, expected Stable Diffusion 1.5's layout")
    return folder


def bundle_digest(name: str, adapters: Mapping[str, float]) -> str:
    """sha256 of every file that decides samples: names and contents of the components and the chosen adapters."""
    folder = find_bundle(name)
    parts = [*_REQUIRED, "controlnet", *(f"adapters/{adapter}" for adapter in sorted(adapters))]
    digest = hashlib.sha256()
    for part in parts:
        for file in sorted((folder / part).rglob("*")):
            if file.is_file() and file.suffix in _DECIDING_SUFFIXES:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def load_bundle(
    name: str = MINIATURE,
    adapters: Mapping[str, float] | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Bundle:
    """Load a bundle for inference.

    Args:
        name: ``miniature``, a folder or a hub id.
        adapters: At most one adapter name; its scale is applied by the engine, not here.
        device: Where the models go.
        dtype: Their precision.

    Raises:
        BundleError: If the bundle or an adapter cannot be used.
    """
    folder, chosen = find_bundle(name), dict(adapters or {})
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype, use_safetensors=True)
        vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype, use_safetensors=True)
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise BundleError(f"{name}: {folder}: {error}") from error
    control = _load_control(name, folder, chosen, dtype)
    for model in (text_encoder, vae, unet, *([control] if control is not None else [])):
        model.to(device).eval().requires_grad_(False)
    return Bundle(name, bundle_digest(name, chosen), folder, tokenizer, text_encoder, vae, unet, control)


def _load_control(name: str, folder: Path, adapters: Mapping[str, float], dtype: torch.dtype) -> ControlNetModel | None:
    if not (folder / "controlnet").is_dir():
        if adapters:
            raise BundleError(f"{name}: found no control base, expected one under the adapters {sorted(adapters)}")
        return None
    control = load_control(folder / "controlnet", dtype)
    if len(adapters) > 1:
        raise BundleError(f"{name}: found adapters {sorted(adapters)}, expected one: several interfere")
    for adapter in adapters:
        place = folder / "adapters" / adapter
        if not place.is_dir():
            known = sorted(p.name for p in (folder / "adapters").glob("*") if p.is_dir())
            raise BundleError(f"{name}: found no adapter {adapter!r}, expected one of {known}")
        control = merge_adapter(control, place)
    return control


def _local_copy(url: str) -> Path:
    """A copy of a remote folder in the user's cache, used again as long as the folder's files do not change."""
    try:
        files = sorted(storage.list_files(url), key=lambda file: file.url)
        state = "\n".join(f"{file.url} {file.size} {file.tag}" for file in files)
        home = Path(os.environ.get("DENTGEN_CACHE", Path.home() / ".cache" / "dentgen")) / "bundles"
        copy = home / hashlib.sha256(state.encode()).hexdigest()
        if not copy.is_dir():
            home.mkdir(parents=True, exist_ok=True)
            begun = Path(tempfile.mkdtemp(dir=home))
            for file in files:
                _fetch(file.url, begun, storage.relative_name(url, file.url))
            _publish(begun, copy)
    except StorageError as error:
        raise BundleError(f"{url}: {error}") from error
    return copy


def _fetch(url: str, folder: Path, name: str) -> None:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise BundleError(f"{url}: found a name that leads out of the bundle, expected files of its own")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(storage.read_bytes(url))


def _publish(begun: Path, final: Path) -> None:
    try:
        begun.rename(final)
    except OSError:
        shutil.rmtree(begun)
        if not final.is_dir():  # otherwise another process was faster
            raise


def _download(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*/*.safetensors"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        raise BundleError(f"{name}: neither a folder here nor a model that the hub gives: {error}") from error
