"""Which files of a bundle are loaded: what its digest covers and what is downloaded of it.

Weights are a single file or several with an index, plain or of the variant ``fp16``. As in diffusers and transformers
the plain ones come first, whatever their precision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from dentgen.errors import BundleError
from dentgen.models import lora_options

CONFIG: Final = "config.json"
#: Model card of a bundle or part; declares its license.
CARD: Final = "README.md"
SCHEDULER_CONFIG: Final = "scheduler_config.json"
PEFT_CONFIG: Final = lora_options.CONFIG
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
TOKENIZER_FILES: Final = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip
#: Parts with a network of their own, and the stem of its weights' files.
STEMS: Final = {
    "text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model",
    "controlnet": "diffusion_pytorch_model", "controlnets": "diffusion_pytorch_model",
    "tiny_decoder": "diffusion_pytorch_model",
}  # fmt: skip
_VARIANTS: Final = ("", ".fp16")
#: A part of a hundred gigabytes in pieces of 10 MB has an index of a few megabytes.
_MAX_JSON: Final = 16 * 2**20


def weights_main_file(names: Collection[str], stem: str) -> str | None:
    """The file that decides which weights are loaded: a single file, or an index of several; None if there is none.

    Args:
        names: Names of the files of a network's folder.
        stem: ``model`` for transformers, which prefers a single file; ``diffusion_pytorch_model`` for diffusers, which
            prefers an index.
    """
    for variant in _VARIANTS:
        single, index = f"{stem}{variant}.safetensors", f"{stem}.safetensors.index{variant}.json"
        for name in (single, index) if stem == "model" else (index, single):
            if name in names:
                return name
    return None


def weights_files(folder: Path) -> list[Path]:
    """Weights of a network's folder that are loaded, in order.

    Raises:
        BundleError: If there are none, or an index is damaged or names a file that is missing.
    """
    main = weights_main_file(_names(folder), _stem_of(folder))
    if main is None:
        expected = f"{_stem_of(folder)}.safetensors, its index, or its variant fp16"
        raise BundleError(file=str(folder), found="no weights in safetensors", expected=expected)
    return _shards(folder / main)[1:] if main.endswith(".json") else [folder / main]


def read_json(file: Path) -> dict[str, object]:
    """A JSON object.

    Raises:
        BundleError: If the file cannot be read or holds something else.
    """
    try:
        if file.stat().st_size > _MAX_JSON:
            raise BundleError(file=str(file), found=f"{file.stat().st_size} bytes", expected="a config")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"cannot be read: {error}", file=str(file)) from error
    if not isinstance(content, dict):
        raise BundleError(file=str(file), found=f"a JSON {type(content).__name__}", expected="a JSON object")
    return content


@contextmanager
def faults_of_folder(folder: Path) -> Iterator[None]:
    """Errors of files in a network's folder name the folder, as the libraries' own do, and then the file."""
    try:
        yield
    except BundleError as error:
        if error.file != str(folder):
            error.message = ": ".join(filter(None, (Path(error.file).name, error.message)))
            error.file = str(folder)
        raise


def loaded_files(folder: Path, part: str) -> list[Path]:
    """Files of a bundle's part that are loaded, sorted; all weights, configs and vocabularies of one that cannot be."""
    place = folder / part
    if place.is_file():
        return [place]
    names = _names(place)
    chosen = _chosen(part, names)
    if part.partition("/")[0] in STEMS:
        main = weights_main_file(names, _stem_of(place))
        if main is not None and main.endswith(".json"):
            try:
                chosen |= {file.name for file in _shards(place / main)}
            except BundleError:
                chosen = set()
        if main is None:
            chosen = set()
    if not chosen:
        return sorted(f for f in place.rglob("*") if f.suffix in {".safetensors", ".json", ".txt"} and f.is_file())
    return sorted(place / name for name in chosen)


def downloaded_names(names: Iterable[str]) -> list[str]:
    """Those of a repository's files that may be loaded, with the model cards of their parts.

    Of an index's shards these are all that its name covers.
    """
    folders: dict[str, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        folders.setdefault(str(path.parent), set()).add(path.name)
    wanted: list[str] = []
    cards = {CARD} & folders.get(".", set())
    for part, files in folders.items():
        if part.partition("/")[0] in _DEPTHS and part.count("/") == _DEPTHS[part.partition("/")[0]]:
            chosen = _chosen(part, files)
            main = weights_main_file(files, STEMS[part.partition("/")[0]]) if part.partition("/")[0] in STEMS else None
            if main is not None and main.endswith(".json"):
                chosen |= _shard_names(main, files)
            wanted += [f"{part}/{name}" for name in chosen]
            cards |= {f"{part}/{CARD}"} if CARD in files else set()
    return sorted((*wanted, *cards)) if wanted else []


#: Number of folders between a part's first one and its files.
_DEPTHS: Final = {
    "tokenizer": 0, "scheduler": 0, "text_encoder": 0, "unet": 0, "vae": 0, "controlnet": 0, "tiny_decoder": 0,
    "embeddings": 0, "adapters": 1, "controlnets": 1, "loras": 1,
}  # fmt: skip


def _chosen(part: str, names: Collection[str]) -> set[str]:
    """Names of a part's files that are loaded; of weights in several files the index alone."""
    match part.partition("/")[0]:
        case "tokenizer":
            return {name for name in TOKENIZER_FILES if name in names}
        case "scheduler":
            return {name for name in (SCHEDULER_CONFIG,) if name in names}
        case "adapters":
            return {name for name in (ADAPTER_WEIGHTS, PEFT_CONFIG) if name in names}
        case "loras":
            return {name for name in names if name.endswith(".safetensors") or name == PEFT_CONFIG}
        case "embeddings":
            return {name for name in names if name.endswith(".safetensors")}
        case kind if kind in STEMS:
            main = weights_main_file(names, STEMS[kind])
            return {name for name in (CONFIG, main) if name is not None and name in names}
        case _:
            return set()


def _stem_of(folder: Path) -> str:
    return "model" if folder.name == "text_encoder" else "diffusion_pytorch_model"


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.is_file()} if folder.is_dir() else set()


def _shards(index: Path) -> list[Path]:
    """The files that an index names, which must be beside it."""
    places = read_json(index).get("weight_map")
    names = set(places.values()) if isinstance(places, dict) and all(map(_is_text, places.values())) else set()
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise BundleError(file=str(index), key="weight_map", found=str(places)[:80], expected="files beside the index")
    if missing := sorted(name for name in names if not (index.parent / name).is_file()):
        raise BundleError(
            file=str(index), key="weight_map", found=f"no {missing[0]}", expected="every file of the index"
        )
    return [index, *(index.parent / name for name in sorted(names))]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _shard_names(index: str, names: Collection[str]) -> set[str]:
    """Names of the files that belong to an index, judged by their names."""
    stem, _, rest = index.partition(".safetensors.index")
    variant = re.escape(rest.removesuffix(".json"))
    pattern = re.compile(rf"{re.escape(stem)}(?:{variant})?-\d+-of-\d+(?:{variant})?\.safetensors")
    return {name for name in names if pattern.fullmatch(name) and (".fp16" in name) == bool(variant)}
