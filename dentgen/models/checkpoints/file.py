"""Checkpoint files: read safely, told apart by their keys, and written as whole new folders.

Pickles can run code when they are read, so they need to be asked for, and even then only tensors are taken out of them.
Refuses to know what tensors are for beyond telling the kinds apart.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dentgen.errors import BundleError

Kind = Literal["ctrlora-base", "ctrlora-adapter", "lora", "single-file", "embedding"]

CONTROL: Final = "control_model."
UNET: Final = "model.diffusion_model."
#: The command line's option, as errors name it.
PICKLE_FLAG: Final = "--unsafe-pickle"
_PICKLES: Final = (b"PK\x03\x04", b"\x80")
_LORA: Final = re.compile(r"^lora_(unet|te\d?)_|\.lora(_A|_B|\.down|\.up|_linear_layer)\.|_lora\.(down|up)\.")
_EMBEDDING: Final = re.compile(r"^(emb_params|string_to_param\..*|<[^>]+>|clip_l)$")


def read_tensors(file: Path, *, unsafe_pickle: bool = False) -> dict[str, Tensor]:
    """Every tensor of a checkpoint file on the CPU, in its own precision.

    Args:
        file: A safetensors file, or a pickle.
        unsafe_pickle: Whether pickles are read; torch then takes nothing but tensors out of them.

    Raises:
        BundleError: If it cannot be read, is damaged, or is a pickle that was not asked for.
    """
    if is_pickle(file):
        return _read_pickle(file, unsafe_pickle=unsafe_pickle)
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{file}: found {error}, expected a whole safetensors file") from error
    return tensors


def read_shapes(file: Path, *, unsafe_pickle: bool = False) -> dict[str, Tensor]:
    """As ``read_tensors``, of a safetensors file the shapes and dtypes only: tensors on the meta device."""
    if is_pickle(file):
        return {name: value.to("meta") for name, value in _read_pickle(file, unsafe_pickle=unsafe_pickle).items()}
    try:
        with safe_open(file, "pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
            return {
                name: torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
                for name, part in slices.items()
            }
    except (OSError, SafetensorError, KeyError) as error:
        raise BundleError(f"{file}: found {error}, expected a whole safetensors file") from error


_DTYPES: Final = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


def is_pickle(file: Path) -> bool:
    """Whether a file is one of torch's pickles, whatever its name.

    Raises:
        BundleError: If it cannot be opened.
    """
    try:
        with file.open("rb") as opened:
            # A header of 128 bytes makes a safetensors file begin like a pickle; only the former goes on with JSON.
            start = opened.read(9)
    except OSError as error:
        raise BundleError(f"{file}: {error}") from error
    return start.startswith(_PICKLES) and start[8:] != b"{"


def _read_pickle(file: Path, *, unsafe_pickle: bool) -> dict[str, Tensor]:
    if not unsafe_pickle:
        raise BundleError(
            f"{file}: found a pickle, expected safetensors; {PICKLE_FLAG} reads it, tensors only, if you trust it"
        )
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BundleError(f"{file}: found {first}, expected a whole pickle of nothing but tensors") from error
    if not isinstance(loaded, Mapping):
        raise BundleError(f"{file}: found a pickled {type(loaded).__name__}, expected a dictionary of tensors")
    # Clones, because pickled tensors may share their memory, which safetensors cannot.
    return {name: value.detach().clone() for name, value in _flat(loaded.get("state_dict", loaded)).items()}


def _flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for key, value in values.items():
        if isinstance(value, Tensor):
            flat[f"{prefix}{key}"] = value
        elif isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
    return flat


def kind_of(names: Collection[str], source: str) -> Kind:
    """What a checkpoint is, by its keys.

    Raises:
        BundleError: If it is nothing that can be imported.
    """
    if any(name.startswith(UNET) for name in names):
        return "single-file"
    if any(name.startswith(CONTROL) for name in names):
        return "ctrlora-base" if f"{CONTROL}input_blocks.0.0.weight" in names else "ctrlora-adapter"
    if peft := [name for name in names if "controlnet_mid_block" in name]:
        raise BundleError(
            f"{source}: found {min(peft)}, a control net or adapter in a bundle's own layout, expected one to import"
        )
    if any(_LORA.search(name) for name in names):
        return "lora"
    if names and any(_EMBEDDING.match(name) for name in names):
        return "embedding"
    raise BundleError(
        f"{source}: found keys like {sorted(names)[:3]}, expected a ctrLoRA base ({CONTROL}*), a ctrLoRA adapter "
        f"({CONTROL}*.lora_layer.*), a LoRA (lora_unet_*, *.lora_A.*), a single-file checkpoint ({UNET}*) "
        "or an embedding (emb_params, <NAME>)"
    )


def check_tensors(
    source: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], spelt: Callable[[str], str] = str
) -> None:
    """Compare names and shapes.

    Args:
        source: File, for the message.
        found: Tensors that are there.
        expected: Tensors of the shapes that should be there.
        spelt: A name as the file has it.

    Raises:
        BundleError: At the first tensor that lacks, is too many or has another shape.
    """
    lacking, strange = expected.keys() - found.keys(), found.keys() - expected.keys()
    if lacking:
        raise BundleError(f"{source}: found no {spelt(min(lacking))}, expected {len(expected)} tensors; "
                          f"{len(lacking)} of them are not there")  # fmt: skip
    if strange:
        raise BundleError(
            f"{source}: found {spelt(min(strange))}, expected no such tensor; {len(strange)} are too many"
        )
    for name in sorted(found):
        if found[name].shape != expected[name].shape:
            raise BundleError(
                f"{source}: {spelt(name)}: found shape {list(found[name].shape)}, expected {list(expected[name].shape)}"
            )


def write_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write a safetensors file as diffusers, transformers and peft read it, each tensor in its own precision."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    save_file(ordered, file, metadata={"format": "pt"})


def write_new(out: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder or file as a whole or not at all: beside its place, then renamed.

    Args:
        out: Its place; nothing may be there.
        fill: Writes it, at the path that it is given.

    Raises:
        BundleError: If something is there already.
    """
    if out.exists() or out.is_symlink():
        raise BundleError(f"{out}: found something there already, expected a new place")
    out.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        made = begun / out.name
        fill(made)
        _publish(made, out)
    finally:
        shutil.rmtree(begun)


def _publish(made: Path, out: Path) -> None:
    try:
        if made.is_dir():
            made.rename(out)
        else:
            os.link(made, out)  # unlike a rename it fails where something is
    except OSError as error:
        raise BundleError(f"{out}: {error}, expected a new place") from error
