"""Writing trained networks as parts of a bundle: fp16 weights, configs without paths of this machine."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from torch import nn
from transformers import CLIPTokenizer

#: Config keys to drop by class: the local source path, and one that AutoencoderTiny writes but does not accept.
_DROPPED_KEYS: Final = {"default": ("_name_or_path",), "AutoencoderTiny": ("_name_or_path", "block_out_channels")}
#: How a tokenizer was loaded on this machine, which transformers writes into its config.
_LOADING_KEYS: Final = ("is_local", "local_files_only")


def save_network(net: Any, folder: Path) -> None:
    """Write config and weights (fp16) in the library's own layout; the network itself is left unchanged."""
    saved: Any = nn.Module.half(copy.deepcopy(net).eval())
    saved.save_pretrained(folder)
    file = folder / "config.json"
    kind = json.loads(file.read_text()).get("_class_name", "")
    _drop(file, _DROPPED_KEYS.get(kind, _DROPPED_KEYS["default"]))


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a tokenizer without the padding and truncation of its last call, and without how it was loaded."""
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.no_padding()
    backend.no_truncation()
    tokenizer.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    _drop(folder / "tokenizer_config.json", _LOADING_KEYS)


def _drop(file: Path, keys: Iterable[str]) -> None:
    """Remove keys from a config."""
    config = {key: value for key, value in json.loads(file.read_text()).items() if key not in keys}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
