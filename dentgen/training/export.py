"""Trained networks as parts of a bundle: fp16, and nothing that only this machine knows.

Refuses to know how anything was trained.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

from torch import nn
from transformers import CLIPTokenizer

#: Where a network was read from, and what AutoencoderTiny writes into its config and then does not know again.
_NOT_OURS: Final = {"default": ("_name_or_path",), "AutoencoderTiny": ("_name_or_path", "block_out_channels")}


def save_network(net: Any, folder: Path) -> None:
    """Write config and weights (fp16) in the library's own layout; the network itself stays as it is."""
    saved: Any = nn.Module.half(copy.deepcopy(net).eval())
    saved.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for key in _NOT_OURS.get(config.get("_class_name", ""), _NOT_OURS["default"]):
        config.pop(key, None)
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a tokenizer as it was before it read anything, without the padding and cutting of its last call."""
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.no_padding()
    backend.no_truncation()
    tokenizer.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
