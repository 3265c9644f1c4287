"""Import of checkpoint files of any supported kind as parts of a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from diffusers import ControlNetModel
from safetensors.torch import save_file
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.bundle import MINIATURE, find_bundle
from dentgen.models.bundle_files import CARD
from dentgen.models.bundle_licenses import HEADER_KEY, card_of, license_of_header
from dentgen.models.checkpoints.ctrlora import ctrlora_adapter, ctrlora_base
from dentgen.models.checkpoints.file import (
    Kind,
    check_new,
    is_pickle,
    kind_of,
    read_tensors,
    write_new,
)
from dentgen.models.checkpoints.single_file import single_file
from dentgen.models.control import base_of_config
from dentgen.models.embeddings import SUFFIX, VECTORS, check_width, embedding_vectors
from dentgen.models.lora import check_lora, parse_lora
from dentgen.models.lora_options import CONFIG, read_header, read_lora_options
from dentgen.models.parts import CONTROLNET, empty_text_encoder, empty_unet
from dentgen.models.sd15 import empty_sd15
from dentgen.models.weights import empty_network

#: Path of each kind in a bundle.
PLACES: Final[Mapping[Kind, str]] = {
    "ctrlora-base": "BUNDLE/controlnet",
    "ctrlora-adapter": "BUNDLE/adapters/NAME",
    "lora": "BUNDLE/loras/NAME",
    "embedding": "BUNDLE/embeddings/NAME.safetensors",
    "single-file": "BUNDLE",
}
_LORA_WEIGHTS: Final = "lora.safetensors"


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of an import.

    Attributes:
        kind: Kind of the file.
        tensors: Number of tensors in the file.
        checked: Whether shapes were compared with a bundle's.
    """

    kind: Kind
    tensors: int
    checked: bool


def import_checkpoint(
    file: Path,
    out: Path,
    kind: Kind | Literal["auto"] = "auto",
    *,
    bundle: str | None = None,
    license: str = "",
    unsafe_pickle: bool = False,
) -> Imported:
    """Import a checkpoint file as a part of a bundle, atomically.

    Args:
        file: Safetensors, or a pickle.
        out: Folder to create; for an embedding a safetensors file.
        kind: Kind of the file; ``auto`` detects it by its keys.
        bundle: Bundle to compare shapes with; a single file takes tokenizer, scheduler and configs from it.
        license: License of the file, declared in a model card beside its weights, or in an embedding's header; "" takes
            the one in the file's own header.
        unsafe_pickle: Also read pickles.

    Raises:
        BundleError: If the file cannot be used or ``out`` exists.
    """
    check_new(out)
    like = None if bundle is None else find_bundle(bundle)
    tensors = read_tensors(file, unsafe_pickle=unsafe_pickle)
    kind = kind_of(tensors.keys(), str(file)) if kind == "auto" else kind
    license = license.strip() or ("" if is_pickle(file) else license_of_header(file))
    if kind == "embedding":
        write_new(out, _embedding_writer(file, tensors, out, like, license))
    else:
        write = _writer(kind, file, tensors, like)
        write_new(out, _with_card(write, license) if license else write)
    return Imported(kind, len(tensors), like is not None)


def _writer(kind: Kind, file: Path, tensors: Mapping[str, Tensor], like: Path | None) -> Callable[[Path], None]:
    """What writes a part of this kind, after its tensors were checked."""
    match kind:
        case "ctrlora-base":
            return ctrlora_base(str(file), tensors, like and empty_unet(like)).write
        case "ctrlora-adapter":
            return ctrlora_adapter(str(file), tensors, like and empty_control(like)).write
        case "lora":
            return _lora_writer(file, tensors, like)
        case _:  # a single file
            if like is None:
                expected = "--bundle, to take tokenizer, scheduler and configs from"
                raise BundleError(file=str(file), key="bundle", found="weights alone", expected=expected)
            return single_file(str(file), tensors, like).write


def _with_card(write: Callable[[Path], None], license: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        write(folder)
        (folder / CARD).write_text(card_of(license), encoding="utf-8")

    return fill


def empty_control(folder: Path) -> ControlNetModel:
    """A bundle's control base on the meta device.

    Raises:
        BundleError: If it has none.
    """
    return empty_network(folder / CONTROLNET, base_of_config)


def _lora_writer(file: Path, tensors: Mapping[str, Tensor], like: Path | None) -> Callable[[Path], None]:
    """A LoRA keeps its keys; loading it resolves them against the bundle's UNet."""
    pickled = is_pickle(file)
    options = {} if pickled else read_lora_options(file)
    if like is not None:
        parse_lora(str(file), tensors, empty_unet(like), empty_text_encoder(like), options)
    else:
        miniature = find_bundle(MINIATURE)
        families = [empty_sd15(), (empty_unet(miniature), empty_text_encoder(miniature))]
        check_lora(str(file), tensors, families, options)

    def fill(folder: Path) -> None:
        folder.mkdir()
        header = {} if pickled else read_header(file)
        ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
        save_file(ordered, folder / _LORA_WEIGHTS, metadata={**header, "format": "pt"})
        if (file.parent / CONFIG).is_file():
            shutil.copyfile(file.parent / CONFIG, folder / CONFIG)

    return fill


def _embedding_writer(
    file: Path, tensors: Mapping[str, Tensor], out: Path, like: Path | None, license: str
) -> Callable[[Path], None]:
    if out.suffix != SUFFIX:
        expected = f"a file NAME{SUFFIX}, as in {PLACES['embedding']}"
        raise BundleError(file=str(out), found=f"suffix {out.suffix!r}", expected=expected)
    vectors = embedding_vectors(str(file), tensors)
    if like is not None:
        check_width(str(file), vectors, empty_text_encoder(like))
    header = {"format": "pt", **({HEADER_KEY: license} if license else {})}
    return lambda path: save_file({VECTORS: vectors.contiguous()}, path, metadata=header)
