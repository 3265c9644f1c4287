"""Training specs as plain values, valid and rejected."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.spec.train import TRAIN_SPEC

PATHS = {"bundle": "b", "checkpoints": "c"}
#: Keys without default.
NEEDED = {
    "dreambooth": {"instance_prompt": "teeth, sks style", "class_prompt": "teeth"},
    "textual-inversion": {"name": "look"},
}


def valid(recipe: str, **values: Any) -> Any:
    """A spec of a recipe."""
    return TRAIN_SPEC.validate_python({"recipe": recipe, **PATHS, **NEEDED.get(recipe, {}), **values})


def wrong_keys(recipe: str, **values: Any) -> list[str]:
    """Dotted keys that validation rejects."""
    with pytest.raises(ValidationError) as caught:
        valid(recipe, **values)
    tags = 2 if recipe == "decoder" else 1
    return [".".join(map(str, error["loc"][tags:])) for error in caught.value.errors()]
