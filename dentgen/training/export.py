"""Writing trained networks as parts of a bundle: fp16 weights, configs without paths of this machine."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

from torch import nn
from transformers import CLIPTokenizer

#: Config keys to drop by class: the local source path, and one that AutoencoderTiny writes but does not accept.
_DROPPED_KEYS: Final = {"default": ("_name_or_path",), "AutoencoderTiny": ("_name_or_path", "block_out_channels")}


def save_network(net: Any, folder: Path) -> None:
    """Write config and weights (fp16) in the library's own layout; the network itself is left unchanged."""
    saved: Any = nn.Module.half(copy.deepcopy(net).eval())
    saved.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for key in _DROPPED_KEYS.get(config.get("_class_name", ""), _DROPPED_KEYS["default"]):
        config.pop(key, None)
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a tokenizer without the padding and truncation that its last call left in its state."""
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.no_padding()
    backend.no_truncation()
    tokenizer.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
