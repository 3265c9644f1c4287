"""Checkpoint files: safe reading, detection of their kind by key names, and atomic writing.

Pickles can execute code, so they are read only on request, and then with torch's ``weights_only`` unpickler.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dentgen.errors import BundleError

Kind = Literal["ctrlora-base", "ctrlora-adapter", "lora", "single-file", "embedding"]

CONTROL: Final = "control_model."
UNET: Final = "model.diffusion_model."
#: The command line's option, for error messages.
PICKLE_FLAG: Final = "--unsafe-pickle"
#: What old textual inversions hold beside tensors; it runs nothing.
_HARMLESS: Final[list[Callable[..., Any] | tuple[Callable[..., Any], str]]] = [nn.ParameterDict]
_MAX_SHARING: Final = 8
_MAX_DEPTH: Final = 16
_PICKLES: Final = (b"PK\x03\x04", b"\x80")
_LORA: Final = re.compile(r"^lora_(unet|te\d?)_|\.lora(_A|_B|\.down|\.up|_linear_layer)\.|_lora\.(down|up)\.")
_EMBEDDING: Final = re.compile(r"^(emb_params|string_to_param\..*|<[^>]+>|clip_l)$")


def read_tensors(file: Path, *, unsafe_pickle: bool = False) -> dict[str, Tensor]:
    """All tensors of a checkpoint file, on the CPU, in their own precision.

    Args:
        file: A safetensors file or a pickle.
        unsafe_pickle: Also read pickles, with torch's ``weights_only`` unpickler.

    Raises:
        BundleError: If it cannot be read, is damaged, or is a pickle and ``unsafe_pickle`` is not set.
    """
    if is_pickle(file):
        return _read_pickle(file, unsafe_pickle=unsafe_pickle)
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise _invalid(file, error) from error
    return tensors


def _invalid(file: Path, error: Exception) -> BundleError:
    return BundleError(file=str(file), found=str(error), expected="a complete safetensors file")


def read_shapes(file: Path, *, unsafe_pickle: bool = False) -> dict[str, Tensor]:
    """As ``read_tensors``, but on the meta device; of safetensors files only the header is read."""
    if is_pickle(file):
        return {name: value.to("meta") for name, value in _read_pickle(file, unsafe_pickle=unsafe_pickle).items()}
    try:
        with safe_open(file, "pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            return {
                name: torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
                for name, part in slices.items()
            }
    except (OSError, SafetensorError, KeyError) as error:
        raise _invalid(file, error) from error


_DTYPES: Final = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


def is_pickle(file: Path) -> bool:
    """Whether a file is a pickle of torch, judged by its first bytes.

    Raises:
        BundleError: If it cannot be opened.
    """
    try:
        with file.open("rb") as opened:
            # A safetensors file with a header of 128 bytes also begins with 0x80, but JSON follows at byte 8.
            start = opened.read(9)
    except OSError as error:
        raise BundleError(f"cannot be read: {error}", file=str(file)) from error
    return start.startswith(_PICKLES) and start[8:] != b"{"


def _read_pickle(file: Path, *, unsafe_pickle: bool) -> dict[str, Tensor]:
    if not unsafe_pickle:
        advice = f"{PICKLE_FLAG} reads it, tensors only, if you trust its source"
        raise BundleError(file=str(file), found="a pickle", expected="safetensors", advice=advice)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails anywhere in torch
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run it
            first = "damage, or objects that could run code"
        raise BundleError(file=str(file), found=first, expected="a complete pickle of tensors alone") from error
    if not isinstance(loaded, Mapping):
        found = f"a pickled {type(loaded).__name__}"
        raise BundleError(file=str(file), found=found, expected="a dictionary of tensors")
    tensors = _flat(loaded.get("state_dict", loaded) if isinstance(loaded.get("state_dict"), Mapping) else loaded)
    _check_amount(file, tensors)
    # Clones, because pickled tensors may share memory, which safetensors does not allow.
    return {name: value.detach().clone() for name, value in tensors.items()}


def _check_amount(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """A view of few values may stand for terabytes, and a tensor on no device for any number."""
    stored = file.stat().st_size
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise BundleError(file=str(file), key=name, found="a special kind of tensor", expected="plain tensors")
        if (size := value.numel() * value.element_size()) > stored:
            raise BundleError(file=str(file), key=name, found=f"{size} bytes", expected=f"at most the file's {stored}")
    if (total := sum(value.numel() * value.element_size() for value in tensors.values())) > _MAX_SHARING * stored:
        raise BundleError(file=str(file), found=f"tensors of {total} bytes", expected=f"a file of more than {stored}")


def _flat(values: Mapping[Any, Any] | nn.ParameterDict, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of nested dictionaries, under dotted names."""
    flat: dict[str, Tensor] = {}
    for key, value in values.items() if prefix.count(".") < _MAX_DEPTH else ():
        if isinstance(value, Tensor):
            flat[f"{prefix}{key}"] = value
        elif isinstance(value, (Mapping, nn.ParameterDict)):
            flat |= _flat(value, f"{prefix}{key}.")
    return flat


def kind_of(names: Collection[str], source: str) -> Kind:
    """Kind of a checkpoint, by the names of its tensors.

    Args:
        names: Names of the tensors.
        source: File, for messages.

    Raises:
        BundleError: If it is of no kind that can be imported.
    """
    if any(name.startswith(UNET) for name in names):
        return "single-file"
    if any(name.startswith(CONTROL) for name in names):
        return "ctrlora-base" if f"{CONTROL}input_blocks.0.0.weight" in names else "ctrlora-adapter"
    if peft := [name for name in names if "controlnet_mid_block" in name]:
        message = "a control net or adapter in a bundle's own layout: copy it into the bundle instead of importing it"
        raise BundleError(message, file=source, key=min(peft))
    if any(_LORA.search(name) for name in names):
        return "lora"
    # diffusers names the one tensor of a textual inversion by its word, which may be any.
    if names and (any(_EMBEDDING.match(name) for name in names) or (len(names) == 1 and "." not in next(iter(names)))):
        return "embedding"
    expected = (
        f"a ctrLoRA base ({CONTROL}*), a ctrLoRA adapter ({CONTROL}*.lora_layer.*), a LoRA (lora_unet_*, *.lora_A.*), "
        f"a single-file checkpoint ({UNET}*) or an embedding (emb_params, <NAME>)"
    )
    raise BundleError(file=source, found=f"keys like {sorted(names)[:3]}", expected=expected)


def check_tensors(
    source: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name_in_file: Callable[[str], str] = str
) -> None:
    """Compare names and shapes of tensors.

    Args:
        source: File, for messages.
        found: Tensors of the file.
        expected: Tensors with the expected names and shapes.
        name_in_file: Maps a tensor's name to its name in the file.

    Raises:
        BundleError: At the first tensor that is missing, unexpected or of another shape.
    """
    missing, unexpected = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing:
        wanted = f"{len(expected)} tensors, of which {len(missing)} are missing"
        raise BundleError(file=source, key=name_in_file(min(missing)), found="no such tensor", expected=wanted)
    if unexpected:
        wanted = f"none of {len(unexpected)} such tensors"
        raise BundleError(file=source, key=name_in_file(min(unexpected)), found="an unknown tensor", expected=wanted)
    for name in sorted(found):
        shape, wanted_shape = list(found[name].shape), list(expected[name].shape)
        if shape != wanted_shape:
            raise BundleError(file=source, key=name_in_file(name), found=f"shape {shape}", expected=wanted_shape)


def write_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write a safetensors file for diffusers, transformers and peft, each tensor in its own precision."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    save_file(ordered, file, metadata={"format": "pt"})


def write_new(out: Path, fill: Callable[[Path], None]) -> None:
    """Create a folder or file atomically: write it in a temporary folder, then rename it.

    Args:
        out: Path to create; it must not exist.
        fill: Writes the folder or file at the path that it is given.

    Raises:
        BundleError: If the path exists.
    """
    check_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.parent / f".{out.name}.{uuid.uuid4().hex[:12]}"
    temporary.mkdir()  # with the permissions that new folders get here, unlike those of tempfile
    try:
        written = temporary / out.name
        fill(written)
        _publish(written, out)
    finally:
        shutil.rmtree(temporary)


def check_new(out: Path) -> None:
    """Check that a path does not exist.

    Raises:
        BundleError: If it does.
    """
    if out.exists() or out.is_symlink():
        raise BundleError(file=str(out), found="an existing file or folder", expected="a new path")


def _publish(written: Path, out: Path) -> None:
    try:
        if written.is_dir():
            written.rename(out)
        else:
            os.link(written, out)  # unlike a rename, it never overwrites
    except OSError as error:
        raise BundleError(file=str(out), found=str(error), expected="a new path") from error
