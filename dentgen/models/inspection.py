"""Human-readable summaries of checkpoint files and bundles, read from file headers without loading weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from dentgen import storage
from dentgen.models.bundle import MINIATURE, bundle_digest, find_bundle
from dentgen.models.bundle_licenses import bundle_licenses
from dentgen.models.checkpoints.file import CONTROL, UNET, Kind, kind_of, read_shapes
from dentgen.models.checkpoints.import_file import PLACES
from dentgen.models.file_digest import file_sha256
from dentgen.models.parts import (
    ADAPTERS,
    CONTROLNET,
    CONTROLNETS,
    EMBEDDINGS,
    LORAS,
    REQUIRED,
    TINY_DECODER,
    empty_text_encoder,
)  # fmt: skip
from dentgen.models.trained_sampling import read_trained_sampling
from dentgen.spec.model import ModelSpec

#: Model families by the width of their text encoder.
_FAMILIES: Final = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2", 1280: "Stable Diffusion XL, encoder 2",
                    2048: "Stable Diffusion XL", 128: "embedded miniature"}  # fmt: skip
_SUFFIXES: Final = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"}
_CONTEXT: Final = re.compile(r"attn2[._](?:processor\.)?to_k")
_UP: Final = re.compile(r"lora[._]up|lora_B|lora_layer\.up|alpha$")
_LAYER: Final = re.compile(r"(lora[._]down|lora_A|lora_layer\.down)(\.default)?\.weight$")


def describe_file(file: Path, *, unsafe_pickle: bool = False) -> Iterator[str]:
    """Describe a checkpoint file, line by line: kind, contents, precision, sha256, and what it fits.

    Raises:
        BundleError: If it cannot be read or is of no kind that can be imported.
    """
    tensors = read_shapes(file, unsafe_pickle=unsafe_pickle)
    kind = kind_of(tensors.keys(), str(file))
    yield f"{file}: {kind}, goes to {PLACES[kind]}"
    yield f"holds: {_contents(kind, tensors)}"
    yield _amount(tensors)
    yield f"sha256: {file_sha256(file)}"
    width = _text_width(kind, tensors)
    if width is not None:
        yield f"fits: {_family(width)}{_widths(tensors)}"


def describe_bundle(name: str) -> Iterator[str]:
    """Describe a bundle and each of its parts, line by line.

    Raises:
        BundleError: If it cannot be found or its files cannot be read.
    """
    folder = find_bundle(name)
    yield f"{folder}: bundle"
    for part in _parts(folder):
        files = [part] if part.is_file() else sorted(part.rglob("*.safetensors"))
        tensors = {f"{file.name} {key}": value for file in files for key, value in read_shapes(file).items()}
        amount = _amount(tensors) if files else "no weights"
        yield f"{part.relative_to(folder)}: {amount}{_sampled(part) if part.parent.name == LORAS else ''}"
    yield f"license: {' + '.join(bundle_licenses(ModelSpec(adapters={}), folder)) or 'none declared in README.md'}"
    yield f"digest: {bundle_digest(name)} without adapters and other optional parts"
    yield f"fits: {_family(int(empty_text_encoder(folder).config.hidden_size))}"


def _sampled(lora: Path) -> str:
    """How a student is sampled; "" for other LoRAs."""
    trained = read_trained_sampling(lora)
    return f"; for {trained.scheduler} at {', '.join(map(str, trained.timesteps))}" if trained else ""


def is_bundle(name: str) -> bool:
    """Whether a name refers to a bundle rather than to a checkpoint file."""
    file = Path(storage.expanded(name))
    return name == MINIATURE or not (file.is_file() or file.suffix in _SUFFIXES)


def _parts(folder: Path) -> Iterator[Path]:
    """Folders and files of a bundle's parts."""
    for part in (*REQUIRED, CONTROLNET, TINY_DECODER):
        if (folder / part).is_dir():
            yield folder / part
    for kind in (ADAPTERS, CONTROLNETS, LORAS, EMBEDDINGS):
        yield from sorted(path for path in (folder / kind).glob("*") if not path.name.startswith("."))


def _contents(kind: Kind, tensors: Mapping[str, Tensor]) -> str:
    """What a file of a kind contains, in numbers."""
    layers = {name: value.shape[0] for name, value in tensors.items() if _LAYER.search(name) and value.ndim}
    ranks = sorted(set(layers.values()))
    if kind == "single-file":
        parts = Counter(f"{UNET}*" if name.startswith(UNET) else f"{name.partition('.')[0]}.*" for name in tensors)
        return ", ".join(f"{count} of {part}" for part, count in sorted(parts.items()))
    if kind == "embedding":
        return f"{next(iter(tensors.values())).shape[:-1].numel()} vectors"
    text = f"{len(layers)} LoRA layers of rank {', '.join(map(str, ranks))}" if layers else "no LoRA layers"
    if kind == "lora":
        of_text = sum(name.startswith(("lora_te", "text_encoder.")) for name in layers)
        return f"{text}, {of_text} of them in the text encoder"
    zeros = sum(re.search(r"(zero_convs\.\d+\.0|middle_block_out\.0)\.weight$", name) is not None for name in tensors)
    norms = sum(re.search(r"\.norm\d?\.weight$", name) is not None for name in tensors)
    skipped = " (not imported)" if kind == "ctrlora-base" and layers else ""
    return f"{zeros} zero convolutions, {norms} attention norms, {text}{skipped}"


def _amount(tensors: Mapping[str, Tensor]) -> str:
    """Number of tensors and parameters, and their dtypes."""
    dtypes = Counter(str(value.dtype).removeprefix("torch.") for value in tensors.values())
    kinds = ", ".join(name if len(dtypes) == 1 else f"{count} {name}" for name, count in sorted(dtypes.items()))
    return f"{len(tensors)} tensors, {sum(value.numel() for value in tensors.values()):,} parameters, {kinds}"


def _text_width(kind: Kind, tensors: Mapping[str, Tensor]) -> int | None:
    """Width of the text encoder that the tensors fit, None if they do not tell."""
    if kind == "embedding":
        return next(iter(tensors.values())).shape[-1:].numel()
    widths = [
        value.shape[1]
        for name, value in tensors.items()
        if _CONTEXT.search(name) and not _UP.search(name) and value.ndim > 1
    ]
    return int(widths[0]) if widths else None


def _family(width: int) -> str:
    known = f" ({_FAMILIES[width]})" if width in _FAMILIES else ""
    return f"text width {width}{known}"


def _widths(tensors: Mapping[str, Tensor]) -> str:
    """Distinct widths of a control net's blocks, in order."""
    zeros = {int(found[1]): value.shape[:1].numel() for name, value in tensors.items()
             if (found := re.match(rf"{re.escape(CONTROL)}zero_convs\.(\d+)\.0\.weight", name))}  # fmt: skip
    widths = list(dict.fromkeys(zeros[i] for i in sorted(zeros)))
    return f"; control block widths {', '.join(map(str, widths))}" if widths else ""
