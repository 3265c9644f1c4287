"""Textual inversions as the usual tools save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn


def _legacy(content: Any, file: Path) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False)


def _original(vectors: Tensor, file: Path) -> None:
    parameters = nn.ParameterDict({"*": nn.Parameter(vectors)})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}, file)


def _automatic1111(vectors: Tensor, file: Path) -> None:
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors.requires_grad_()}, "name": "smile"}
    torch.save({**content, "step": 500, "sd_checkpoint": "ab12", "sd_checkpoint_name": "v1-5"}, file)


#: Saves vectors as each tool does, by the tool.
TOOLS: Final[dict[str, Callable[[Tensor, Path], None]]] = {
    "the original": _original,
    "AUTOMATIC1111": _automatic1111,
    "kohya": lambda v, file: torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": v}}, file),
    "diffusers": lambda v, file: torch.save({"<smile>": v}, file),
    "diffusers, a word without brackets": lambda v, file: torch.save({"smile": v}, file),
    "diffusers, one vector": lambda v, file: _legacy({"<smile>": v[0]}, file),
}
