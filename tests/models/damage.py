"""Seeded damage to the files of a bundle, and what loading it may do then: load, or raise an error with fields."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from dentgen.diffusion.solver import probe_solver
from dentgen.errors import DentgenError
from dentgen.models.adapter import merge_adapter
from dentgen.models.bundle import bundle_digest
from dentgen.models.checkpoints.file import read_tensors
from dentgen.models.control import load_control
from dentgen.models.embeddings import check_width, embedding_vectors
from dentgen.models.lora import load_lora
from dentgen.models.native_size import native_size
from dentgen.models.parts import (
    empty_text_encoder,
    empty_unet,
    load_text_encoder,
    load_tiny_decoder,
    load_tokenizer,
    load_unet,
    load_vae,
    tokenizer_problems,
)
from dentgen.models.schedulers import make_scheduler

#: Files that are damaged, one at a time.
FILES: Final = (
    "unet/config.json", "vae/config.json", "text_encoder/config.json", "controlnet/config.json",
    "tiny_decoder/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json", "adapters/blended/adapter_config.json",
    "adapters/blended/adapter_model.safetensors", "loras/look/adapter_config.json",
    "loras/look/weights.safetensors", "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors",
    "embeddings/smile.safetensors",
)  # fmt: skip
_VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1, 3, 10**9, 10**400, 1e308, float("nan"), float("inf"), "", "x", "\ud800", "../../etc/passwd",
    [], [0], [10**9] * 4, {}, {"a": {}}, [[[]]], "1e9",
)  # fmt: skip


_NETWORKS: Final[dict[str, Callable[[Path, torch.dtype], object]]] = {
    "unet": load_unet, "vae": load_vae, "text_encoder": load_text_encoder, "controlnet": load_control,
}  # fmt: skip


def damage(file: Path, rng: np.random.Generator) -> None:
    """Change a file in one of several ways."""
    ways: list[Callable[[bytes, np.random.Generator], bytes]] = [_flipped, _cut, _inserted]
    structured = _json_damage if file.suffix == ".json" else _header_damage
    way = structured if rng.random() < 0.7 else ways[rng.integers(len(ways))]
    file.write_bytes(way(file.read_bytes(), rng))


class Loader:
    """Loads the parts of a bundle that a file belongs to; what they must fit is loaded once."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self._unet, self._text = empty_unet(bundle), empty_text_encoder(bundle)
        self._vae = load_vae(bundle / "vae", torch.float32)
        self._base = load_control(bundle / "controlnet", torch.float32)

    def problem(self, file: str) -> DentgenError | None:
        """Why the parts of a damaged file cannot be used, None if they can."""
        try:
            bundle_digest(str(self._bundle), ["blended"], loras={"look": 1.0}, embeddings=["smile"], decoder="tiny")
            self._load(file)
        except DentgenError as error:
            return error
        return None

    def _load(self, file: str) -> None:
        folder = (self._bundle / file).parent
        match file.split("/")[0]:
            case "unet" | "vae" | "text_encoder" | "controlnet" as part:
                _NETWORKS[part](folder, torch.float16)
                native_size(self._bundle)
            case "tiny_decoder":
                load_tiny_decoder(folder, self._vae, torch.float16)
            case "scheduler":
                for name in ("unipc", "euler", "lcm"):
                    probe_solver(make_scheduler(name, self._bundle), 2)
            case "tokenizer":
                for problem in tokenizer_problems(folder, load_tokenizer(folder), self._text):
                    raise problem
            case "adapters":
                merge_adapter(self._base, folder)
            case "loras":
                load_lora(folder, self._unet, self._text)
            case _:
                check_width(file, embedding_vectors(file, read_tensors(self._bundle / file)), self._text)


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        changed[rng.integers(min(len(changed), 4000))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def _inserted(content: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(min(len(content), 4000)))
    return content[:place] + rng.bytes(int(rng.integers(1, 40))) + content[place:]


def _json_damage(content: bytes, rng: np.random.Generator) -> bytes:
    values = json.loads(content)
    _change(values, rng)
    return json.dumps(values).encode()


def _change(values: Any, rng: np.random.Generator) -> None:
    """Replace, remove or add one entry somewhere in nested values."""
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    if not keys:
        return
    key = keys[rng.integers(len(keys))]
    inner = values[key]
    if isinstance(inner, (dict, list)) and inner and rng.random() < 0.6:
        _change(inner, rng)
    elif rng.random() < 0.2:
        del values[key]
    elif isinstance(inner, (int, float)) and not isinstance(inner, bool) and rng.random() < 0.4:
        values[key] = [-inner, inner + 1, inner * 1000, inner / 7, 2**31, 2**63][rng.integers(6)]
    else:
        values[key] = _VALUES[rng.integers(len(_VALUES))]


def _header_damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage to the header of a safetensors file, or a wrong length of it."""
    (length,) = struct.unpack("<Q", content[:8])
    if rng.random() < 0.1:
        return struct.pack("<Q", int(rng.integers(2**62))) + content[8:]
    header = json.loads(content[8 : 8 + length])
    _change(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]
